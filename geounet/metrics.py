"""Scores of a class map against labels, counted block by block.

Nothing here reads files: :mod:`geounet.evaluate` feeds it. Memory depends on a block and on the
number of codes, never on the raster.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError

NO_BOUNDARY = "no boundary in the labels, so no boundary F1"
"""What is said of a class that the labels hold and show no boundary of."""

_NONE = np.iinfo(np.int32).min  # marks a pixel that belongs to no boundary; no code is that low
_MOST_BINS = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """How well one class was found. A ratio without a denominator is NaN."""

    code: int
    """Code of the class in both rasters."""
    iou: float
    """Intersection over union; NaN: the class is in neither raster."""
    f1: float
    """Harmonic mean of precision and recall (Dice); NaN: in neither raster."""
    precision: float
    """Share of the predicted pixels that are right; NaN: never predicted."""
    recall: float
    """Share of the labelled pixels that were found; NaN: not in the labels."""
    labelled: int
    """Pixels of the class in the labels."""
    predicted: int
    """Pixels of the class in the prediction."""

    @property
    def absent(self) -> bool:
        """Whether the class is in neither raster."""
        return self.labelled == 0 and self.predicted == 0


@dataclass(slots=True)
class Confusion:
    """Counts of (predicted code, labelled code), added block by block.

    Law: any cut of a raster into blocks gives the same counts.
    """

    counts: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(predicted, labelled) -> pixels."""

    def add(
        self,
        predicted: NDArray[np.integer],
        labelled: NDArray[np.integer],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count one block.

        Args:
            predicted: Codes, any shape.
            labelled: Codes, the same shape.
            valid: True = count this pixel; None: count all.

        Raises:
            OptionError: The shapes differ.
        """
        _same_shape(predicted, labelled)
        if valid is not None:
            predicted, labelled = predicted[valid], labelled[valid]
        for p, t, n in _pairs(predicted.ravel(), labelled.ravel()):
            self.counts[p, t] += n

    @property
    def codes(self) -> tuple[int, ...]:
        """All codes counted in either raster, rising."""
        return tuple(sorted({code for pair in self.counts for code in pair}))

    @property
    def total(self) -> int:
        """Pixels counted."""
        return self.counts.total()

    @property
    def accuracy(self) -> float:
        """Overall accuracy: the share of pixels whose codes agree; NaN: nothing was counted."""
        return _ratio(sum(n for (p, t), n in self.counts.items() if p == t), self.total)

    def matrix(self, codes: Collection[int]) -> NDArray[np.int64]:
        """Counts (predicted, labelled) in the order of ``codes``."""
        return np.array([[self.counts[p, t] for t in codes] for p in codes], dtype=np.int64)

    def score(self, code: int) -> ClassScore:
        """The scores of one class."""
        hits = self.counts[code, code]
        predicted = sum(n for (p, _), n in self.counts.items() if p == code)
        labelled = sum(n for (_, t), n in self.counts.items() if t == code)
        return ClassScore(
            code=code,
            iou=_ratio(hits, predicted + labelled - hits),
            f1=_ratio(2 * hits, predicted + labelled),
            precision=_ratio(hits, predicted),
            recall=_ratio(hits, labelled),
            labelled=labelled,
            predicted=predicted,
        )

    def mean_iou(self, codes: Iterable[int] | None = None) -> float:
        """Mean IoU over the classes that are in at least one raster; NaN: there are none."""
        return mean(self.score(code).iou for code in (self.codes if codes is None else codes))


@dataclass(slots=True)
class BoundaryScore:
    """Boundary F1 of each class at a tolerance in pixels, added strip by strip.

    Csurka, Larlus & Perronnin 2013, "What is a good evaluation measure for semantic segmentation?":
    precision is the share of predicted boundary pixels that lie within the tolerance (Euclidean,
    between pixel centres) of a labelled boundary pixel of the same class, recall the reverse, and
    the score of a class their harmonic mean.

    A boundary pixel of a class is one that shares an edge with a valid pixel of another class. The
    raster's edge and the border of a hole without data are no boundaries. So labels may hold a
    class and show no boundary of it, as polygons do that touch no other class: what there is to be
    found is not known then, and there is no score. A boundary of a class that is not in the labels
    at all is wrong, as its pixels are.

    Law: strips of any height, each with :attr:`halo` more rows on both sides, give the counts of
    the whole raster.
    """

    tolerance: float = 2.0
    """Pixels, >= 0."""
    _found: Counter[tuple[str, int]] = field(default_factory=Counter)
    _total: Counter[tuple[str, int]] = field(default_factory=Counter)
    _labelled: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1000:
            raise OptionError(f"boundary tolerance {self.tolerance} must be 0 to 1000 pixels")

    @property
    def halo(self) -> int:
        """Rows of context that a strip needs above and below: the tolerance and a neighbour."""
        return math.floor(self.tolerance) + 1

    def add(
        self,
        predicted: NDArray[np.integer],
        labelled: NDArray[np.integer],
        valid: NDArray[np.bool_] | None = None,
        core: slice = slice(None),
    ) -> None:
        """Count the rows ``core`` of a strip.

        Args:
            predicted: Codes (rows, width): the core and its halo, less where the raster ends.
            labelled: Codes, the same shape.
            valid: True = valid in both rasters; None: all are.
            core: The rows to count.

        Raises:
            OptionError: The shapes differ.
        """
        _same_shape(predicted, labelled)
        valid = np.ones(predicted.shape, bool) if valid is None else valid
        ours, theirs = boundary(predicted, valid), boundary(labelled, valid)
        self._count("predicted", ours, theirs, core)
        self._count("labelled", theirs, ours, core)
        self._labelled.update(_numbers(labelled[core][valid[core]]))

    def counts(self, code: int) -> tuple[int, int, int, int, int]:
        """Boundary pixels of a class: predicted, of these within the tolerance; labelled, of these.

        And all labelled pixels of the class. Sums over parts of a set give the score of the set.
        """
        sides = ("predicted", "labelled")
        both = [(self._total[side, code], self._found[side, code]) for side in sides]
        return (*both[0], *both[1], self._labelled[code])

    def f1(self, code: int) -> float:
        """Boundary F1 of a class.

        NaN: it has no boundary in either raster, or is in the labels and has no boundary there.
        """
        predicted, found, labelled, met, pixels = self.counts(code)
        if not labelled and (pixels or not predicted):
            return math.nan
        if not (found and met):
            return 0.0
        precision, recall = found / predicted, met / labelled
        return 2 * precision * recall / (precision + recall)

    def _count(
        self, side: str, ours: NDArray[np.int32], theirs: NDArray[np.int32], core: slice
    ) -> None:
        start, stop, _ = core.indices(len(ours))
        rows, cols = np.nonzero(ours[start:stop] != _NONE)
        codes = ours[rows + start, cols]
        found = _within(codes, (rows + start, cols), theirs, self.tolerance)
        for tally, picked in ((self._total, codes), (self._found, codes[found])):
            for code, n in zip(*np.unique(picked, return_counts=True), strict=True):
                tally[side, int(code)] += int(n)


def boundary(codes: NDArray[np.integer], valid: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The code of each boundary pixel, and the lowest int32 elsewhere; shapes (height, width)."""
    edge = np.zeros(codes.shape, bool)
    for upper, lower in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        differ = (codes[upper] != codes[lower]) & valid[upper] & valid[lower]
        edge[upper] |= differ
        edge[lower] |= differ
    return np.where(edge, codes.astype(np.int32), np.int32(_NONE))


def mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN where there are none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _within(
    codes: NDArray[np.int32],
    places: tuple[NDArray[np.intp], NDArray[np.intp]],
    field_: NDArray[np.int32],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Which pixels have their own code in ``field_`` within the tolerance.

    Boundaries are sparse, so each of their pixels looks around itself, nearest first, until it is
    found; no distance transform of the raster for each class.
    """
    pad = math.floor(tolerance)
    around = np.pad(field_, pad, constant_values=_NONE)
    found = np.zeros(len(codes), bool)
    open_ = np.arange(len(codes))
    for dy, dx in _disc(tolerance):
        hit = around[places[0][open_] + dy + pad, places[1][open_] + dx + pad] == codes[open_]
        found[open_[hit]] = True
        open_ = open_[~hit]
    return found


def _disc(radius: float) -> list[tuple[int, int]]:
    reach = range(-math.floor(radius), math.floor(radius) + 1)
    inside = [(y, x) for y in reach for x in reach if y * y + x * x <= radius * radius]
    return sorted(inside, key=lambda offset: offset[0] ** 2 + offset[1] ** 2)


def _numbers(codes: NDArray[np.integer]) -> dict[int, int]:
    """Pixels of each code that occurs."""
    if codes.size == 0:
        return {}
    low = int(codes.min())
    if int(codes.max()) - low >= _MOST_BINS:
        found, number = np.unique(codes, return_counts=True)
        return dict(zip(found.tolist(), number.tolist(), strict=True))
    bins = np.bincount((codes.astype(np.int64) - low).ravel())
    return {int(k) + low: int(bins[k]) for k in np.flatnonzero(bins)}


def _pairs(
    predicted: NDArray[np.integer], labelled: NDArray[np.integer]
) -> Iterable[tuple[int, int, int]]:
    """Each pair of codes that occurs, with its number."""
    if predicted.size == 0:
        return []
    low_p, low_t = int(predicted.min()), int(labelled.min())
    span_p, span_t = int(predicted.max()) - low_p + 1, int(labelled.max()) - low_t + 1
    if span_p * span_t > _MOST_BINS:  # wild codes: sort instead of one bin a pair
        both, number = np.unique(
            np.stack([predicted.astype(np.int64), labelled.astype(np.int64)]),
            axis=1,
            return_counts=True,
        )
        return [(int(p), int(t), int(n)) for p, t, n in zip(*both, number, strict=True)]
    key = (predicted.astype(np.int64) - low_p) * span_t + (labelled.astype(np.int64) - low_t)
    bins = np.bincount(key)
    return [
        (int(k) // span_t + low_p, int(k) % span_t + low_t, int(bins[k]))
        for k in np.flatnonzero(bins)
    ]


def _same_shape(predicted: NDArray[np.integer], labelled: NDArray[np.integer]) -> None:
    if predicted.shape != labelled.shape:
        raise OptionError(
            f"predicted {predicted.shape} and labelled {labelled.shape} differ in shape"
        )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
