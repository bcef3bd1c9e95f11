"""Scenes as the agencies deliver them become maps, with nothing said about their bands."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rasters
from affine import Affine

from geounet_cli.main import main

SIDE = 60  # of the coarsest file, in pixels
LEVELS = {
    "coastal": 0.10,
    "blue": 0.09,
    "green": 0.08,
    "red": 0.06,
    "nir": 0.02,
    "swir1": 0.01,
    "swir2": 0.01,
}


def write(path, level, step, *, side=None, dtype="uint16", **options):
    """A file of one band with a level that varies a little."""
    side = side or SIDE * 60 // step
    speckle = np.random.default_rng(len(path.name)).uniform(0.9, 1.1, (1, side, side))
    layer = (level * speckle).astype(dtype)
    return rasters.write(path, layer, transform=rasters.at(step), **options)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def segment(capsys, *argv):
    code = main(["segment", *map(str, argv), "--no-polygons"])
    return code, capsys.readouterr()


def grid(path):
    with rasterio.open(path) as made:
        assert (made.read(1) != made.nodata).all()
        return made.shape, made.transform, made.crs.to_epsg()


def test_sentinel_2_granule(tmp_path, capsys):
    """JPEG 2000 in three resolutions: on the finest grid, whatever the order of the files."""
    numbers = {"B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B08": "nir",
               "B11": "swir1", "B12": "swir2"}  # fmt: skip
    steps = {"B01": 60, "B11": 20, "B12": 20}
    files = [
        write(
            tmp_path / f"T33UUP_20220101T101021_{number}_{steps.get(number, 10)}m.jp2",
            (LEVELS[name] + 0.1) * 10_000,
            steps.get(number, 10),
            **rasters.LOSSLESS,
        )
        for number, name in reversed(numbers.items())
    ]
    code, said = segment(capsys, *files, "--scale", "0.0001", "--offset", "-0.1")
    assert code == 0, said.err
    assert "model water-ms" in said.err
    made = tmp_path / "T33UUP_20220101T101021.water-ms.tif"
    assert grid(made) == ((360, 360), Affine(10, 0, 3e5, 0, -10, 5e6), 32633)


def test_landsat_product(tmp_path, capsys):
    """Surface reflectance beside thermal and quality files, as they are unpacked."""
    product = "LC09_L2SP_193026_20230101_20230102_02_T1"
    files = [
        write(tmp_path / f"{product}_SR_B{i}.TIF", (level + 0.2) / 0.0000275, 30, nodata=0)
        for i, level in enumerate(LEVELS.values(), 1)
    ]
    files += [
        write(tmp_path / f"{product}_ST_B10.TIF", 40_000, 30),
        write(tmp_path / f"{product}_QA_PIXEL.TIF", 21_824, 30),
    ]
    code, said = segment(capsys, *files, "--scale", "0.0000275", "--offset", "-0.2")
    assert code == 0, said.err
    assert "model water-ms" in said.err
    made = tmp_path / f"{product}.water-ms.tif"
    assert grid(made) == ((120, 120), Affine(30, 0, 3e5, 0, -30, 5e6), 32633)


def test_landsat_without_its_scale_is_refused_with_it(tmp_path, capsys):
    files = [write(tmp_path / f"LC09_x_SR_B{i}.TIF", 9000, 30, side=40) for i in range(1, 8)]
    code, said = segment(capsys, *files)
    assert code == 2
    assert "--scale 0.0000275 --offset -0.2 for Landsat Collection 2" in said.err


def test_sentinel_1_pair(tmp_path, capsys):
    files = [
        write(tmp_path / f"s1a-iw-grd-{p}-20200101t000000.tiff", db, 10, side=80, dtype="float32")
        for p, db in (("vh", -24), ("vv", -18))
    ]
    code, said = segment(capsys, *files)
    assert code == 0, said.err
    assert "model flood-s1" in said.err
    assert grid(tmp_path / "s1a-iw-grd.flood-s1.tif")[0] == (80, 80)


def test_sentinel_1_in_linear_power_is_refused(tmp_path, capsys):
    files = [
        write(tmp_path / f"s1-{p}.tiff", power, 10, side=40, dtype="float32")
        for p, power in (("vh", 0.01), ("vv", 0.05))
    ]
    code, said = segment(capsys, *files)
    assert code == 2
    assert "are linear power; flood-s1 expects decibels: convert with 10 * log10" in said.err


def test_photo_fits_no_model(data, capsys):
    photo = data / "odd_rasters/rasterio/RGB.byte.tif"
    code, said = segment(capsys, photo)
    assert code == 2
    assert len(said.err.splitlines()) == 1
    assert "no bundled model reads its bands (red, green, blue)" in said.err


def test_aerial_photo_for_a_reflectance_model(data, capsys):
    """Four bands of 0 to 255 are no reflectance, whatever they are called."""
    photo = data / "scenes/naip/m_4709963_se_14_1_20090818.tif"
    bands = "coastal=3,blue=3,green=2,red=1,nir=4,swir1=4,swir2=4"
    code, said = segment(capsys, photo, "-m", "water-ms", "--bands", bands)
    assert code == 2
    assert "stores uint8 without a scale tag" in said.err
    code, said = segment(capsys, photo, "-m", "water-ms", "--bands", bands, "--scale", "1")
    assert code == 2


def test_chip_of_sen1floods11(data, tmp_path, capsys):
    """Real backscatter with NaN holes: invalid exactly there."""
    chip = min((data / "sen1floods11").rglob("*S1Hand.tif"))
    code, said = segment(capsys, chip)
    assert code == 0, said.err
    with rasterio.open(chip) as scene, rasterio.open(next(tmp_path.glob("*.tif"))) as made:
        invalid = np.isnan(scene.read()).any(axis=0)
        np.testing.assert_array_equal(made.read(1) == 255, invalid)
        assert made.transform.almost_equals(scene.transform, 1e-12)
