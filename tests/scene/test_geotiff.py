"""What GDAL opens: every type and layout it has, and what cannot be segmented."""

from __future__ import annotations

import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.rpc import RPC
from rasters import NOWHERE, UTM, write

from geounet.errors import SceneError
from geounet.scene import GeoTIFFScene, open_scene
from geounet.scene.geotiff import short_name
from geounet.window import Window


def whole(path, bands=(1,)):
    scene = open_scene(path)
    raster = scene.read(scene.info.window, bands)
    scene.close()
    return raster


EXTREMES = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "uint32": (0, 2**32 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**64 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "float32": (-3.4e38, 3.4e38),
    "float64": (-1.7e308, 1.7e308),
}


@pytest.mark.parametrize("dtype", EXTREMES)
def test_every_type_to_its_last_value(tmp_path, dtype):
    data = np.zeros((1, 4, 5), dtype)
    data[0, 0, :2] = EXTREMES[dtype]
    raster = whole(write(tmp_path / "a.tif", data))
    assert raster.data.dtype == dtype
    np.testing.assert_array_equal(raster.data, data)
    assert raster.valid.all()


@pytest.mark.parametrize("dtype", EXTREMES)
def test_nodata_of_every_type(tmp_path, dtype):
    data = np.zeros((1, 4, 5), dtype)
    data[0, 1, 1] = 100
    data[0, 1, 2] = 101
    raster = whole(write(tmp_path / "a.tif", data, nodata=100))
    assert np.argwhere(~raster.valid).tolist() == [[1, 1]]


def test_nodata_of_64_bits_is_exact(tmp_path):
    """rasterio passes it through a float, which cannot tell 2**53 from 2**53 + 1."""
    data = np.full((1, 4, 4), 2**53, np.int64)
    data[0, 0, 0] += 1
    write(tmp_path / "plain.tif", data)
    vrt = tmp_path / "a.vrt"
    rasterio.shutil.copy(tmp_path / "plain.tif", vrt, driver="VRT")
    text = vrt.read_text()
    at = text.index(">", text.index("<VRTRasterBand")) + 1
    vrt.write_text(f"{text[:at]}<NoDataValue>{2**53 + 1}</NoDataValue>{text[at:]}")
    assert np.argwhere(~whole(vrt).valid).tolist() == [[0, 0]]


@pytest.mark.parametrize(("nbits", "dtype"), [(1, "uint8"), (4, "uint8"), (12, "uint16")])
def test_nbits(tmp_path, nbits, dtype):
    data = np.arange(64, dtype=dtype).reshape(1, 8, 8) % 2**nbits
    raster = whole(write(tmp_path / "a.tif", data, nbits=nbits))
    np.testing.assert_array_equal(raster.data, data)
    assert raster.valid.all()


def test_palette_gives_its_indices(tmp_path):
    path = write(tmp_path / "a.tif", np.arange(16, dtype=np.uint8).reshape(1, 4, 4))
    with rasterio.open(path, "r+") as out:
        out.write_colormap(1, {i: (i, 0, 0, 255) for i in range(16)})
    raster = whole(path)
    np.testing.assert_array_equal(raster.data.ravel(), np.arange(16))
    assert raster.valid.all()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_jpeg_and_png(tmp_path):
    photo = np.random.default_rng(0).integers(0, 255, (3, 40, 50)).astype(np.uint8)
    for suffix, driver in ((".jpg", "JPEG"), (".png", "PNG")):
        path = write(tmp_path / f"a{suffix}", photo, driver=driver, **NOWHERE)
        with rasterio.open(path) as oracle:
            np.testing.assert_array_equal(whole(path, (1, 2, 3)).data, oracle.read())
        info = open_scene(path).info
        assert not info.georeferenced
        assert info.geobox.crs is None
        assert [band.name for band in info.bands] == ["red", "green", "blue"]


def test_rotated_grid_is_kept(tmp_path):
    transform = Affine(8, 5, 3e5, 5, -8, 5e6)
    path = write(tmp_path / "a.tif", np.zeros((1, 6, 7), np.uint8), transform=transform)
    scene = open_scene(path)
    assert scene.info.geobox.affine == transform
    part = scene.read(Window(row_off=2, col_off=3, height=2, width=2), [1])
    assert part.geobox.affine == Affine(8, 5, 3e5 + 34, 5, -8, 5e6 - 1)


def test_south_up_grid_is_kept(tmp_path):
    transform = Affine(10, 0, 3e5, 0, 10, 5e6)
    path = write(
        tmp_path / "a.tif", np.zeros((1, 6, 7), np.uint8), crs="EPSG:32633", transform=transform
    )
    assert open_scene(path).info.geobox.affine.almost_equals(transform)


def test_no_crs_keeps_its_transform(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((1, 6, 7), np.uint8), crs=None)
    info = open_scene(path).info
    assert info.georeferenced
    assert info.geobox.crs is None
    assert info.geobox.affine == UTM["transform"]


def test_scale_and_offset_tags_are_reported_and_not_applied(tmp_path):
    path = write(tmp_path / "a.tif", np.full((2, 3, 3), 7, np.int16))
    with rasterio.open(path, "r+") as out:
        out.scales, out.offsets = (0.5, 2.0), (1.0, 0.0)
        out.descriptions = ("red", "")
    bands = open_scene(path).info.bands
    assert [(b.name, b.scale, b.offset) for b in bands] == [("red", 0.5, 1.0), ("", 2.0, 0.0)]
    assert (whole(path, (1, 2)).data == 7).all()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_one_band_is_named_by_its_file(tmp_path):
    """A picture's file says what is in the picture."""
    path = write(tmp_path / "T33UUP_B08_10m.tif", np.zeros((1, 3, 3), np.uint8))
    assert open_scene(path).info.bands[0].name == "T33UUP_B08_10m"
    for name, driver in (("red-squirrel.png", "PNG"), ("green-cells.tif", "GTiff")):
        picture = write(tmp_path / name, np.zeros((3, 3), np.uint8), driver=driver, **NOWHERE)
        assert open_scene(picture).info.bands[0].name == ""


def test_near_infrared_tagged_as_alpha_is_data(tmp_path):
    """As GDAL tags it by default; a description says what it is, and so does who asks for it."""
    data = np.ones((4, 3, 3), np.uint8)
    data[3, 0, 0] = 0
    path = write(tmp_path / "rgbn.tif", data)
    with rasterio.open(path, "r+") as out:
        assert out.colorinterp[3].name == "alpha"
    assert [b.is_alpha for b in open_scene(path).info.bands] == [False, False, False, True]
    assert not whole(path, (1, 2, 3)).valid[0, 0]
    assert whole(path, (1, 4)).valid.all()
    with rasterio.open(path, "r+") as out:
        out.descriptions = ("red", "green", "blue", "nir")
    assert not any(band.is_alpha for band in open_scene(path).info.bands)
    assert whole(path, (1, 2, 3)).valid.all()


# what cannot be segmented


def test_complex(tmp_path):
    path = write(tmp_path / "slc.tif", np.zeros((1, 4, 4), np.complex64))
    with pytest.raises(SceneError, match=r"slc\.tif holds complex numbers \(complex64\).*in dB"):
        open_scene(path).info  # noqa: B018


@pytest.mark.parametrize("crs", ["EPSG:4326", ""])
def test_ground_control_points_only(tmp_path, crs):
    points = "".join(
        f'<GCP Id="{i}" Pixel="{c}" Line="{r}" X="{c}" Y="{-r}"/>'
        for i, (r, c) in enumerate(((0, 0), (0, 9), (9, 0), (9, 9)))
    )
    path = tmp_path / "a.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="9" rasterYSize="9"><GCPList Projection="{crs}">{points}'
        '</GCPList><VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    with pytest.raises(SceneError, match=r"4 ground control points.*gdalwarp -tps"):
        open_scene(path).info  # noqa: B018


def test_rpcs_only(tmp_path):
    ones = [1.0] * 20
    rpcs = RPC(
        height_off=1, height_scale=1, lat_off=1, lat_scale=1, line_den_coeff=ones,
        line_num_coeff=ones, line_off=1, line_scale=1, long_off=1, long_scale=1,
        samp_den_coeff=ones, samp_num_coeff=ones, samp_off=1, samp_scale=1,
    )  # fmt: skip
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=9, width=9, dtype="uint8", rpcs=rpcs
    ):
        pass
    with pytest.raises(SceneError, match=r"placed by RPCs.*gdalwarp -rpc"):
        open_scene(path).info  # noqa: B018


def test_control_points_beside_a_grid_do_no_harm(tmp_path):
    """An orthorectified scene often still carries its RPCs."""
    path = write(tmp_path / "a.tif", np.zeros((1, 9, 9), np.uint8))
    with rasterio.open(path, "r+") as out:
        out.update_tags(ns="RPC", LINE_OFF="1")
    assert open_scene(path).info.georeferenced


def test_transform_without_an_area(tmp_path):
    path = tmp_path / "a.vrt"
    write(tmp_path / "a.tif", np.zeros((1, 4, 4), np.uint8))
    rasterio.shutil.copy(tmp_path / "a.tif", path, driver="VRT")
    text = path.read_text()
    start, stop = text.index("<GeoTransform>"), text.index("</GeoTransform>")
    path.write_text(f"{text[:start]}<GeoTransform>0, 0, 0, 0, 0, 0{text[stop:]}")
    with pytest.raises(SceneError, match=r"has no area: mend it with gdal_edit"):
        open_scene(path).info  # noqa: B018


def test_missing_folder_and_foreign_files(tmp_path):
    (tmp_path / "text.tif").write_text("no raster")
    (tmp_path / "empty.tif").write_bytes(b"")
    cases = {
        tmp_path / "gone.tif": r"gone\.tif does not exist: check the path",
        tmp_path: r"is a folder: give a raster file",
        tmp_path / "text.tif": r"text\.tif cannot be opened as a raster \(not recognized",
        tmp_path / "empty.tif": r"empty\.tif cannot be opened as a raster",
    }
    for path, match in cases.items():
        with pytest.raises(SceneError, match=match) as caught:
            open_scene(path).info  # noqa: B018
        assert "\n" not in str(caught.value)


def test_archives_name_what_is_in_them(tmp_path):
    raster = write(tmp_path / "b.tif", np.zeros((1, 4, 4), np.uint8))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
        archive.write(raster, "deep/b.tif")
    with pytest.raises(
        SceneError, match=r"is a zip archive: .* (/vsizip/.*/a\.zip/deep/b\.tif)"
    ) as e:
        open_scene(tmp_path / "a.zip").info  # noqa: B018
    named = str(e.value).split()[-1]
    assert open_scene(named).info.height == 4


@pytest.mark.parametrize("prefix", ["zip://", "zip+file://", ""])
@pytest.mark.parametrize("slash", ["", "/"])
def test_files_in_archives(tmp_path, monkeypatch, prefix, slash):
    """As rasterio writes them, also relative to the current folder."""
    monkeypatch.chdir(tmp_path)
    raster = write(tmp_path / "b.tif", np.zeros((1, 4, 4), np.uint8))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(raster, "c.tif")
    for folder in ("", f"{tmp_path}/"):
        info = open_scene(f"{prefix}{folder}a.zip!{slash}c.tif").info
        assert (info.name, info.height) == ("c", 4)
        assert info.bands[0].name == "c"
    with pytest.raises(SceneError, match=r"a\.zip!gone\.tif does not exist: check the path$"):
        open_scene(f"{prefix}a.zip!gone.tif").info  # noqa: B018


def test_subdatasets_are_listed(data):
    path = data / "odd_rasters/rasterio/two-subs.h5"
    with pytest.raises(
        SceneError, match=r"holds no bands of its own: .*(HDF5:\S+//data),"
    ) as caught:
        open_scene(path).info  # noqa: B018
    named = str(caught.value).split("e.g. ")[1].split(", ")[0]
    assert open_scene(named).info.height == 3


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_blocks(tmp_path, damage):
    noise = np.random.default_rng(0).integers(0, 60000, (1, 256, 256)).astype(np.uint16)
    path = write(
        tmp_path / "a.tif",
        noise,
        tiled=True,
        blockxsize=64,
        blockysize=64,
        compress="deflate",
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if damage == "cut":
        del content[middle:]
    else:
        content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(SceneError, match=r"a\.tif.*(damaged|cannot be opened)"):
        whole(path)


def test_a_mask_that_is_not_always_there(tmp_path):
    """As after a lost connection, of which GDAL says nothing."""
    data = np.ones((1, 4, 4), np.uint8)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "a.tif", data, mask=np.zeros((4, 4), bool))
    scene = open_scene(path)
    assert not scene.read(scene.info.window, [1]).valid.any()
    scene.close()
    assert not scene.read(scene.info.window, [1]).valid.any()
    scene.close()
    write(path, data)
    with pytest.raises(SceneError, match=r"a\.tif has a mask, and not every time .*: try again"):
        scene.read(scene.info.window, [1])


def test_handles_are_one_a_thread_and_all_closed(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((1, 4, 4), np.uint8))
    scene = GeoTIFFScene(path)
    window = scene.info.window
    threads = [threading.Thread(target=scene.read, args=(window, [1])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handles = list(scene._handles)
    assert len(handles) == 4
    scene.close()
    assert all(handle.closed for handle in handles)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_gdal_says_nothing_on_stderr(tmp_path):
    """Errors are ours to tell: one line, once."""
    path = write(
        tmp_path / "a.tif",
        np.random.default_rng(0).integers(0, 255, (1, 256, 256)).astype(np.uint8),
        compress="deflate",
        tiled=True,
        blockxsize=64,
        blockysize=64,
        **NOWHERE,
    )
    path.write_bytes(path.read_bytes()[:-20_000])
    code = (
        "import sys; from geounet.errors import SceneError; from geounet.scene import open_scene\n"
        "for path in sys.argv[1:]:\n"
        "    scene = open_scene(path)\n"
        "    try: scene.read(scene.info.window, [1])\n"
        "    except SceneError: continue\n"
        "    raise SystemExit('no error')\n"
    )
    paths = [str(path), str(tmp_path / "gone.tif"), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/scene.tif", "scene"),
        ("a/RGB.byte.tif", "RGB.byte"),
        ("s.2024.tif", "s.2024"),
        ("https://x.org/a/scene.tif?token=1.2", "scene"),
        ("/vsizip/a.zip/b/c.TIF", "c"),
        ("N10W110.hgt.zip", "N10W110"),
        ("zip://a.zip!b/c.tif", "c"),
        ("a.zip!c.tif", "c"),
        ("zip+https://x.org/a.zip!b/c.tif", "c"),
        ("wow!.tif", "wow!"),
        ("scene.zarr/", "scene"),
        ('NETCDF:"/a/b.nc":red', "red"),
        ("HDF5:b.h5://data", "data"),
        ("scene", "scene"),
        (".hidden", ".hidden"),
    ],
)
def test_short_name(path, name):
    assert short_name(path) == name
