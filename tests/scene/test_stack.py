"""Several single-band files that are one scene."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
import rasterio
import rasterio.warp
from affine import Affine
from rasters import NORTH, NOWHERE, WEST, at, write

from geounet.errors import SceneError
from geounet.scene import StackScene, narrow, open_scene
from geounet.scene.stack import _common_name
from geounet.window import Window


def ramp(size, step):
    """A plane over place: bilinear resampling gives it back exactly, away from the edges."""
    at = (np.arange(size) + 0.5) * step
    return (at[None, :] + 2 * at[:, None]).astype(np.float32)


@pytest.mark.parametrize("crs", ["EPSG:32633", None])
@pytest.mark.parametrize("order", [(1, 2, 6), (6, 1, 2), (2, 6, 1)])
def test_resolutions_meet_on_the_finest_grid(tmp_path, crs, order):
    """Also without a CRS: the transforms say where the files lie."""
    paths = [
        write(tmp_path / f"B{f}.tif", ramp(120 // f, 10 * f), transform=at(10 * f), crs=crs)
        for f in order
    ]
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
    fine = write(tmp_path / "B2.tif", np.zeros((200, 200), np.uint8), transform=at(10, 5e5))
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
    part = write(tmp_path / "B3.tif", np.ones((10, 10), np.uint16), transform=at(20))
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
    coarse = write(tmp_path / "B3.tif", data, transform=at(20), **options)
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
    pan = write(tmp_path / "x_B8.tif", np.zeros((80, 80), np.uint8), transform=at(5))
    red = write(tmp_path / "x_B4.tif", np.zeros((40, 40), np.uint8))
    blue = write(tmp_path / "x_B2.tif", np.zeros((40, 40), np.uint8))
    scene = StackScene([pan, red, blue])
    assert scene.info.height == 80
    assert scene.only([3, 2], (1, 100)).info.height == 40
    assert [band.name for band in scene.only([3, 2], (1, 100)).info.bands] == ["x_B2", "x_B4"]


SENTINEL_2 = ((60, "B01"), (10, "B02"), (20, "B11"))


@pytest.fixture(scope="module")
def granule(tmp_path_factory):
    """Bands of 10, 20 and 60 m, all of one plane."""
    folder = tmp_path_factory.mktemp("granule")
    return [
        write(folder / f"S2_{name}.tif", ramp(1440 // step, step), transform=at(step))
        for step, name in SENTINEL_2
    ]


@pytest.mark.parametrize(
    ("wanted", "step", "note"),
    [
        (None, 10, "the 10 m grid of S2_B02.tif"),
        ((10, 60), 10, "the 10 m grid of S2_B02.tif"),
        ((5, 8), 10, "the 10 m grid of S2_B02.tif"),
        ((20, 60), 20, "the 20 m grid of S2_B11.tif"),
        ((30, 100), 60, "the 60 m grid of S2_B01.tif"),
        ((30, 50), 30, "a grid of 30 m"),
        ((25, 35), 30, "a grid of 30 m"),
        ((12, 13), 12, "a grid of 12 m"),
        ((70, 300), 70, "a grid of 70 m"),
    ],
)
def test_resolutions_meet_where_a_model_was_trained(granule, wanted, step, note):
    """The finest grid in its range; else the finest, with larger pixels if its own are too small.

    A mean of the finer bands loses nothing of a plane.
    """
    scene = StackScene(granule, pixel_size=wanted)
    info = scene.info
    assert info.geobox.affine.a == pytest.approx(step, rel=0.002)
    assert info.geobox.extent.geom.contains(open_scene(granule[1]).info.geobox.extent.geom)
    assert info.note == f"pixels of 10 m, 20 m, 60 m meet on {note}"
    raster = scene.read(info.window, [1, 2, 3])
    step = info.geobox.affine.a
    edge = 1 + math.ceil(60 / step)
    inner = (slice(edge, -edge),) * 2
    assert raster.valid[inner].all()
    for layer in raster.data:
        np.testing.assert_allclose(layer[inner], ramp(info.height, step)[inner], atol=step / 4)


def test_files_of_one_grid_keep_it(tmp_path):
    """As one file of several bands would; whether it suits the model is told by a warning."""
    paths = [write(tmp_path / f"B{i}.tif", ramp(40, 3), transform=at(3)) for i in (2, 3)]
    info = StackScene(paths, pixel_size=(10, 60)).info
    assert info.geobox == open_scene(paths[0]).info.geobox
    assert info.note == ""


def test_a_mean_takes_every_pixel(granule, tmp_path):
    """Averaged, not picked: of noise, each 60 m pixel is the mean of its 36."""
    noise = np.random.default_rng(0).uniform(0, 1, (144, 144)).astype(np.float32)
    paths = [granule[0], write(tmp_path / "B02.tif", noise)]
    scene = StackScene(paths, pixel_size=(60, 60))
    means = noise.reshape(24, 6, 24, 6).mean(axis=(1, 3))
    np.testing.assert_allclose(scene.read(scene.info.window, [2]).data[0], means, atol=1e-6)


@pytest.mark.parametrize("resampling", ["bilinear", "mean"])
@pytest.mark.parametrize("hidden", ["nothing", "nodata", "mask", "nan"])
def test_a_window_is_that_window_of_the_whole(tmp_path, resampling, hidden):
    """Law (window), for files of two UTM zones; exactly, and whatever was read before."""
    noise = np.random.default_rng(1).normal(size=(900, 900)).astype(np.float32)
    options = {}
    if hidden == "mask":
        options["mask"] = np.arange(900)[:, None] % 90 < np.full(900, 70)
    elif hidden != "nothing":
        noise[100:200, 150:650] = {"nan": np.nan, "nodata": -9999}[hidden]
        options["nodata"] = -9999
    far = write(tmp_path / "B3.tif", noise, transform=at(10, 7.3e5), **options)
    (x,), (y,) = rasterio.warp.transform("EPSG:32633", "EPSG:32634", [7.3e5], [NORTH])
    step = {"bilinear": 10, "mean": 35}[resampling]
    side = 9600 // step
    here = write(tmp_path / "B2.tif", np.ones((side, side), np.uint8), crs="EPSG:32634",
                 transform=at(step, x - 300, y + 300))  # fmt: skip
    reads = {}
    for size in (side, 601, 256, 97):
        scene = StackScene([here, far], pixel_size=(step, step))
        data, valid = np.zeros((2, side, side), np.float32), np.zeros((side, side), bool)
        for row, col in itertools.product(range(0, side, size), repeat=2):
            window = Window(row_off=row, col_off=col, height=size, width=size)
            window = window.intersect(scene.info.window)
            part = scene.read(window, [1, 2])
            data[:, *window.slices] = np.where(part.valid, part.data, 0)
            valid[window.slices] = part.valid
        scene.close()
        reads[size] = data, valid
    assert 0.5 < reads[side][1].mean() < 0.99
    for data, valid in reads.values():
        np.testing.assert_array_equal(valid, reads[side][1])
        np.testing.assert_array_equal(data, reads[side][0])


def test_warped_parts_pickle_and_close(tmp_path):
    paths = [
        write(tmp_path / "B2.tif", ramp(40, 10)),
        write(tmp_path / "B3.tif", ramp(20, 20), transform=at(20)),
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
        write(tmp_path / "B3.tif", ramp(60, 20), transform=at(20)),
    ]
    raster = StackScene(paths).preview(30, [1, 2])
    assert raster.data.shape == (2, 30, 30)
    assert raster.valid.all()


# refusals


def test_a_file_of_several_bands(tmp_path):
    single = write(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    many = tmp_path / "b.tif"
    write(many, np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(SceneError, match=r"b\.tif has 3 bands; .*: leave it out, or segment"):
        StackScene([single, many]).info  # noqa: B018


def test_files_of_two_scenes(tmp_path):
    here = write(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    there = write(tmp_path / "b.tif", np.zeros((4, 4), np.uint8), transform=at(10, WEST + 1e4))
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
        write(tmp_path / f"{name}.png", np.ones((size, size), np.uint8), driver="PNG", **NOWHERE)
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
            tmp_path / f"T33UUP_x_{band}_{step}m.tif",
            np.zeros((120 // step,) * 2, np.uint8),
            transform=at(step),
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


def test_a_given_grid_stays_when_bands_are_picked(tmp_path):
    files = [
        write(tmp_path / f"B{i}.tif", np.ones((64 // i, 64 // i), np.uint8), transform=at(10 * i))
        for i in (1, 2)
    ]
    grid = StackScene(files[1:]).info.geobox
    picked = StackScene(files, grid=grid).only([2, 1], (10, 60))
    assert picked.info.geobox == grid
    assert StackScene(files, pixel_size=(15, 60)).only([2, 1], (10, 60)).info.geobox == grid
    assert StackScene(files).only([2, 1], (10, 60)).info.geobox.shape == (64, 64)


def test_a_model_that_knows_no_pixel_size_takes_the_finest(granule):
    scene, bands = narrow(open_scene(granule), (3, 1), None)
    assert bands == (1, 2)
    assert scene.info.geobox == StackScene([granule[2], granule[0]]).info.geobox
    coarser, _ = narrow(open_scene(granule), (3, 1), (60, 60))
    assert coarser.info.geobox.affine.a > scene.info.geobox.affine.a
