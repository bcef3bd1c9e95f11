"""Which files belong together, what bands are called, what labels mean, what is kept in memory."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torchgeo")

from geounet.bands import match_bands
from geounet.classes import ClassDef, ClassScheme
from geounet.errors import BandError, OptionError
from geounet.scene import MemoryScene
from geounet.train.data.blocks import Block, cut, neighbourhood, regions, worthwhile
from geounet.train.data.cache import Cache
from geounet.train.data.codes import UNLABELLED, LabelCodes, count_values
from geounet.train.data.match import match
from geounet.train.data.names import choose_bands
from geounet.train.data.place import grouped
from geounet.train.data.prefetch import PrefetchLoader
from geounet.train.data.request import DataRequest
from geounet.window import Window

pytestmark = pytest.mark.train

TWO = ClassScheme(
    classes=(
        ClassDef(code=0, name="land", color="#000000"),
        ClassDef(code=1, name="water", color="#0000ff"),
    )
)


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


@pytest.mark.parametrize(
    ("images", "labels", "keys", "rule"),
    [
        (["1.tif", "10.tif"], ["1.png", "10.png"], ["1", "10"], "same stem"),
        (
            ["21_training.tif", "22_training.tif"],
            ["21_manual1.gif", "22_manual1.gif"],
            ["21", "22"],
            "*_training with *_manual1",
        ),
        (
            ["Ghana_1_S1Hand.tif", "Ghana_2_S1Hand.tif", "Sri-Lanka_1_S1Hand.tif"],
            ["Ghana_1_LabelHand.tif", "Ghana_2_LabelHand.tif", "Sri-Lanka_1_LabelHand.tif"],
            ["Ghana_1", "Ghana_2", "Sri-Lanka_1"],
            "*_S1Hand with *_LabelHand",
        ),
        (["img-1.png", "img-2.png"], ["lab-1.png", "lab-2.png"], ["1", "2"], "img-* with lab-*"),
        (["a.tif"], ["whatever.png"], ["a"], "a.tif with whatever.png"),
        (
            ["a_x.tif", "b_x.tif", "readme.tif"],
            ["a_y.tif", "b_y.tif"],
            ["a", "b"],
            "*_x with *_y",
        ),
    ],
)
def test_mates_are_found_by_stem(images, labels, keys, rule):
    found = match(paths(*images), paths(*labels))
    assert [key for key, _, _ in found.pairs] == keys
    assert found.rule == rule


def test_what_has_no_mate_or_two_is_named():
    found = match(paths("1.tif", "2.tif", "2.png"), paths("2.gif", "3.gif"))
    assert [p.name for p in found.lonely] == ["1.tif"]
    assert [p.name for p in found.spare] == ["3.gif"]
    assert found.doubled == ("2",)


def info(count: int, names=(), dtype=np.uint8):
    return MemoryScene.of(np.zeros((count, 2, 2), dtype), names=names).info


@pytest.mark.parametrize(
    ("names", "option", "expected", "indices"),
    [
        (("Red", "GREEN", "b"), None, ("red", "green", "blue"), (1, 2, 3)),
        (("SWIR-1", "", "vigour"), None, ("swir1", "band2", "vigour"), (1, 2, 3)),
        (("red", "red"), None, ("band1", "band2"), (1, 2)),
        (("a-b", "A b"), None, ("band1", "band2"), (1, 2)),
        (("VV_2020", "VH", "VV_2021"), None, ("VV_2020", "VH", "VV_2021"), (1, 2, 3)),
        (("Band 1", "band_2", "Band 4"), None, ("band1", "band2", "Band 4"), (1, 2, 3)),
        (("a=b", "x, y", "-"), None, ("band1", "band2", "band3"), (1, 2, 3)),
        (("",), None, ("gray",), (1,)),
        (("array",), None, ("gray",), (1,)),
        (("Grey",), None, ("gray",), (1,)),
        (("Band 1",), None, ("gray",), (1,)),
        (("nir",), None, ("nir",), (1,)),
        (("height",), None, ("height",), (1,)),
        (("", "", ""), "nir=3,R=1", ("nir", "red"), (3, 1)),
    ],
)
def test_bands_are_named(names, option, expected, indices):
    bands = choose_bands(info(len(names), names), option)
    assert (bands.names, bands.indices) == (expected, indices)


@pytest.mark.parametrize(
    ("names", "alphas", "expected", "indices"),
    [
        (("", ""), (2,), ("gray",), (1,)),
        (("", "", ""), (1,), ("band1", "band2"), (2, 3)),
        (("red", "green", "blue", ""), (4,), ("red", "green", "blue"), (1, 2, 3)),
    ],
)
def test_alpha_is_no_band(names, alphas, expected, indices):
    plain = info(len(names), names)
    marked = (replace(b, is_alpha=i in alphas) for i, b in enumerate(plain.bands, start=1))
    bands = choose_bands(replace(plain, bands=tuple(marked)), None)
    assert (bands.names, bands.indices) == (expected, indices)


@pytest.mark.parametrize(
    ("names", "others"),
    [
        (("", "", ""), ()),
        (("",), ()),
        (("red", "green", "blue", ""), ()),
        (("SWIR-1", "", "vigour"), ()),
        (("VV_2020", "VH", "VV_2021"), ()),
        (("Band 1", "Band 2"), ("", "")),
        (("Band 3", "Band 2", "Band 1"), ()),
        (("B2", "B3", ""), ()),
        (("x", "y"), ("y", "x")),
        (("\u7ea2", "\u7eff"), ("\u7eff", "\u7ea2")),
    ],
)
def test_a_model_finds_the_bands_of_images_like_those_it_learned_from(names, others):
    """Law of names: whatever they are called, the same kind of image matches without a flag."""
    needed = choose_bands(info(len(names), names), None).names
    assert match_bands(needed, names) == tuple(range(1, len(names) + 1))
    if any(others):
        assert [others[i - 1] for i in match_bands(needed, others)] == list(names)
    elif others:
        assert match_bands(needed, others) == tuple(range(1, len(names) + 1))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("red", "'red' is not NAME=INDEX"),
        ("red=4", "red=4: array has bands 1 to 3"),
        ("red=1,r=2", "none of them twice"),
    ],
)
def test_bands_that_cannot_be(option, message):
    with pytest.raises(BandError, match=message):
        choose_bands(info(3), option)


def test_label_values_become_channels():
    codes = LabelCodes(classes=TWO, ignore=frozenset({-1}), remap={7: 1})
    values = np.array([[0, 1, 7], [-1, 9, 1]])
    valid = np.array([[True, True, True], [True, True, False]])
    index = codes.index(values, valid)
    assert index.tolist() == [[0, 1, 1], [UNLABELLED] * 3]
    assert codes.unknown(count_values(values, valid)) == [9]
    assert codes.count(count_values(values, valid)) == (1, 2)


@pytest.mark.parametrize(
    ("values", "read"), [({0, 255}, {255: 1}), ({0, 1, 255}, {}), ({0, 1}, {}), ({0, 128}, {})]
)
def test_masks_of_0_and_255(values, read):
    assert LabelCodes(classes=TWO).for_masks(values).remap == read


@given(st.lists(st.integers(-3, 260), min_size=1, max_size=60))
def test_values_are_counted_as_they_are(values):
    wide = np.array(values)
    assert count_values(wide, np.ones(len(wide), bool)) == Counter(values)
    narrow = wide.clip(0, 255).astype(np.uint8)
    assert count_values(narrow, narrow > 3) == Counter(narrow[narrow > 3].tolist())


@given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1), st.integers(1, 40))
def test_regions_are_the_largest_rectangles_of_blocks(cells, side):
    """Law of regions: nothing outside, every block inside, none within another."""
    borders = cut(61, 6)
    blocks = [
        Block(
            name=f"{r}:{c}",
            pair=0,
            row=r,
            col=c,
            window=Window.between(borders[r], borders[c], borders[r + 1], borders[c + 1]),
        )
        for r, c in sorted(cells)
    ]
    allowed = np.zeros((61, 61), bool)
    for block in blocks:
        allowed[block.window.slices] = True
    found = regions(blocks)
    shown = np.zeros_like(allowed)
    for window in found:
        assert allowed[window.slices].all()
        assert not any(o.contains(window) for o in found if o != window)
        shown[window.slices] = True
    assert np.array_equal(shown, allowed)
    kept = worthwhile(found, blocks, side)
    shown[:] = False
    for window in kept:
        shown[window.slices] = True
    assert np.array_equal(shown, allowed)


@given(st.integers(1, 5000))
def test_neighbourhoods_stay_many(count):
    assert count / neighbourhood(count) ** 2 >= min(count, 24)


@given(st.integers(1, 12), st.lists(st.lists(st.integers(0, 11), min_size=1), max_size=8))
def test_what_belongs_together_is_one_group(count, together):
    together = [[i % count for i in ones] for ones in together]
    groups = grouped(count, together)
    assert sorted(i for group in groups for i in group) == list(range(count))
    of = {i: k for k, group in enumerate(groups) for i in group}
    assert all(len({of[i] for i in ones}) == 1 for ones in together)


def test_the_cache_is_bounded_and_forgets_the_oldest():
    cache, made = Cache(300), []

    def make(key):
        made.append(key)
        return (np.zeros(100, np.uint8),)

    for key in "abcad":  # d drops b, the one that was not used for longest
        cache.get(key, lambda k=key: make(k))
        assert cache.held <= 300
    cache.get("a", lambda: make("a"))
    cache.get("b", lambda: make("b"))
    assert made == ["a", "b", "c", "d", "b"]


def test_batches_come_in_order_and_the_thread_ends():
    before = threading.active_count()
    loader = PrefetchLoader(range(40), batch_size=4)
    assert [batch.tolist() for batch in loader] == [list(range(i, i + 4)) for i in range(0, 40, 4)]
    batches = iter(loader)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_what_reading_raises_is_raised_where_the_batch_is_asked_for():
    class Broken:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        list(PrefetchLoader(Broken(), batch_size=1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patch": 0}, "patch 0"),
        ({"scale": 0.0}, "--scale 0"),
        ({"ignore": frozenset({1})}, "--ignore 1: it is a class of 0 land, 1 water"),
        ({"remap": {255: 9}}, "--map 255=9: 9 is no class of 0 land, 1 water"),
        ({"background": "sea"}, "'sea' is no class: choose from land, water"),
    ],
)
def test_requests_that_cannot_be(wrong, message):
    with pytest.raises(OptionError, match=message):
        DataRequest(images="a", labels="b", classes=TWO, **wrong)
