from __future__ import annotations

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from geounet.errors import SceneError
from geounet.train.chips12 import LANDCOVER_SCHEME, WaterLandcoverChips
from geounet.train.source import IGNORE, data_folder

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),  # written here
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # torchgeo multiplies affines
]


def test_flood_chips_are_as_on_disk(floods, data):
    name = "Nigeria_812045"
    (chip,) = floods.chips([name])
    with rasterio.open(data / "sen1floods11" / "S1" / f"{name}_S1Hand.tif") as src:
        stored = src.read()
    with rasterio.open(data / "sen1floods11" / "labels" / f"{name}_LabelHand.tif") as src:
        label = src.read(1)
    assert chip.image.shape == (2, 512, 512)
    assert np.array_equal(chip.valid, np.isfinite(stored).all(axis=0))
    assert not chip.valid.all()
    np.testing.assert_array_equal(chip.image[:, chip.valid], stored[:, chip.valid])
    np.testing.assert_array_equal(chip.label, label)
    assert np.array_equal(chip.scored, chip.valid & (label != IGNORE))


def test_every_flood_chip_is_a_group(floods):
    assert len(floods.groups) == 8
    assert all(len(group) == 1 for group in floods.groups)


def test_flood_batches(floods):
    (batch,) = floods.batches(["India_900498"], size=96, batch=3, steps=1, seed=0)
    assert batch["image"].shape == (3, 2, 96, 96)
    assert batch["image"].dtype == torch.float32
    assert batch["mask"].shape == (3, 96, 96)
    assert set(batch["mask"].unique().tolist()) <= {IGNORE, 0, 1}


def test_flood_patches_are_cut_from_the_chip_unresampled(floods):
    (chip,) = floods.chips(["India_900498"])
    (batch,) = floods.batches(["India_900498"], size=32, batch=1, steps=1, seed=3)
    patch, label = batch["image"][0].numpy(), batch["mask"][0].numpy()
    rows, cols = np.nonzero(chip.image[0, :481, :481] == patch[0, 0, 0])
    cuts = [(slice(r, r + 32), slice(c, c + 32)) for r, c in zip(rows, cols, strict=True)]
    found = [cut for cut in cuts if np.array_equal(chip.image[(slice(None), *cut)], patch)]
    assert len(found) == 1
    np.testing.assert_array_equal(chip.label[found[0]], label)


def test_water_patches_are_cut_from_the_chip(water_chips):
    name = water_chips.groups[0][0]
    (chip,) = water_chips.chips([name])
    (batch,) = water_chips.batches([name], size=32, batch=3, steps=1, seed=3)
    assert batch["image"].shape == (3, 7, 32, 32)
    for patch, label in zip(batch["image"].numpy(), batch["mask"].numpy(), strict=True):
        corners = np.argwhere(chip.image[0, :97, :97] == patch[0, 0, 0])
        cuts = [(slice(r, r + 32), slice(c, c + 32)) for r, c in corners]
        found = [cut for cut in cuts if np.array_equal(chip.image[(slice(None), *cut)], patch)]
        assert len(found) == 1
        np.testing.assert_array_equal(chip.label[found[0]], label)


@pytest.mark.parametrize("fixture", ["floods", "water_chips"])
def test_a_seed_gives_the_same_batches(fixture, request):
    source = request.getfixturevalue(fixture)
    names = [group[0] for group in source.groups[:4]]

    def images(seed):
        batches = source.batches(names, size=64, batch=2, steps=2, seed=seed)
        return torch.cat([b["image"] for b in batches]).nan_to_num()

    assert torch.equal(images(1), images(1))
    assert not torch.equal(images(1), images(2))


def test_chips_have_seven_bands_of_reflectance(water_chips):
    names = [name for group in water_chips.groups for name in group]
    assert len(names) == len(set(names)) == 206
    for chip in water_chips.chips(names[:20]):
        assert chip.image.shape == (7, 128, 128)
        assert -0.2 < np.nanmedian(chip.image) < 1.0
        assert set(np.unique(chip.label)) <= {0, 1}


def test_land_cover_is_worldcover_less_snow(cover_chips):
    assert 70 not in LANDCOVER_SCHEME.codes
    names = [name for group in cover_chips.groups for name in group]
    seen = {int(i) for chip in cover_chips.chips(names) for i in np.unique(chip.label)}
    assert seen == {IGNORE, *range(len(LANDCOVER_SCHEME))}


def test_the_leaking_bands_are_not_shown(tmp_path):
    rng = np.random.default_rng(0)
    shown = rng.integers(1, 4000, (7, 128, 128), dtype=np.int16)
    hidden = rng.integers(10, 101, (5, 128, 128), dtype=np.int16)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    place = {"driver": "GTiff", "height": 128, "width": 128, "count": 12, "dtype": "int16"}
    with rasterio.open(tmp_path / "images" / "0.tif", "w", **place) as dst:
        dst.write(np.concatenate([shown, hidden]))
    Image.fromarray(np.zeros((128, 128), np.uint8)).save(tmp_path / "labels" / "0.png")
    (tmp_path / "location_groups.json").write_text("[[0]]")
    (chip,) = WaterLandcoverChips(tmp_path, "water").chips(["0"])
    np.testing.assert_allclose(chip.image, shown * 1e-4, rtol=1e-5)


def test_no_data_is_nan_in_all_bands(water_chips):
    names = [name for group in water_chips.groups for name in group]
    for chip in water_chips.chips(names):
        assert np.isnan(chip.image[:, ~chip.valid]).all()


def test_missing_data_folder(monkeypatch):
    monkeypatch.setenv("GEOUNET_DATA", "/nowhere")
    with pytest.raises(SceneError, match="/nowhere: no such folder: set GEOUNET_DATA"):
        data_folder()
