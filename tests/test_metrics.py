"""Scores: against tables worked out by hand, brute force, and the law that cuts do not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geounet.errors import OptionError
from geounet.metrics import BoundaryScore, Confusion, boundary, mean

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14)


@st.composite
def maps(draw, codes=(0, 1, 2)):
    """A prediction, labels and a valid mask of one shape."""
    shape = draw(SHAPES)
    code = st.sampled_from(codes)
    two = [draw(hnp.arrays(np.int32, shape, elements=code)) for _ in range(2)]
    if min(codes) >= 0:  # as they come from files
        two[0] = two[0].astype(draw(st.sampled_from([np.uint8, np.uint16, np.int32])))
    return *two, draw(hnp.arrays(bool, shape))


def test_hand_worked_table():
    """Eight pixels: 3 + 2 right, one 0 taken for 1, one 1 for 0, one 2 for 0."""
    predicted = np.array([0, 0, 0, 1, 1, 1, 0, 0])
    labelled = np.array([0, 0, 0, 1, 1, 0, 1, 2])
    counts = Confusion()
    counts.add(predicted, labelled)
    zero, one, two = (counts.score(code) for code in (0, 1, 2))
    assert (zero.iou, zero.precision, zero.recall) == (3 / 6, 3 / 5, 3 / 4)
    assert zero.f1 == pytest.approx(2 / 3)
    assert (one.iou, one.f1, one.precision, one.recall) == (0.5, 2 / 3, 2 / 3, 2 / 3)
    assert (two.iou, two.f1, two.recall) == (0, 0, 0)
    assert math.isnan(two.precision)
    assert counts.accuracy == 5 / 8
    assert counts.mean_iou() == pytest.approx(1 / 3)
    assert counts.codes == (0, 1, 2)
    np.testing.assert_array_equal(counts.matrix((0, 1, 2)), [[3, 1, 1], [1, 2, 0], [0, 0, 0]])


def test_class_in_neither_raster_is_nan_and_left_out_of_the_mean():
    counts = Confusion()
    counts.add(np.array([1, 1, 2]), np.array([1, 2, 2]))
    gone = counts.score(7)
    assert gone.absent
    assert all(map(math.isnan, (gone.iou, gone.f1, gone.precision, gone.recall)))
    assert counts.mean_iou((1, 2, 7)) == 0.5


def test_nothing_counted_is_nan():
    counts = Confusion()
    counts.add(np.array([1]), np.array([1]), np.array([False]))
    assert counts.total == 0
    assert math.isnan(counts.accuracy)
    assert math.isnan(counts.mean_iou())


@given(maps(codes=(-1, 0, 3, 255)), st.integers(1, 5))
def test_confusion_law_any_cut_gives_the_same_counts(case, rows):
    predicted, labelled, valid = case
    whole, cut = Confusion(), Confusion()
    whole.add(predicted, labelled, valid)
    for start in range(0, len(predicted), rows):
        part = slice(start, start + rows)
        cut.add(predicted[part], labelled[part], valid[part])
    assert whole.counts == cut.counts
    for code in whole.codes:  # brute force, one class at a time
        p, t = (predicted == code) & valid, (labelled == code) & valid
        assert whole.score(code).iou == (p & t).sum() / (p | t).sum()


def test_codes_far_apart_do_not_need_a_bin_each():
    counts = Confusion()
    counts.add(np.array([-2_000_000_000, 5, 5]), np.array([2_000_000_000, 5, -7]))
    assert counts.counts == {(-2_000_000_000, 2_000_000_000): 1, (5, 5): 1, (5, -7): 1}


def test_wide_codes_of_small_types_do_not_overflow():
    counts = Confusion()
    counts.add(np.array([0, 255], np.uint8), np.array([-128, 127], np.int8))
    assert counts.counts == {(0, -128): 1, (255, 127): 1}


def brute_boundary_f1(predicted, labelled, valid, code, tolerance):
    """The definition, pixel by pixel."""

    def edge(codes):
        height, width = codes.shape
        out = []
        for y, x in zip(*np.nonzero((codes == code) & valid), strict=True):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= v < height and 0 <= u < width
                if inside and valid[v, u] and codes[v, u] != code:
                    out.append((y, x))
                    break
        return out

    def share(some, others):
        near = [any(math.dist(a, b) <= tolerance for b in others) for a in some]
        return sum(near) / len(near) if near else 0.0

    ours, theirs = edge(predicted), edge(labelled)
    if not theirs and (not ours or ((labelled == code) & valid).any()):
        return math.nan
    precision, recall = share(ours, theirs), share(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(maps(), st.sampled_from([0, 1, 1.5, 2, 3]))
def test_boundary_f1_is_its_definition(case, tolerance):
    predicted, labelled, valid = case
    score = BoundaryScore(tolerance=tolerance)
    score.add(predicted, labelled, valid)
    for code in (0, 1, 2):
        expected = brute_boundary_f1(predicted, labelled, valid, code, tolerance)
        assert score.f1(code) == pytest.approx(expected, nan_ok=True)


@given(maps(), st.sampled_from([0, 1, 2, 2.9, 4]), st.integers(1, 6))
def test_boundary_law_strips_give_the_counts_of_the_whole(case, tolerance, rows):
    predicted, labelled, valid = case
    whole, cut = BoundaryScore(tolerance=tolerance), BoundaryScore(tolerance=tolerance)
    whole.add(predicted, labelled, valid)
    for start in range(0, len(predicted), rows):
        top = max(0, start - cut.halo)
        part = slice(top, start + rows + cut.halo)
        core = slice(start - top, start - top + rows)
        cut.add(predicted[part], labelled[part], valid[part], core)
    assert cut == whole


def test_boundary_shifted_within_and_beyond_the_tolerance():
    labelled = np.zeros((20, 20), int)
    labelled[:, 10:] = 1
    for shift, expected in ((0, 1), (2, 1), (3, 0)):
        predicted = np.zeros_like(labelled)
        predicted[:, 10 + shift :] = 1
        score = BoundaryScore(tolerance=2)
        score.add(predicted, labelled)
        assert score.f1(0) == score.f1(1) == expected


def test_polygons_that_touch_nothing_have_no_boundary_to_be_found():
    """The labels hold both classes and show no boundary: the prediction cannot be scored by one."""
    labelled = np.full((12, 12), -1)
    labelled[1:5, 1:5], labelled[7:11, 7:11] = 0, 1
    holes = labelled.copy()
    holes[2, 2] = 1
    for predicted in (labelled, holes):
        score = BoundaryScore()
        score.add(predicted, labelled, labelled != -1)
        assert score.counts(0)[2:] == (0, 0, 16)
        assert math.isnan(score.f1(0))
        assert math.isnan(score.f1(1))


def test_a_class_on_one_side_only_scores_nothing():
    """A boundary that was missed, and one of a class that is not in the labels."""
    labelled = np.zeros((12, 12), int)
    labelled[4:8, 4:8] = 1
    predicted = np.zeros_like(labelled)
    predicted[0, 0] = 2
    score = BoundaryScore(tolerance=1)
    score.add(predicted, labelled)
    assert score.f1(1) == 0  # labelled, not predicted
    assert score.f1(2) == 0  # predicted, not labelled


def test_edge_of_the_raster_and_of_a_hole_are_no_boundaries():
    codes = np.ones((6, 6), int)
    codes[3, 3] = 9
    valid = codes == 1
    assert (boundary(codes, valid) == np.iinfo(np.int32).min).all()


def test_mean_leaves_nan_out():
    assert mean([1.0, math.nan, 0.0]) == 0.5
    assert math.isnan(mean([math.nan]))


@pytest.mark.parametrize("tolerance", [-1, math.nan, math.inf])
def test_tolerance_must_make_sense(tolerance):
    with pytest.raises(OptionError, match="boundary tolerance"):
        BoundaryScore(tolerance=tolerance)


@pytest.mark.parametrize("score", [Confusion, BoundaryScore])
def test_shapes_must_agree(score):
    with pytest.raises(OptionError, match=r"\(2, 2\) and labelled \(2, 3\)"):
        score().add(np.zeros((2, 2), int), np.zeros((2, 3), int))
