"""A scene answers a model by name, scale and unit, or is refused with the flag that mends it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasters import LOSSLESS, at, write

from geounet.errors import BandError, OptionError, SceneError, ValueRangeError
from geounet.fit import Reading, check_values, fit_scene
from geounet.scene import MemoryScene, open_scene
from geounet.testing.bundles import random_spec

WATER = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
REFLECTANCE = replace(
    random_spec(WATER, unit="reflectance"), name="water", clip=(0.0, 1.0), plausible=(0.0, 0.8)
)
DECIBELS = replace(
    random_spec(("VV", "VH"), unit="dB"), name="flood", clip=(-50.0, 20.0), plausible=(-40.0, 5.0)
)
ANY = random_spec(("grey",))


def reflectance(bands=7, size=40):
    rng = np.random.default_rng(1)
    return rng.uniform(0.05, 0.4, (bands, size, size))


def physical(fit):
    raster = fit.scene.read(fit.scene.info.window, fit.bands)
    return fit.normalizer.physical(raster.data)


# Sentinel-2, Landsat and Sentinel-1 as they come


def test_sentinel_2_with_the_offset_of_baseline_04(tmp_path):
    """Scale 0.0001 and offset -0.1 by tags: digital number 1000 is reflectance 0."""
    truth = reflectance()
    names = ("B01", "B02", "B03", "B04", "B08", "B11", "B12")
    numbers = np.rint((truth + 0.1) * 10_000).astype(np.uint16)
    scene = write(tmp_path / "s2.tif", numbers, names=names, scale=0.0001, offset=-0.1)
    fit = fit_scene(open_scene(scene), REFLECTANCE)
    check_values(fit, REFLECTANCE)
    assert fit.bands == (1, 2, 3, 4, 5, 6, 7)
    np.testing.assert_allclose(physical(fit), truth, atol=6e-5)


def test_sentinel_2_jp2_files_on_three_resolutions(tmp_path):
    """Named as ESA names them, each in its resolution: on the finest grid of those needed."""
    truth = reflectance()
    granule = "T33UUP_20220101T101021"
    paths = []
    for name, step, level in zip(
        ("B01", "B02", "B03", "B04", "B08", "B11", "B12"),
        (60, 10, 10, 10, 10, 20, 20),
        truth[:, 0, 0],
        strict=True,
    ):
        layer = np.full((1200 // step,) * 2, round(level * 10_000), np.uint16)
        path = tmp_path / f"{granule}_{name}_{step}m.jp2"
        paths.append(write(path, layer, transform=at(step), **LOSSLESS))
    fit = fit_scene(open_scene(paths), REFLECTANCE, Reading(scale=0.0001))
    check_values(fit, REFLECTANCE)
    info = fit.scene.info
    assert info.name == granule
    assert (info.height, info.width, info.geobox.affine.a) == (120, 120, 10)
    np.testing.assert_allclose(
        physical(fit), np.broadcast_to(truth[:, :1, :1], (7, 120, 120)), atol=6e-5
    )


def test_landsat_files_in_any_order_with_thermal_and_quality(tmp_path):
    """Collection 2 by its names; files that the model does not need are left out."""
    scene = "LC08_L2SP_193026_20200101_20200113_02_T1"
    truth = reflectance()
    paths = [
        write(
            tmp_path / f"{scene}_SR_B{i}.TIF",
            np.rint((truth[i - 1 : i] + 0.2) / 0.0000275).astype(np.uint16),
            nodata=0,
        )
        for i in (7, 5, 3, 1, 2, 4, 6)
    ]
    extra = np.ones((1, 80, 80), np.uint16)
    paths += [
        write(tmp_path / f"{scene}_ST_B10.TIF", extra, nodata=0, transform=at(5)),
        write(tmp_path / f"{scene}_QA_PIXEL.TIF", extra, nodata=1, transform=at(5)),
    ]
    fit = fit_scene(open_scene(paths), REFLECTANCE, Reading(scale=0.0000275, offset=-0.2))
    check_values(fit, REFLECTANCE)
    assert (fit.scene.info.height, fit.scene.info.geobox.affine.a) == (40, 10)
    np.testing.assert_allclose(physical(fit), truth, atol=3e-5)


def test_sentinel_1_files(tmp_path):
    paths = [
        write(tmp_path / f"s1a-iw-grd-{p}-20200101t000000.tiff", np.full((1, 9, 9), v, np.float32))
        for p, v in (("vh", -20), ("vv", -12))
    ]
    fit = fit_scene(open_scene(paths), DECIBELS)
    check_values(fit, DECIBELS)
    np.testing.assert_array_equal(physical(fit)[:, 0, 0], [-12, -20])


def test_file_name_decides_between_sensors(tmp_path):
    spec = random_spec(("green", "nir"))
    data = np.zeros((3, 4, 4), np.float32)
    names = ("B3", "B5", "B8")
    landsat = write(tmp_path / "LC09_x.tif", data, names=names)
    sentinel = write(tmp_path / "S2B_MSIL2A_x.tif", data, names=names)
    unknown = write(tmp_path / "x.tif", data, names=names)
    assert fit_scene(open_scene(landsat), spec).bands == (1, 2)
    assert fit_scene(open_scene(sentinel), spec).bands == (1, 3)
    with pytest.raises(BandError, match=r"x\.tif: the band names fit .*--bands green=1,nir=2"):
        fit_scene(open_scene(unknown), spec)
    assert fit_scene(open_scene(unknown), spec, Reading(bands="green=1,nir=3")).bands == (1, 3)


def test_tags_decide_between_sensors(tmp_path):
    path = write(tmp_path / "x.tif", np.zeros((3, 4, 4), np.float32), names=("B3", "B5", "B8"))
    with rasterio.open(path, "r+") as scene:
        scene.update_tags(SPACECRAFT_ID="LANDSAT_8")
    assert fit_scene(open_scene(path), random_spec(("green", "nir"))).bands == (1, 2)


# scale and unit


def test_scale_of_the_user_wins_and_takes_its_offset_along(tmp_path):
    scene = write(tmp_path / "a.tif", np.full((7, 4, 4), 100, np.int16), names=WATER,
                  scale=0.0001, offset=-0.1)  # fmt: skip
    given = {
        Reading(): 100 * 0.0001 - 0.1,
        Reading(scale=0.01): 1.0,
        Reading(offset=0.5): 100 * 0.0001 + 0.5,
        Reading(scale=0.01, offset=-2): -1.0,
    }
    for reading, value in given.items():
        fit = fit_scene(open_scene(scene), REFLECTANCE, reading)
        np.testing.assert_allclose(physical(fit), value, rtol=1e-6)


def test_a_model_of_any_unit_takes_stored_values(tmp_path):
    scene = write(tmp_path / "a.tif", np.full((1, 4, 4), 100, np.int16), scale=0.1, offset=5)
    for reading, value in {
        Reading(bands="grey=1"): 100,
        Reading(bands="grey=1", scale=2): 200,
    }.items():
        np.testing.assert_allclose(physical(fit_scene(open_scene(scene), ANY, reading)), value)


def test_photo_is_no_reflectance(tmp_path):
    photo = write(tmp_path / "photo.tif", np.full((7, 40, 40), 90, np.uint8), names=WATER)
    with pytest.raises(
        ValueRangeError, match=r"stores uint8 without a scale tag.*: a photo has none; else pass"
    ):
        fit_scene(open_scene(photo), REFLECTANCE)


def test_one_band_without_a_scale_is_enough_to_refuse(tmp_path):
    path = write(tmp_path / "a.tif", np.full((7, 4, 4), 900, np.int16), names=WATER)
    with rasterio.open(path, "r+") as scene:
        scene.scales = (0.0001,) * 6 + (1.0,)
    with pytest.raises(ValueRangeError, match="stores int16 without a scale"):
        fit_scene(open_scene(path), REFLECTANCE)


@pytest.mark.parametrize("scale", [None, 0.01])
def test_reflectance_times_10000_is_refused(tmp_path, scale):
    data = (reflectance() * 10_000).astype(np.float32)
    fit = fit_scene(
        open_scene(write(tmp_path / "a.tif", data, names=WATER)), REFLECTANCE, Reading(scale=scale)
    )
    with pytest.raises(
        ValueRangeError, match=r"band coastal has a median of .*pass --scale 0\.0001"
    ):
        check_values(fit, REFLECTANCE)


def test_linear_power_is_refused():
    power = np.random.default_rng(0).uniform(0.001, 0.3, (2, 64, 64)).astype(np.float32)
    scene = MemoryScene.of(power, names=("VV", "VH"))
    with pytest.raises(ValueRangeError, match=r"are linear power.*10 \* log10"):
        check_values(fit_scene(scene, DECIBELS), DECIBELS)
    decibels = MemoryScene.of(10 * np.log10(power), names=("VV", "VH"))
    check_values(fit_scene(decibels, DECIBELS), DECIBELS)


def test_bytes_are_no_decibels():
    scene = MemoryScene.of(np.full((2, 8, 8), 90, np.uint8), names=("VV", "VH"))
    with pytest.raises(ValueRangeError, match=r"from 90 to 90 are no decibels; flood expects"):
        check_values(fit_scene(scene, DECIBELS), DECIBELS)


def test_decibels_out_of_all_range_are_refused():
    scene = MemoryScene.of(np.full((2, 8, 8), -2000, np.int16), names=("VV", "VH"))
    with pytest.raises(ValueRangeError, match=r"convert to decibels, or pass --scale"):
        check_values(fit_scene(scene, DECIBELS), DECIBELS)
    check_values(fit_scene(scene, DECIBELS, Reading(scale=0.01)), DECIBELS)


def test_invalid_pixels_do_not_count():
    data = np.full((2, 8, 8), -15, np.float32)
    data[:, :6] = 1e30
    valid = np.zeros((8, 8), bool)
    valid[6:] = True
    check_values(
        fit_scene(MemoryScene.of(data, valid=valid, names=("VV", "VH")), DECIBELS), DECIBELS
    )


@pytest.mark.parametrize("shape", [(8, 8), (1280, 1280), (1281, 9), (1500, 9000)])
def test_a_scene_without_a_valid_pixel_is_refused(shape):
    data = np.broadcast_to(np.float32(0), (2, *shape))
    nothing = MemoryScene.of(data, valid=np.zeros(shape, bool), names=("VV", "VH"))
    with pytest.raises(SceneError, match="array has no valid pixel: check its nodata value"):
        check_values(fit_scene(nothing, DECIBELS), DECIBELS)


@pytest.mark.parametrize("value", [-15, 0.1])
def test_valid_pixels_are_found_wherever_they_are(value):
    valid = np.zeros((1500, 9000), bool)
    valid[1400, 8990] = True
    data = np.broadcast_to(np.float32(value), (2, *valid.shape))
    scene = MemoryScene.of(data, valid=valid, names=("VV", "VH"))
    if value < 0:
        check_values(fit_scene(scene, DECIBELS), DECIBELS)
        return
    with pytest.raises(ValueRangeError, match="are linear power"):
        check_values(fit_scene(scene, DECIBELS), DECIBELS)


def test_a_look_at_a_large_scene_is_small():
    data = np.broadcast_to(np.float32(-15), (2, 9000, 5000))
    scene = MemoryScene.of(data, valid=np.broadcast_to(True, data.shape[1:]), names=("VV", "VH"))
    check_values(fit_scene(scene, DECIBELS), DECIBELS)
    assert sum(window.size for window in scene.reads) <= 25 * 256 * 256
    assert max(window.row_end for window in scene.reads) == 9000
    assert max(window.col_end for window in scene.reads) == 5000


# refusals


def test_missing_bands_name_the_scene_and_the_flag(tmp_path):
    path = write(tmp_path / "rgb.tif", np.zeros((4, 4, 4), np.float32), names=("red", "", "", "x"))
    with pytest.raises(
        BandError,
        match=r"rgb\.tif: the model needs coastal .*has 4 bands \(1=red 2 3 4=x\): give a scene"
        r" that has coastal blue green nir swir1 swir2, or another model$",
    ):
        fit_scene(open_scene(path), REFLECTANCE)


def test_missing_bands_name_the_flag_where_it_can_help(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((7, 4, 4), np.float32), names=WATER[:3])
    with pytest.raises(BandError, match=r"a\.tif: the model needs coastal .*: say .*--bands coa"):
        fit_scene(open_scene(path), REFLECTANCE)


def test_alpha_is_never_a_band(tmp_path):
    path = write(
        tmp_path / "a.tif", np.zeros((2, 4, 4), np.uint8), photometric="MINISBLACK", alpha="YES",
        names=("grey", "grey"),
    )  # fmt: skip
    assert fit_scene(open_scene(path), ANY).bands == (1,)


@pytest.mark.parametrize(
    ("reading", "match"),
    [
        ({"scale": 0.0}, r"--scale 0: give a number that is not 0"),
        ({"scale": float("nan")}, "--scale nan"),
        ({"scale": float("inf")}, "--scale inf"),
        ({"offset": float("nan")}, "--offset nan"),
    ],
)
def test_reading_that_cannot_be(reading, match):
    with pytest.raises(OptionError, match=match):
        Reading(**reading)
