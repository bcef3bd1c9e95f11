from __future__ import annotations

import numpy as np
import pytest

from geounet.train.scoring.gallery import Gallery, agreement, colours, windows
from geounet.train.source import IGNORE, Chip

pytestmark = pytest.mark.train


def chip_with(name, wrong, size=64, classes=2):
    """A chip of half and half, and a prediction of which ``wrong`` rows are turned around."""
    label = np.zeros((size, size), np.int64)
    label[:, size // 2 :] = classes - 1
    image = np.random.default_rng(0).normal(size=(1, size, size)).astype(np.float32)
    predicted = label.copy()
    predicted[:wrong] = classes - 1 - predicted[:wrong]
    return Chip(name=name, image=image, label=label), predicted


def shown(*wrong):
    gallery = Gallery(bands=("grey",), count=2, size=64)
    for i, rows in enumerate(wrong):
        gallery(*chip_with(str(i), rows))
    return gallery


def test_best_and_worst_patches_come_in_order():
    gallery = shown(3, 40, 0, 10, 20, 1)
    assert [p.chip for p in gallery.worst] == ["1", "4"]
    assert [p.chip for p in gallery.best] == ["2", "5"]
    assert gallery.worst[0].score < gallery.worst[1].score < gallery.best[1].score < 1
    assert gallery.best[0].score == 1
    assert gallery.worst[0].wrong == pytest.approx(40 / 64)


def test_no_patch_is_best_and_worst():
    for count in range(1, 6):
        gallery = shown(*range(0, 2 * count, 2))
        both = [p.chip for p in (*gallery.best, *gallery.worst)]
        assert len(set(both)) == len(both) == min(4, count)


def test_a_patch_of_one_class_is_not_among_the_best_of_enough():
    gallery = shown(3, 4, 5, 6)
    calm = Chip(name="calm", image=np.ones((1, 64, 64), np.float32), label=np.zeros((64, 64), int))
    gallery(calm, calm.label)
    assert [p.chip for p in gallery.best] == ["0", "1"]
    lonely = Gallery(bands=("grey",), count=2)
    lonely(calm, calm.label)
    assert [p.chip for p in (*lonely.best, *lonely.worst)] == ["calm"]


def test_a_patch_without_labels_is_not_shown():
    gallery = Gallery(bands=("grey",))
    chip, predicted = chip_with("a", 3)
    gallery(Chip(name="b", image=chip.image, label=np.full_like(chip.label, IGNORE)), predicted)
    assert gallery.best == gallery.worst == ()


def test_large_chips_are_cut_into_parts_that_cover_them():
    hits = np.zeros((584, 565), int)
    cut = list(windows(hits.shape, 256))
    for window in cut:
        hits[window.slices] += 1
    assert (hits == 1).all()
    assert {w.height for w in cut} == {292}
    assert len(list(windows((128, 100), 256))) == 1


def test_a_sliver_of_a_class_does_not_make_a_patch_bad():
    label = np.zeros((50, 50), np.int16)
    predicted = label.copy()
    predicted[0, :5] = 1
    assert agreement(predicted, label) > 0.99
    predicted[:2] = 1
    assert agreement(predicted, label) < 0.5
    label[:] = IGNORE
    label[10:, 10:] = 0
    assert agreement(predicted, label) == 1


@pytest.mark.parametrize(
    ("bands", "first"),
    [(("blue", "green", "red"), 2), (("grey",), 0), (("b1", "b2", "b3", "b4"), 0), (("x", "y"), 0)],
)
def test_colours_show_the_bands_that_look_natural(bands, first):
    image = np.zeros((len(bands), 20, 20), np.float32)
    image[first, :, 10:] = 100
    image[:, 0, 0] = np.nan
    rgb = colours(Chip(name="x", image=image, label=np.zeros((20, 20), int)), bands)
    assert rgb.shape == (20, 20, 3)
    assert rgb[5, 15, 0] == 255
    assert rgb[5, 5, 0] == 0
    assert (rgb[0, 0] == 128).all()
