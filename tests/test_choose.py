"""A model is chosen by bands; what was opened for it is closed when it is refused."""

from __future__ import annotations

import numpy as np
import pytest
from rasters import at, write

from geounet.choose import choose_model, explain_models
from geounet.errors import BandError, ValueRangeError
from geounet.fit import Reading
from geounet.options import SegmentOptions
from geounet.scene import GeoTIFFScene, MemoryScene, open_scene

WATER = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")


@pytest.fixture
def handles(monkeypatch):
    """Every file that is opened."""
    opened = []
    original = GeoTIFFScene._open

    def open_and_note(self):
        opened.append(original(self))
        return opened[-1]

    monkeypatch.setattr(GeoTIFFScene, "_open", open_and_note)
    return opened


def files(folder, level, steps=(10, 10, 10, 10, 10, 20, 20)):
    return [
        write(folder / f"{name}.tif", np.full((240 // step,) * 2, level, np.uint16),
              transform=at(step))
        for name, step in zip(WATER, steps, strict=True)
    ]  # fmt: skip


def test_refused_files_are_closed(tmp_path, handles):
    scene = open_scene(files(tmp_path, 50_000))
    options = SegmentOptions(model="water-ms", reading=Reading(scale=0.001))
    with pytest.raises(ValueRangeError, match="band coastal has a median of 50"):
        choose_model(scene, options, pytest.fail)
    assert len(handles) >= 7
    assert all(handle.closed for handle in handles)


def test_explaining_leaves_nothing_open_but_the_scene(tmp_path, handles):
    """As ``geounet info`` asks for, model by model."""
    scene = open_scene(files(tmp_path, 1000))
    said = explain_models(scene, Reading())
    assert said["flood-s1"] == "no: the scene lacks VV VH"
    assert "stores uint16 without a scale tag" in said["water-ms"]
    said = explain_models(scene, Reading(scale=0.0001))
    assert said["water-ms"] == "fits (pixels of 10 m, 20 m meet on the 10 m grid of coastal.tif)"
    scene.close()
    assert all(handle.closed for handle in handles)


def test_the_grid_of_files_that_differ_is_told(tmp_path):
    scene = open_scene(files(tmp_path, 1000))
    said = []
    options = SegmentOptions(reading=Reading(scale=0.0001))
    _, fit = choose_model(scene, options, said.append)
    fit.scene.close()
    model, grid = said
    assert model.startswith("model water-ms: ")
    assert grid == "pixels of 10 m, 20 m meet on the 10 m grid of coastal.tif"


def test_no_model_for_these_bands():
    radar = MemoryScene.of(np.zeros((2, 4, 4), np.float32), names=("HH", "HV"))
    with pytest.raises(BandError, match=r"\(HH, HV\).*give a scene with such bands, or a model"):
        choose_model(radar, SegmentOptions(), pytest.fail)
    unnamed = MemoryScene.of(np.zeros((2, 4, 4), np.float32))
    with pytest.raises(BandError, match=r"\(band 1, band 2\).*: say which band is which with -m"):
        choose_model(unnamed, SegmentOptions(), pytest.fail)


def test_pictures_are_told_as_such():
    """Whatever their bands are called, and without a flag that would only lead on."""
    for names in ((), ("red", "green", "blue", "nir")):
        photo = MemoryScene.of(np.zeros((4, 4, 4), np.uint8), names=names)
        with pytest.raises(BandError, match=r"a picture of bytes .* so give a model of your"):
            choose_model(photo, SegmentOptions(), pytest.fail)
        for said in explain_models(photo, Reading()).values():
            assert said.startswith("no: a picture of bytes (0 to 255) holds no ")
            assert "--" not in said
