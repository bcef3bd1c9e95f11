"""Several single-band files that are one scene."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import rasterio
import rasterio.warp
from affine import Affine

from geounet.errors import SceneError
from geounet.scene import StackScene, open_scene
from geounet.scene.stack import _common_name

WEST, NORTH = 3e5, 5e6


def write(path, data, step=10.0, *, crs="EPSG:32633", west=WEST, **options):
    data = np.asarray(data)
    transform = options.pop("transform", Affine(step, 0, west, 0, -step, NORTH))
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=data.shape[0],
        width=data.shape[1],
        dtype=data.dtype,
        crs=crs,
        transform=transform,
        **options,
    ) as out:
        out.write(data, 1)
    return path


def ramp(size, step):
    """A plane over place: bilinear resampling gives it back exactly, away from the edges."""
    at = (np.arange(size) + 0.5) * step
    return (at[None, :] + 2 * at[:, None]).astype(np.float32)


@pytest.mark.parametrize("crs", ["EPSG:32633", None])
@pytest.mark.parametrize("order", [(1, 2, 6), (6, 1, 2), (2, 6, 1)])
def test_resolutions_meet_on_the_finest_grid(tmp_path, crs, order):
    """Also without a CRS: the transforms say where the files lie."""
    paths = [write(tmp_path / f"B{f}.tif", ramp(120 // f, 10 * f), 10 * f, crs=crs) for f in order]
    scene = open_scene(paths)
    assert isinstance(scene, StackScene)
    info = scene.info
    assert (info.height, info.width, info.geobox.affine.a) == (120, 120, 10)
    raster = scene.read(info.window, [1, 2, 3])
    assert raster.geobox == info.geobox
    assert raster.geobox.crs == crs
    assert raster.valid.all()
    inner = slice(6, -6)
    for layer in raster.data:
        np.testing.assert_allclose(layer[inner, inner], ramp(120, 10)[inner, inner], atol=0.01)


def test_finest_is_measured_in_metres(tmp_path):
    """A degree is a small number and a large pixel."""
    fine = write(tmp_path / "B2.tif", np.zeros((200, 200), np.uint8), 10, west=5e5)
    lon, lat = rasterio.warp.transform("EPSG:32633", "EPSG:4326", [5e5], [NORTH])
    transform = Affine(0.001, 0, lon[0], 0, -0.001, lat[0])
    coarse = write(
        tmp_path / "B3.tif", np.full((20, 30), 9, np.uint8), crs="EPSG:4326", transform=transform
    )
    for paths in ([fine, coarse], [coarse, fine]):
        info = StackScene(paths).info
        assert info.geobox.crs.epsg == 32633
        assert info.height == 200


def test_outside_of_a_file_is_invalid(tmp_path):
    """A file that covers only a part must not count as zeros elsewhere."""
    full = write(tmp_path / "B2.tif", np.ones((40, 40), np.uint16))
    part = write(tmp_path / "B3.tif", np.ones((10, 10), np.uint16), 20)
    raster = StackScene([full, part]).read(StackScene([full, part]).info.window, [1, 2])
    assert raster.valid[:20, :20].all()
    assert not raster.valid[20:].any()
    assert not raster.valid[:, 20:].any()


@pytest.mark.parametrize("how", ["nodata", "nan", "mask"])
def test_invalid_pixels_of_a_resampled_file(tmp_path, how):
    data = np.full((20, 20), 50, np.float32)
    fine = write(tmp_path / "B2.tif", np.ones((40, 40), np.float32))
    hole = {"nodata": -9999, "nan": np.nan, "mask": 50}[how]
    data[8:12, 8:12] = hole
    options = {"nodata": -9999} if how == "nodata" else {}
    coarse = write(tmp_path / "B3.tif", data, 20, **options)
    if how == "mask":
        mask = np.ones((20, 20), bool)
        mask[8:12, 8:12] = False
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(coarse, "r+") as out:
            out.write_mask(mask)
    scene = StackScene([fine, coarse])
    raster = scene.read(scene.info.window, [1, 2])
    assert not raster.valid[17:23, 17:23].any()
    assert raster.valid[:14].all()
    assert raster.valid[26:].all()
    assert (raster.data[1][raster.valid] == 50).all()


def test_types_are_joined_without_loss(tmp_path):
    a = write(tmp_path / "B2.tif", np.full((4, 4), 65535, np.uint16))
    b = write(tmp_path / "B3.tif", np.full((4, 4), -3, np.int16))
    scene = StackScene([a, b])
    raster = scene.read(scene.info.window, [1, 2])
    assert raster.data[:, 0, 0].tolist() == [65535, -3]


def test_only_what_is_needed_sets_the_grid(tmp_path):
    pan = write(tmp_path / "x_B8.tif", np.zeros((80, 80), np.uint8), 5)
    red = write(tmp_path / "x_B4.tif", np.zeros((40, 40), np.uint8), 10)
    blue = write(tmp_path / "x_B2.tif", np.zeros((40, 40), np.uint8), 10)
    scene = StackScene([pan, red, blue])
    assert scene.info.height == 80
    assert scene.only([3, 2]).info.height == 40
    assert [band.name for band in scene.only([3, 2]).info.bands] == ["x_B2", "x_B4"]


def test_warped_parts_pickle_and_close(tmp_path):
    paths = [
        write(tmp_path / "B2.tif", ramp(40, 10)),
        write(tmp_path / "B3.tif", ramp(20, 20), 20),
    ]
    scene = StackScene(paths)
    before = scene.read(scene.info.window, [1, 2])
    handles = [handle for part in scene._parts for handle in part._handles]
    assert handles
    copied = pickle.loads(pickle.dumps(scene))
    scene.close()
    assert all(handle.closed for handle in handles)
    for again in (scene, copied):
        after = again.read(again.info.window, [1, 2])
        np.testing.assert_array_equal(before.data, after.data)
        again.close()


def test_preview_of_several_resolutions(tmp_path):
    paths = [
        write(tmp_path / "B2.tif", ramp(120, 10)),
        write(tmp_path / "B3.tif", ramp(60, 20), 20),
    ]
    raster = StackScene(paths).preview(30, [1, 2])
    assert raster.data.shape == (2, 30, 30)
    assert raster.valid.all()


# refusals


def test_a_file_of_several_bands(tmp_path):
    single = write(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    many = tmp_path / "b.tif"
    with rasterio.open(many, "w", driver="GTiff", count=3, height=4, width=4, dtype="uint8",
                       crs="EPSG:32633", transform=Affine(10, 0, WEST, 0, -10, NORTH)):  # fmt: skip
        pass
    with pytest.raises(SceneError, match=r"b\.tif has 3 bands; .*: leave it out, or segment"):
        StackScene([single, many]).info  # noqa: B018


def test_files_of_two_scenes(tmp_path):
    here = write(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    there = write(tmp_path / "b.tif", np.zeros((4, 4), np.uint8), west=WEST + 1e4)
    with pytest.raises(SceneError, match=r"b\.tif and .*a\.tif do not overlap.*one at a time"):
        StackScene([here, there]).info  # noqa: B018


def test_a_crs_on_one_side_only(tmp_path):
    a = write(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    b = write(tmp_path / "b.tif", np.zeros((4, 4), np.uint8), crs=None)
    for paths in ([a, b], [b, a]):
        with pytest.raises(SceneError, match=r"b\.tif has no CRS and .*a\.tif has one.*-a_srs"):
            StackScene(paths).info  # noqa: B018


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pictures_of_different_size(tmp_path):
    for name, size in (("a", 4), ("b", 8), ("c", 4)):
        with rasterio.open(tmp_path / f"{name}.png", "w", driver="PNG", count=1, height=size,
                           width=size, dtype="uint8") as out:  # fmt: skip
            out.write(np.ones((1, size, size), np.uint8))
    with pytest.raises(SceneError, match=r"b\.png and .*a\.png differ in size.*georeference"):
        StackScene([tmp_path / "a.png", tmp_path / "b.png"]).info  # noqa: B018
    assert not StackScene([tmp_path / "a.png", tmp_path / "c.png"]).info.georeferenced


def test_files_of_two_worlds(tmp_path):
    mars = "+proj=eqc +a=3396190 +b=3396190 +units=m +type=crs"
    a = write(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    b = write(tmp_path / "b.tif", np.zeros((4, 4), np.uint8), crs=mars)
    with pytest.raises(SceneError, match=r"have no place in common|cannot be brought|do not overl"):
        StackScene([a, b]).read(StackScene([a, b]).info.window, [1, 2])


def test_the_finest_of_several_copies_bears_the_name(tmp_path):
    """As in the IMG_DATA of a Sentinel-2 product: B02 in R10m, R20m and R60m."""
    paths = [
        write(
            tmp_path / f"T33UUP_x_{band}_{step}m.tif", np.zeros((120 // step,) * 2, np.uint8), step
        )
        for band, step in (("B02", 60), ("B02", 10), ("B02", 20), ("B8A", 20), ("B01", 60))
    ]
    names = [band.name for band in StackScene(paths).info.bands]
    assert names == ["", "T33UUP_x_B02_10m", "", "T33UUP_x_B8A_20m", "T33UUP_x_B01_60m"]


def test_hints_keep_their_order(tmp_path):
    folder = tmp_path / "landsat8"
    folder.mkdir()
    paths = [write(folder / f"S2A_B{i}.tif", np.zeros((4, 4), np.uint8)) for i in (3, 8)]
    hint = StackScene(paths).info.hint.splitlines()
    assert hint[0] == "S2A_B3.tif S2A_B8.tif"
    assert hint.index("landsat8") > 0


def test_missing_file_is_named(tmp_path):
    a = write(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(SceneError, match=r"b\.tif does not exist"):
        StackScene([a, tmp_path / "b.tif"]).info  # noqa: B018


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["x/LC08_a_SR_B2.TIF", "x/LC08_a_SR_B3.TIF"], "LC08_a"),
        (["T33UUP_2022_B02_10m.jp2", "T33UUP_2022_B11_20m.jp2"], "T33UUP_2022"),
        (["s1a-grd-vh-1.tiff", "s1a-grd-vv-1.tiff"], "s1a-grd"),
        (["granule/B2.TIF", "granule/B3.TIF"], "granule"),
        (["sceneB2.tif", "sceneB3.tif"], "scene"),
        (["granule/B02.tif", "granule/B03.tif"], "granule"),
    ],
)
def test_common_name(paths, name):
    assert _common_name(paths) == name


@pytest.mark.parametrize("source", [[], 3, None])
def test_what_is_no_scene(source):
    with pytest.raises(SceneError, match="is no scene: give a path, a list of paths or an xarray"):
        open_scene(source)
