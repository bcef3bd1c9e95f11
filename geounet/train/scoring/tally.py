"""Counts from which every score follows; the counts of a set are the sum of those of its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError
from geounet.metrics import BoundaryScore, Confusion
from geounet.train.source import Chip

TOLERANCES = (1, 2, 3)
"""Of the boundary F1, in pixels."""

BINS = 2048
"""Of the histogram behind the AUC: 32 KiB a group, and the fourth digit is right."""

_FINE = 4.0  # logits around 0 get the narrow bins, and none is too large for the last one

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Tally:
    """Counts over some chips.

    Law: ``Tally`` of all chips equals the sum of the tallies of any parts.
    """

    classes: int
    """Number of classes."""
    confusion: NDArray[np.int64] = field(init=False)
    """(classes, classes): pixels by (predicted, labelled)."""
    edges: NDArray[np.int64] = field(init=False)
    """(tolerances, classes, 5): boundary pixels predicted, found, labelled, found; and all labelled
    pixels of the class."""
    histogram: NDArray[np.int64] = field(init=False)
    """(2, bins): pixels of class 0 and of class 1 by rising margin; no bins unless two classes."""
    ignored: int = field(init=False, default=0)
    """Pixels without label or data."""

    def __post_init__(self) -> None:
        self.confusion = np.zeros((self.classes, self.classes), np.int64)
        self.edges = np.zeros((len(TOLERANCES), self.classes, 5), np.int64)
        self.histogram = np.zeros((2, BINS if self.classes == 2 else 0), np.int64)

    def add(self, logits: NDArray[np.float32], chip: Chip) -> NDArray[np.int64]:
        """Count one chip.

        Args:
            logits: (classes, height, width), finite where the chip is valid.
            chip: With its label.

        Returns:
            (height, width), the class index with the largest logit.

        Raises:
            OptionError: The shape of the logits is another.
        """
        if logits.shape != (self.classes, *chip.label.shape):
            raise OptionError(
                f"{chip.name}: logits {logits.shape} for a label {chip.label.shape} and"
                f" {self.classes} classes: they must be (classes, height, width)"
            )
        predicted, scored = np.asarray(logits.argmax(axis=0), np.int64), chip.scored
        counts = Confusion()
        counts.add(predicted, chip.label, scored)
        self.confusion += counts.matrix(range(self.classes))
        self.ignored += scored.size - counts.total
        self._add_edges(predicted, chip.label, scored)
        if self.classes == 2:
            self._add_margin((logits[1] - logits[0])[scored], chip.label[scored])
        return predicted

    def _add_edges(
        self, predicted: NDArray[np.int64], label: NDArray[np.int64], scored: NDArray[np.bool_]
    ) -> None:
        for i, tolerance in enumerate(TOLERANCES):
            edges = BoundaryScore(tolerance=tolerance)
            edges.add(predicted, label, scored)
            self.edges[i] += [edges.counts(index) for index in range(self.classes)]

    def _add_margin(self, margin: NDArray[np.float32], label: NDArray[np.int64]) -> None:
        place = (1 + margin / (np.abs(margin) + _FINE)) / 2  # rises with the margin, 0..1
        bins = np.minimum((place * BINS).astype(np.int64), BINS - 1)
        for index in (0, 1):
            self.histogram[index] += np.bincount(bins[label == index], minlength=BINS)


def iou(confusion: Floats) -> Floats:
    """Intersection over union (..., classes) of counts (..., predicted, labelled)."""
    hits, predicted, labelled = _sums(confusion)
    return ratio(hits, predicted + labelled - hits)


def f1(confusion: Floats) -> Floats:
    """F1, which is Dice (..., classes)."""
    hits, predicted, labelled = _sums(confusion)
    return ratio(2 * hits, predicted + labelled)


def precision(confusion: Floats) -> Floats:
    """Share of the predicted pixels that are right (..., classes)."""
    hits, predicted, _ = _sums(confusion)
    return ratio(hits, predicted)


def recall(confusion: Floats) -> Floats:
    """Share of the labelled pixels that were found (..., classes)."""
    hits, _, labelled = _sums(confusion)
    return ratio(hits, labelled)


def accuracy(confusion: Floats) -> Floats:
    """Share of the pixels that are right (...)."""
    return ratio(_sums(confusion)[0].sum(axis=-1), confusion.sum(axis=(-2, -1)))


def boundary_f1(edges: Floats) -> Floats:
    """Boundary F1 (..., tolerances, classes) of counts (..., tolerances, classes, 5).

    As in :class:`geounet.metrics.BoundaryScore`: NaN without a boundary on either side, and where
    labels hold the class and show no boundary of it; else 0 without one on one side.
    """
    predicted, found, labelled, met, pixels = np.moveaxis(edges, -1, 0)
    exact, whole = (np.nan_to_num(ratio(*pair)) for pair in ((found, predicted), (met, labelled)))
    score = np.nan_to_num(ratio(2 * exact * whole, exact + whole))
    unknown = (labelled == 0) & ((pixels > 0) | (predicted == 0))
    return np.where(unknown, np.nan, score)


def auc(histogram: Floats) -> Floats:
    """Area under the ROC curve (...) of counts (..., 2, bins); pairs within a bin count half.

    NaN where one of the classes has no pixel, or there are no bins.
    """
    negative, positive = histogram[..., 0, :], histogram[..., 1, :]
    below = negative.cumsum(axis=-1) - negative / 2
    pairs = negative.sum(axis=-1) * positive.sum(axis=-1)
    return ratio((positive * below).sum(axis=-1), pairs)


def over_classes(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def ratio(part: Floats, whole: Floats) -> Floats:
    """``part / whole``, NaN where the whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    out: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0)
    return out


def _sums(confusion: Floats) -> tuple[Floats, Floats, Floats]:
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return hits, confusion.sum(axis=-1), confusion.sum(axis=-2)
