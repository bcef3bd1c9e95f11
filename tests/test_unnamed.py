"""A model of images whose bands have no names segments images of the same kind, without a flag."""

from __future__ import annotations

import warnings
from dataclasses import replace

import geopandas
import numpy as np
import pytest
import rasterio
import rasters
import shapely
from rasterio.errors import NotGeoreferencedWarning
from test_exactness import whole_scene_logits

import geounet
from geounet import quicklook
from geounet.bands import Normalizer
from geounet.bundle import load_bundle
from geounet.classes import NODATA
from geounet.engine.torch import TorchEngine
from geounet.errors import BandError
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet_cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SIZE = 70
RNG = np.random.default_rng(5)
WAVES = np.kron(RNG.uniform(0, 255, (5, 7, 7)), np.ones((10, 10))).astype(np.uint8)
ALPHA = np.full((1, SIZE, SIZE), 255, np.uint8)
ALPHA[0, 20:31, 5:50] = 0

PICTURE = rasters.NOWHERE
PNG = {"driver": "PNG", **PICTURE}
JPEG = {"driver": "JPEG", "quality": 95, **PICTURE}
BARE = {"photometric": "MINISBLACK"}
RGB, FOUR = ("red", "green", "blue"), ("band1", "band2", "band3", "band4")
UNNAMED = ("band1", "band2", "band3")

SAME_KIND = {
    "colours, png": (RGB, "a.png", WAVES[:3], PNG),
    "colours, jpeg": (RGB, "a.jpg", WAVES[:3], JPEG),
    "colours and alpha, png": (RGB, "a.png", np.concatenate([WAVES[:3], ALPHA]), PNG),
    "colours, tiff": (RGB, "a.tif", WAVES[:3], PICTURE),
    "gray, png": (("gray",), "a.png", WAVES[:1], PNG),
    "gray, png of 16 bits": (("gray",), "a.png", WAVES[:1] * np.uint16(9), PNG),
    "gray, jpeg": (("gray",), "a.jpg", WAVES[:1], JPEG),
    "gray and alpha, png": (("gray",), "a.png", np.concatenate([WAVES[:1], ALPHA]), PNG),
    "gray, a picture called by a colour": (("gray",), "red-squirrel_B4.png", WAVES[:1], PNG),
    "gray, tiff": (("gray",), "cells.tif", WAVES[:1], PICTURE),
    "gray, on the map": (("gray",), "height.tif", WAVES[:1].astype(np.float32), {}),
    "four": (FOUR, "a.tif", WAVES[:4].astype(np.uint16), {}),
    "four of bytes": (FOUR, "a.tif", WAVES[:4], BARE),
    "four numbered": (FOUR, "a.tif", WAVES[:4], {"names": [f"Band {i}" for i in "1234"], **BARE}),
    "three without colours": (UNNAMED, "a.tif", WAVES[:3], BARE | PICTURE),
    "colours and one more": (
        (*RGB, "band4"),
        "a.tif",
        WAVES[:4],
        {"photometric": "RGB", "alpha": "UNSPECIFIED"},
    ),
}

OTHER_KIND = {
    "too many": (UNNAMED, WAVES[:4], BARE, r"needs 3 bands without a name; the scene has 4 bands"),
    "too few": (FOUR, WAVES[:3], BARE, r"3 bands \(1 2 3, without names\): give a scene of 4"),
    "colours": (UNNAMED, WAVES[:3], {}, r"\(1=red 2=green 3=blue\): .*--bands band1=1,band2=2,"),
    "numbers": (UNNAMED, WAVES[:3], {"names": ["B1", "B2", "B3"], **BARE}, r"--bands band1=1,"),
    "no colours": (RGB, WAVES[:3], BARE, r"without names\): say .* --bands red=1,green=2,blue=3"),
    "gray of colours": (("gray",), WAVES[:3], {}, r"needs one band, gray; .* --bands gray=1"),
    "colours of gray": (RGB, WAVES[:1], {}, r"give a scene that has them, or another model"),
}


def bundle(folder, bands):
    """A model of pictures: stored values, and no size of pixels."""
    spec = random_spec(bands, classes=4)
    seen = tuple(replace(band, mean=127, std=60) for band in spec.bands)
    spec = replace(spec, bands=seen, pixel_size=None)
    return random_bundle(folder / "random.geounet", spec, seed=3)


def labels_of(raster):
    with rasterio.open(raster) as dataset:
        return dataset.read(1)


def whole_pass(model, scene):
    """(labels, where they are no tie) of one pass over what GDAL decodes."""
    loaded = load_bundle(model)
    with rasterio.open(scene) as dataset:
        data = dataset.read(list(range(1, len(loaded.spec.bands) + 1)))
        valid = dataset.dataset_mask() > 0
    normalizer = Normalizer.of(loaded.spec.bands, loaded.spec.clip)
    engine = TorchEngine(loaded, normalizer, device="cpu", precision="fp32")
    logits = whole_scene_logits(engine, data, valid)
    ordered = np.sort(logits, axis=0)
    return np.where(valid, logits.argmax(0), NODATA), ordered[-1] - ordered[-2] > 1e-4


@pytest.mark.parametrize("case", SAME_KIND)
def test_images_of_the_same_kind(tmp_path, case):
    """Each band where the network wants it; of a scene without a CRS that is said, and no more."""
    bands, name, data, options = SAME_KIND[case]
    model = bundle(tmp_path, bands)
    scene = rasters.write(tmp_path / name, data, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        report = geounet.segment(scene, model=model, out=tmp_path / "map.tif", precision="fp32")
    placed = options.get("crs", "of UTM") is not None
    said = [] if placed else [f"{scene} has no CRS, so the outputs have none either"]
    assert [str(one.message) for one in caught] == said
    labels, clear = whole_pass(model, scene)
    got = labels_of(report.raster)
    assert np.array_equal(got[clear], labels[clear])
    assert clear.mean() > 0.99
    assert len(np.unique(got[got != NODATA])) > 1
    assert report.valid_pixels == SIZE**2 - ("alpha" in case) * 11 * 45


@pytest.mark.parametrize("case", OTHER_KIND)
def test_images_of_another_kind(tmp_path, case):
    bands, data, options, message = OTHER_KIND[case]
    scene = rasters.write(tmp_path / "scene.tif", data, **options)
    with pytest.raises(BandError, match=message):
        geounet.segment(scene, model=bundle(tmp_path, bands), out=tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


def test_the_flag_of_the_message_mends_it(tmp_path):
    model = bundle(tmp_path, UNNAMED)
    scene = rasters.write(tmp_path / "scene.tif", WAVES[:4], **BARE)
    other = rasters.write(tmp_path / "other.tif", WAVES[[3, 0, 1]], **BARE)
    options = {"model": model, "polygons": False}
    given = geounet.segment(
        scene, out=tmp_path / "a.tif", bands="band1=4,band2=1,band3=2", **options
    )
    found = geounet.segment(other, out=tmp_path / "b.tif", **options)
    assert np.array_equal(labels_of(given.raster), labels_of(found.raster))


@pytest.mark.parametrize(("count", "caption"), [(1, "1"), (2, "1"), (3, "1, 2, 3"), (4, "1, 2, 3")])
def test_a_quicklook_of_bands_without_names(tmp_path, monkeypatch, count, caption):
    """One band in gray, and three or more as red, green and blue."""
    sheets = []
    draw = quicklook.draw_sheet
    monkeypatch.setattr(quicklook, "draw_sheet", lambda sheet: sheets.append(sheet) or draw(sheet))
    scene = rasters.write(tmp_path / "a.tif", WAVES[:count], **BARE | PICTURE)
    classes = rasters.write(tmp_path / "map.tif", WAVES[0] // 100, **PICTURE)
    assert main(["quicklook", str(scene), str(classes), str(tmp_path / "a.png")]) == 0
    assert sheets[0].caption == f"band {caption}"
    shown = np.asarray(sheets[0].scene)
    assert (np.ptp(shown, axis=2).max() == 0) == (count < 3)
    assert np.ptp(shown) > 200


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize("wrong", ["no CRS", "pixel size"])
def test_an_error_comes_before_any_warning(tmp_path, capsys, wrong):
    """An area without a valid pixel is refused, and nothing is said of its place."""
    place = {"crs": None} if wrong == "no CRS" else {"transform": rasters.at(5000)}
    data = WAVES[:1].copy()
    data[:, :, :20] = 0
    scene = rasters.write(tmp_path / "a.tif", data, nodata=0, **place)
    step = 10 if wrong == "no CRS" else 5000
    model = random_bundle(tmp_path / "random.geounet", random_spec(("gray",)))
    argv = ["segment", str(scene), "-m", str(model), "-o", str(tmp_path / "map.tif")]
    boxes = {
        name: shapely.box(
            rasters.WEST + west * step, rasters.NORTH - 9 * step,
            rasters.WEST + (west + 9) * step, rasters.NORTH,
        )
        for name, west in (("nothing", 5), ("something", 40))
    }  # fmt: skip
    crs = place.get("crs", "EPSG:32633")
    for name, box in boxes.items():
        geopandas.GeoDataFrame(geometry=[box], crs=crs).to_file(tmp_path / f"{name}.gpkg")
    assert main([*argv, "--aoi", str(tmp_path / "nothing.gpkg")]) == 2
    assert capsys.readouterr().err == (
        f"geounet: {scene} has no valid pixel inside --aoi: check its nodata value and mask"
        " (geounet info shows them)\n"
    )
    assert main([*argv, "--aoi", str(tmp_path / "something.gpkg")]) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert ("has no CRS" if wrong == "no CRS" else "was trained on 1 to 100 m") in said
