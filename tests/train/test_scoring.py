from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet.classes import ClassDef, ClassScheme
from geounet.errors import OptionError
from geounet.metrics import BoundaryScore, Confusion
from geounet.train.report.parts import class_table
from geounet.train.scoring import tally as tallies
from geounet.train.scoring.bootstrap import Resampled
from geounet.train.scoring.scores import grouped, score
from geounet.train.scoring.tally import Tally
from geounet.train.source import IGNORE, Chip

pytestmark = pytest.mark.train

SCHEME = ClassScheme(
    classes=tuple(
        ClassDef(code=10 * i, name=n, color="#12345" + str(i)) for i, n in enumerate("abc")
    )
)


class Listed:
    """A source of given chips."""

    bands = ("grey",)

    def __init__(self, chips, groups, classes=SCHEME):
        self._chips = {chip.name: chip for chip in chips}
        self.groups, self.classes = groups, classes

    def chips(self, names):
        for name in names:
            yield self._chips[name]


def random_chip(name, seed, classes=3, size=24):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (size // 4, size // 4))
    label = np.kron(coarse, np.ones((4, 4), np.int64))
    label[rng.random(label.shape) < 0.05] = IGNORE
    image = rng.normal(size=(1, size, size)).astype(np.float32)
    image[:, :3, :5] = np.nan
    return Chip(name=name, image=image, label=label)


def noisy(chip, classes=3, wrong=0.3):
    """Logits that mostly point to the label."""
    rng = np.random.default_rng(len(chip.name) + int(chip.label.sum()))
    logits = rng.normal(size=(classes, *chip.label.shape)).astype(np.float32)
    right = np.where(rng.random(chip.label.shape) < wrong, 0, np.maximum(chip.label, 0))
    return logits + 4 * (np.arange(classes)[:, None, None] == right)


def set_of(count, groups, classes=3):
    chips = [random_chip(str(i), i, classes) for i in range(count)]
    parts = [tuple(str(i) for i in range(count) if i % groups == g) for g in range(groups)]
    scheme = ClassScheme(classes=SCHEME.classes[:classes])
    return Listed(chips, parts, scheme), [chip.name for chip in chips]


def test_pooled_scores_are_those_of_all_pixels_at_once():
    source, names = set_of(6, 3)
    scores = score(noisy, source, names, draws=0)
    counts, edges = Confusion(), BoundaryScore(tolerance=2)
    for chip in source.chips(names):
        predicted = noisy(chip).argmax(0)
        counts.add(predicted, chip.label, chip.scored)
        edges.add(predicted, chip.label, chip.scored)
    for index, entry in enumerate(scores.classes):
        expected = counts.score(index)
        assert entry.code == 10 * index
        assert (entry.labelled, entry.predicted) == (expected.labelled, expected.predicted)
        for name in ("iou", "f1", "precision", "recall"):
            assert getattr(entry, name).value == pytest.approx(getattr(expected, name))
        assert entry.boundary_f1[1].value == pytest.approx(edges.f1(index))
    assert scores.mean_iou.value == pytest.approx(counts.mean_iou(range(3)))
    assert scores.accuracy.value == pytest.approx(counts.accuracy)
    assert scores.confusion == tuple(map(tuple, counts.matrix(range(3)).tolist()))
    assert scores.pixels == counts.total
    assert scores.pixels + scores.ignored == 6 * 24 * 24
    assert scores.auc is None
    assert 0.3 < scores.mean_iou.value < 0.9  # neither all right nor all wrong


def test_each_group_has_its_own_scores():
    source, names = set_of(6, 3)
    scores = score(noisy, source, names, draws=0)
    assert [group.chips for group in scores.groups] == [("0", "3"), ("1", "4"), ("2", "5")]
    alone = score(noisy, source, ["1", "4"], draws=0)
    assert scores.groups[1].mean_iou == pytest.approx(alone.mean_iou.value)
    assert scores.groups[1].accuracy == pytest.approx(alone.accuracy.value)
    assert sum(group.pixels for group in scores.groups) == scores.pixels


@given(seed=st.integers(0, 10_000), count=st.integers(2, 60), shift=st.floats(-3, 3))
def test_the_area_under_the_curve_is_the_share_of_right_pairs(seed, count, shift):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, (1, count))
    margin = (rng.normal(0, 4, (1, count)) + shift * label).astype(np.float32)
    counts = Tally(classes=2)
    chip = Chip(name="x", image=np.zeros((1, 1, count), np.float32), label=label)
    counts.add(np.stack([np.zeros_like(margin), margin]), chip)
    ours, others = margin[label == 1], margin[label == 0]
    found = float(tallies.auc(counts.histogram.astype(float)))
    if not (len(ours) and len(others)):
        assert math.isnan(found)
        return
    expected = np.mean(ours[:, None] > others[None])
    assert found == pytest.approx(expected, abs=0.5 * same_bin(ours, others) + 1e-9)


def same_bin(ours, others):
    """Share of pairs that lie so near each other that they may share a bin."""
    gap = np.abs(ours[:, None] - others[None])
    widest = (np.abs(ours[:, None]) + 5) ** 2 / 4 / tallies.BINS * 2.5
    return float(np.mean(gap <= widest))


def test_two_classes_have_an_area_under_the_curve_with_its_interval():
    source, names = set_of(8, 8, classes=2)
    scores = score(lambda chip: noisy(chip, 2), source, names)
    assert scores.auc is not None
    assert 0.6 < scores.auc.low < scores.auc.value < scores.auc.high < 1
    every = [(noisy(c, 2), c) for c in source.chips(names)]
    margin = np.concatenate([(x[1] - x[0])[c.scored] for x, c in every])
    label = np.concatenate([c.label[c.scored] for _, c in every])
    ranks = margin.argsort().argsort()[label == 1] + 1
    positive, negative = (label == 1).sum(), (label == 0).sum()
    exact = (ranks.sum() - positive * (positive + 1) / 2) / positive / negative
    assert scores.auc.value == pytest.approx(exact, abs=2e-4)


def test_an_interval_is_as_wide_as_the_groups_differ():
    """Groups are the units: the interval is that of a mean of 40 groups, not of 4000 pixels."""
    rng = np.random.default_rng(0)
    groups = []
    for right in rng.integers(20, 100, 40):
        counts = Tally(classes=2)
        counts.confusion[:] = [[right, 0], [100 - right, 0]]
        groups.append(counts)
    again = Resampled(groups=groups, draws=2000)
    estimate = again.estimate(lambda t: t.confusion, tallies.accuracy)
    shares = np.array([t.confusion[0, 0] / 100 for t in groups])
    assert estimate.value == pytest.approx(shares.mean())
    half = 1.96 * shares.std() / math.sqrt(len(shares))
    assert estimate.low == pytest.approx(shares.mean() - half, abs=0.006)
    assert estimate.high == pytest.approx(shares.mean() + half, abs=0.006)


def test_the_same_seed_gives_the_same_interval():
    source, names = set_of(6, 6)
    one, two = (score(noisy, source, names, seed=3) for _ in range(2))
    assert one == two
    assert score(noisy, source, names, seed=4).mean_iou.low != one.mean_iou.low


def test_a_single_group_has_no_interval():
    source, names = set_of(3, 1)
    scores = score(noisy, source, names)
    assert math.isnan(scores.mean_iou.low)
    assert "to" not in str(scores.mean_iou)
    assert scores.as_dict()["mean_iou"][1:] == [None, None]


def test_a_class_that_is_nowhere_is_nan_and_not_in_the_means():
    label = np.zeros((8, 8), np.int64)
    label[:, 4:] = 1
    chips = [Chip(name=n, image=np.ones((1, 8, 8), np.float32), label=label) for n in "xy"]
    source = Listed(chips, [("x",), ("y",)])
    perfect = score(lambda c: np.eye(3, dtype=np.float32)[c.label].transpose(2, 0, 1), source, "xy")
    assert perfect.mean_iou.value == perfect.mean_iou.low == perfect.mean_iou.high == 1
    absent = perfect.classes[2]
    assert math.isnan(absent.iou.value)
    assert math.isnan(absent.iou.low)
    assert math.isnan(absent.boundary_f1[0].value)
    told = json.loads(perfect.to_json())
    assert told["classes"][2]["iou"] == [None, None, None]
    assert told["classes"][1]["boundary_f1"] == {f"{t} px": [1.0, 1.0, 1.0] for t in (1, 2, 3)}


def test_labels_without_a_boundary_give_no_boundary_score():
    """Polygons that touch nothing, and a prediction with boundaries inside of them."""
    label = np.full((12, 12), IGNORE, np.int64)
    label[1:5, 1:5], label[7:11, 7:11] = 0, 1
    predicted = label.copy()
    predicted[2, 2] = 1
    chips = [Chip(name=n, image=np.ones((1, 12, 12), np.float32), label=label) for n in "xy"]
    source = Listed(chips, [("x",), ("y",)], ClassScheme(classes=SCHEME.classes[:2]))
    logits = np.eye(2, dtype=np.float32)[predicted].transpose(2, 0, 1)
    scores = score(lambda _: logits, source, "xy")
    assert scores.classes[0].iou.value == 15 / 16
    edges = [*scores.mean_boundary_f1, *(e for c in scores.classes for e in c.boundary_f1)]
    assert all(math.isnan(v) for e in edges for v in (e.value, e.low, e.high))
    assert scores.without_boundary == ("a", "b")
    told = json.loads(scores.to_json())
    assert told["mean_boundary_f1"]["2 px"] == [None, None, None]
    row = scores.table().splitlines()[1].split()
    assert row[:2] == ["0", "a"]
    assert row[-3:] == ["-", "-", "-"]
    assert "no boundary in the labels, so no boundary F1: a, b\n" in scores.table()
    page = class_table(scores, source.classes)
    assert "No boundary in the labels, so no boundary F1: a, b." in page
    assert page.count("<td>&ndash;</td>") == 9


def test_the_table_names_classes_and_says_what_the_brackets_are():
    source, names = set_of(6, 3)
    table = score(noisy, source, names).table()
    assert "10 b" in table
    assert "95 % confidence interval over groups" in table
    assert "6 chips in 3 groups" in table


def test_groups_are_kept_and_strangers_stand_alone():
    groups = [("a", "b"), ("c",), ("d", "e")]
    assert grouped(groups, ["e", "b", "a", "z"]) == (("a", "b"), ("e",), ("z",))
    with pytest.raises(OptionError, match="no chips to score"):
        grouped(groups, [])


def test_logits_of_another_shape_are_refused():
    source, names = set_of(1, 1)
    with pytest.raises(OptionError, match=r"0: logits \(2, 24, 24\) .* 3 classes"):
        score(lambda c: noisy(c, 2), source, names)
