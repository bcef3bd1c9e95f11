"""Images and masks without a place: vessels, membranes, cracks, and what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("torchgeo")

from geounet.classes import ClassDef, ClassScheme
from geounet.errors import DataError
from geounet.train.data import DataRequest, describe, open_data, split
from geounet.train.source import IGNORE

pytestmark = pytest.mark.train

ROOT = Path(__file__).parents[2]


def scheme(**codes: int) -> ClassScheme:
    return ClassScheme(
        classes=tuple(
            ClassDef(code=code, name=name, color=f"#0000{i:02x}")
            for i, (name, code) in enumerate(codes.items())
        )
    )


TWO = scheme(back=0, thing=1)


def write(folder, kind, name, array):
    (folder / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(folder / kind / name)


def opened(path, mode="RGB"):
    with Image.open(path) as picture:
        return np.array(picture.convert(mode))


def drawn(folder, count=4, size=(40, 60)):
    """Pictures in which every pixel tells where it is, and masks of 0 and 255."""
    where = np.stack(np.indices(size), axis=-1).astype(np.uint8)
    for i in range(count):
        picture = np.concatenate([where, np.full((*size, 1), i, np.uint8)], axis=-1)
        mask = np.where((where.sum(axis=-1) + i) % 3 == 0, 255, 0).astype(np.uint8)
        write(folder, "images", f"p{i}_img.png", picture)
        write(folder, "labels", f"p{i}_mask.png", mask)
    return DataRequest(
        images=folder / "images", labels=folder / "labels", classes=TWO, patch=16, seed=0
    )


def test_vessels(data):
    """Masks of 0 and 255 in GIFs, matched by what their names share, inside the field of view."""
    root = data / "drive_vessels"
    request = DataRequest(
        images=root / "images", labels=root / "labels", mask=root / "fov", classes=TWO
    )
    said = []
    source = open_data(request, say=said.append)
    assert said == [
        "20 pairs of image and label: *_training with *_manual1",
        "labels count inside of 20 masks only: * with *_mask",
        "labels are masks of 0 and 255: 255 is read as class 1",
        "20 groups of 20 chips",
    ]
    assert source.bands == ("red", "green", "blue")
    (chip,) = source.chips(["21"])
    picture = opened(root / "images" / "21_training.tif")
    vessels = opened(root / "labels" / "21_manual1.gif", "L").astype(int)
    seen = opened(root / "fov" / "21_training_mask.gif", "L") > 0
    np.testing.assert_array_equal(chip.image, picture.transpose(2, 0, 1))
    np.testing.assert_array_equal(chip.label, np.where(seen, vessels // 255, IGNORE))
    assert source.pixels("21").ignored == (~seen).sum()
    lines = describe(source, split(source, 0.2, 0))
    assert "images of 565 x 584 px, uint8, bands red green blue" in lines
    assert any("thing" in line and "training" in line for line in lines)


def test_membranes_are_gray(data):
    root = data / "isbi2012_membrane"
    source = open_data(
        DataRequest(
            images=root / "image", labels=root / "label", classes=scheme(membrane=0, cell=1)
        )
    )
    assert source.bands == ("gray",)
    parts = split(source, 0.25, 3)
    assert (len(parts.train), len(parts.validation)) == (15, 5)


def test_cracks_hold_more_than_their_readme_says(data):
    """MATLAB labels; some of them have a third and a fourth value, and ours say so."""
    root = data / "crackforest"
    asked = {
        "images": root / "image",
        "labels": root / "groundTruth",
        "classes": scheme(road=1, crack=2),
    }
    with pytest.raises(DataError, match=r"label value 3 \(89,342 px\) is no class"):
        open_data(DataRequest(**asked))
    source = open_data(DataRequest(**asked, ignore=frozenset({3, 4})))
    assert len(source.names) == 79
    ignored = [source.pixels(name).ignored for name in source.names]
    count, images = sum(ignored), sum(map(bool, ignored))
    told = f"in {images} of the 79"
    benchmark = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert f"3 and 4, which are something else: these {count:,} pixels" in benchmark
    assert told in benchmark
    assert told in (ROOT / "notebooks" / "pictures.ipynb").read_text(encoding="utf-8")
    assert 0.01 < source.pixels("041").classes[1] / (480 * 320) < 0.1


def test_patches_are_cut_from_the_picture(tmp_path):
    source = open_data(drawn(tmp_path / "a", count=9))
    chips = dict(enumerate(source.chips(source.names)))
    corners = set()
    for batch in source.batches(source.names, size=32, batch=10, steps=60, seed=4):
        assert batch["image"].shape == (10, 3, 32, 32)
        assert batch["mask"].dtype == torch.int64
        for image, mask in zip(batch["image"].numpy(), batch["mask"].numpy(), strict=True):
            row, col, number = image[:, 0, 0].astype(int)
            cutting = slice(row, row + 32), slice(col, col + 32)
            np.testing.assert_array_equal(image, chips[number].image[(slice(None), *cutting)])
            np.testing.assert_array_equal(mask, chips[number].label[cutting])
            corners.add((row, col))
    rows, cols = ({corner[axis] for corner in corners} for axis in (0, 1))
    assert rows == set(range(9))  # the first and the last place, too
    assert {0, 28} <= cols


def test_a_seed_gives_the_same_batches(tmp_path):
    source = open_data(drawn(tmp_path))

    def images(seed):
        batches = source.batches(source.names, size=16, batch=3, steps=4, seed=seed)
        return torch.cat([b["image"] for b in batches]).nan_to_num()

    state = torch.get_rng_state()
    assert torch.equal(images(1), images(1))
    assert not torch.equal(images(1), images(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_patch_larger_than_the_picture_is_padded(tmp_path):
    source = open_data(drawn(tmp_path, count=9))
    (batch,) = source.batches(source.names, size=256, batch=2, steps=1, seed=0)
    assert batch["image"].shape == (2, 3, 64, 64)  # 40 pixels, rounded up
    assert torch.isnan(batch["image"][:, :, 40:]).all()
    assert (batch["mask"][:, 40:] == IGNORE).all()
    assert torch.isfinite(batch["image"][:, :, :40, :40]).all()


def test_few_pictures_are_cut_and_never_shown_to_the_other_side(tmp_path):
    source = open_data(drawn(tmp_path, count=1, size=(250, 250)))
    parts = split(source, 0.25, 1)
    aside = np.zeros((250, 250), bool)
    for name in parts.validation:
        aside[source._blocks[name].window.slices] = True
    assert 0.1 < aside.mean() < 0.45
    (whole,) = split(source, 0, 1).validation or [None]
    assert whole is None
    for batch in source.batches(parts.train, size=64, batch=8, steps=20, seed=0):
        for image in batch["image"].numpy():
            rows, cols = image[:2, np.isfinite(image[0])].astype(int)
            assert not aside[rows, cols].any()


def test_a_small_cache_gives_the_same(tmp_path):
    request = drawn(tmp_path)
    plenty = open_data(request)
    asked = {k: getattr(request, k) for k in request.__slots__} | {"cache": 1}
    little = open_data(DataRequest(**asked))
    for one, other in zip(plenty.chips(plenty.names), little.chips(little.names), strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.label, other.label)


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    request = drawn(tmp_path, count=6)
    (tmp_path / "labels" / "p0_mask.png").unlink()
    (tmp_path / "images" / "p1_img.png").unlink()
    write(tmp_path, "labels", "p2_mask.png", np.zeros((7, 9), np.uint8))
    write(tmp_path, "labels", "p3_mask.png", np.full((40, 60), 77, np.uint8))
    write(tmp_path, "labels", "p4_mask.png", np.zeros((40, 60, 4), np.uint8) + 9)
    asked = {k: getattr(request, k) for k in request.__slots__}
    asked["classes"] = scheme(back=0, thing=255 - 1, rare=7)
    with pytest.raises(DataError) as caught:
        open_data(DataRequest(**asked))
    text = str(caught.value)
    assert "no label for these images (matched by *_img with *_mask): p0_img.png" in text
    assert "no image for these labels (matched by *_img with *_mask): p1_mask.png" in text
    assert "differ in size: p2_mask.png (9 x 7 px) against p2_img.png (60 x 40 px)" in text
    assert "label value 77 (2,400 px) is no class" in text
    assert "classes without a pixel in any label (leave them out): thing, rare" in text
    assert text.startswith("the data cannot be used, ")


def test_colours_are_no_codes(tmp_path):
    request = drawn(tmp_path, count=2)
    colours = np.zeros((40, 60, 3), np.uint8)
    colours[:20, :, 0] = 255
    write(tmp_path, "labels", "p1_mask.png", colours)
    with pytest.raises(DataError, match=r"p1_mask.png holds colours"):
        open_data(request)


def test_palettes_hold_codes(tmp_path):
    request = drawn(tmp_path, count=2)
    for i in range(2):
        indexed = Image.fromarray((np.indices((40, 60)).sum(axis=0) % 2).astype(np.uint8), "P")
        indexed.putpalette([250, 0, 0, 0, 250, 0])
        indexed.save(tmp_path / "labels" / f"p{i}_mask.png")
    source = open_data(request)
    chip = next(source.chips(source.names))
    assert set(np.unique(chip.label)) == {0, 1}


def test_groups_of_a_file_stay_together(tmp_path):
    request = drawn(tmp_path / "d", count=9)
    listed = tmp_path / "groups.json"
    listed.write_text(
        json.dumps([["p0", "p1", "p2"], ["p3_img", "p4_mask"], ["p5"], ["elsewhere"]])
    )
    asked = {k: getattr(request, k) for k in request.__slots__} | {"groups": listed}
    said = []
    source = open_data(DataRequest(**asked), say=said.append)
    assert set(source.groups) == {
        ("p0", "p1", "p2"),
        ("p3", "p4"),
        *((f"p{i}",) for i in range(5, 9)),
    }
    assert said[-1] == "3 images are in no group: p6, p7, p8"
    parts = split(source, 0.3, 0)
    for group in source.groups:
        assert len({name in parts.train for name in group}) == 1


def test_groups_as_csv(tmp_path):
    request = drawn(tmp_path / "d", count=9)
    listed = tmp_path / "groups.csv"
    listed.write_text("stem,group\n" + "".join(f"p{i},g{i // 3}\n" for i in range(9)))
    asked = {k: getattr(request, k) for k in request.__slots__} | {"groups": listed}
    assert [len(g) for g in open_data(DataRequest(**asked)).groups] == [3, 3, 3]


def test_validation_by_name_folder_and_file(tmp_path):
    source = open_data(drawn(tmp_path, count=9))
    assert split(source, ["p1", "p3_img.png"], 0).validation == ("p1", "p3")
    write(tmp_path, "val", "p5_img.png", np.zeros((2, 2), np.uint8))
    assert split(source, tmp_path / "val", 0).validation == ("p5",)
    (tmp_path / "val.txt").write_text("p2\np4\n")
    assert split(source, tmp_path / "val.txt", 0).validation == ("p2", "p4")
    with pytest.raises(DataError, match="--val names what is not among the images: p99"):
        split(source, ["p99"], 0)
    with pytest.raises(DataError, match="leave some to train on"):
        split(source, list(source.names), 0)


def test_a_split_has_every_class_on_both_sides(tmp_path):
    """Only two of nine pictures hold the thing: one of them must stay to be learnt from."""
    request = drawn(tmp_path, count=9)
    for i in range(9):
        mask = np.zeros((40, 60), np.uint8)
        mask[:20] = 255 * (i in (3, 7))
        write(tmp_path, "labels", f"p{i}_mask.png", mask)
    source = open_data(request)
    for seed in range(5):
        parts = split(source, 0.25, seed)
        assert len({"p3", "p7"}.intersection(parts.validation)) == 1
