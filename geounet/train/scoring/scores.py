"""Scores of a predictor over a set of chips, each with its confidence interval by group."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.classes import ClassScheme
from geounet.errors import OptionError
from geounet.metrics import NO_BOUNDARY
from geounet.train.scoring import tally
from geounet.train.scoring.bootstrap import Estimate, Resampled
from geounet.train.scoring.tally import TOLERANCES, Tally
from geounet.train.source import Chip, Source

Predict = Callable[[Chip], NDArray[np.float32]]
"""Logits (classes, height, width) of a chip: their softmax is the probability. Finite."""

Watch = Callable[[Chip, NDArray[np.int64]], None]
"""Sees each chip with its prediction, class indices (height, width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """How well one class was found."""

    code: int
    """Its code."""
    name: str
    """Its name."""
    iou: Estimate
    """Intersection over union."""
    f1: Estimate
    """F1, which is Dice."""
    precision: Estimate
    """Share of the predicted pixels that are right."""
    recall: Estimate
    """Share of the labelled pixels that were found."""
    boundary_f1: tuple[Estimate, ...]
    """Boundary F1 at 1, 2 and 3 pixels; NaN: the labels show no boundary of the class."""
    labelled: int
    """Pixels of the class in the labels."""
    predicted: int
    """Pixels of the class in the prediction."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "code": self.code,
            "name": self.name,
            "iou": self.iou.as_list(),
            "f1": self.f1.as_list(),
            "precision": self.precision.as_list(),
            "recall": self.recall.as_list(),
            "boundary_f1": _by_tolerance(self.boundary_f1),
            "label_pixels": self.labelled,
            "pred_pixels": self.predicted,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupScore:
    """The scores of one group alone."""

    chips: tuple[str, ...]
    """Its chips that were scored."""
    pixels: int
    """Pixels scored."""
    iou: tuple[float, ...]
    """Of each class; NaN: it is neither labelled nor predicted here."""
    accuracy: float
    """Share of the pixels that are right; NaN: none is scored."""

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that are here."""
        return float(tally.over_classes(np.array(self.iou)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SetScores:
    """Scores over a set of chips: all pixels pooled, intervals by drawing groups again."""

    classes: tuple[ClassScores, ...]
    """In channel order."""
    mean_iou: Estimate
    """Mean IoU over the classes that are labelled or predicted."""
    mean_f1: Estimate
    """Mean F1 over the same."""
    accuracy: Estimate
    """Share of the pixels that are right."""
    mean_boundary_f1: tuple[Estimate, ...]
    """Mean over the classes that have one, at 1, 2 and 3 pixels."""
    auc: Estimate | None
    """Area under the ROC curve of the second of two classes; None for more classes."""
    confusion: tuple[tuple[int, ...], ...]
    """Pixels by (predicted, labelled), in channel order."""
    groups: tuple[GroupScore, ...]
    """Each group alone."""
    ignored: int
    """Pixels without label or data, which do not count."""

    @property
    def pixels(self) -> int:
        """Pixels scored."""
        return sum(map(sum, self.confusion))

    @property
    def chips(self) -> int:
        """Chips scored."""
        return sum(len(group.chips) for group in self.groups)

    @property
    def without_boundary(self) -> tuple[str, ...]:
        """Names of the classes that the labels hold and show no boundary of."""
        known = [c for c in self.classes if c.labelled]
        return tuple(c.name for c in known if math.isnan(c.boundary_f1[0].value))

    def as_dict(self) -> dict[str, Any]:
        """Plain values; an estimate is [value, low, high], what cannot be computed is None."""
        return {
            "chips": self.chips,
            "groups": len(self.groups),
            "pixels": self.pixels,
            "ignored_pixels": self.ignored,
            "mean_iou": self.mean_iou.as_list(),
            "mean_f1": self.mean_f1.as_list(),
            "accuracy": self.accuracy.as_list(),
            "mean_boundary_f1": _by_tolerance(self.mean_boundary_f1),
            "auc": None if self.auc is None else self.auc.as_list(),
            "classes": [entry.as_dict() for entry in self.classes],
            "confusion_pred_by_label": [list(row) for row in self.confusion],
        }

    def to_json(self) -> str:
        """One line of JSON of :meth:`as_dict`."""
        return json.dumps(self.as_dict())

    def table(self) -> str:
        """The scores as text for people."""
        edges = [f"boundary F1 {t} px" for t in TOLERANCES]
        rows = [("class", "IoU", "F1", "precision", "recall", *edges)]
        for c in self.classes:
            values = (c.iou, c.f1, c.precision, c.recall, *c.boundary_f1)
            rows.append((f"{c.code} {c.name}", *map(str, values)))
        means = (str(self.mean_iou), str(self.mean_f1), "", "", *map(str, self.mean_boundary_f1))
        rows.append(("mean", *means))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, "", self._foot()])

    def _foot(self) -> str:
        area = "" if self.auc is None else f", AUC {self.auc}"
        unseen = f"{NO_BOUNDARY}: {', '.join(self.without_boundary)}\n"
        return (
            f"accuracy {self.accuracy}{area}\n{unseen if self.without_boundary else ''}"
            f"{self.pixels:,} pixels of {self.chips} chips in"
            f" {len(self.groups)} groups, {self.ignored:,} ignored; in brackets the 95 % confidence"
            " interval over groups"
        )


def score(
    predict: Predict,
    source: Source,
    names: Sequence[str],
    *,
    watch: Watch = lambda _chip, _predicted: None,
    draws: int = 1000,
    seed: int = 0,
) -> SetScores:
    """Score a predictor on these chips of a source, in bounded memory.

    Args:
        predict: Gives the logits of a chip.
        source: Where chips, classes and groups come from.
        names: Chips to score.
        watch: Called with each chip and its prediction, for pictures or progress.
        draws: Resampled sets behind the confidence intervals; 0: no intervals.
        seed: Of the resampling.

    Raises:
        OptionError: No chip, or logits of another shape than the label.
    """
    parts = grouped(source.groups, names)
    tallies = []
    for part in parts:
        counts = Tally(classes=len(source.classes))
        for chip in source.chips(part):
            watch(chip, counts.add(predict(chip), chip))
        tallies.append(counts)
    return summarise(source.classes, parts, tallies, draws=draws, seed=seed)


def grouped(groups: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The names by group, in the order of the groups; one that is in no group is one by itself.

    Raises:
        OptionError: There are no names.
    """
    if not names:
        raise OptionError("no chips to score: name at least one")
    wanted, known = set(names), {name for group in groups for name in group}
    parts = [tuple(name for name in group if name in wanted) for group in groups]
    alone = [(name,) for name in dict.fromkeys(names) if name not in known]
    return tuple(part for part in (*parts, *alone) if part)


def summarise(
    scheme: ClassScheme,
    parts: Sequence[tuple[str, ...]],
    tallies: Sequence[Tally],
    *,
    draws: int,
    seed: int,
) -> SetScores:
    """The scores that follow from the counts of each group."""
    again = Resampled(groups=tallies, draws=draws, seed=seed)
    pixels = sum(counts.confusion for counts in tallies)
    return SetScores(
        classes=tuple(_classes(scheme, again, np.asarray(pixels))),
        mean_iou=again.estimate(_confusion, lambda c: tally.over_classes(tally.iou(c))),
        mean_f1=again.estimate(_confusion, lambda c: tally.over_classes(tally.f1(c))),
        accuracy=again.estimate(_confusion, tally.accuracy),
        mean_boundary_f1=tuple(
            again.estimate(_edges, lambda e: tally.over_classes(tally.boundary_f1(e)))
        ),
        auc=again.estimate(lambda t: t.histogram, tally.auc) if len(scheme) == 2 else None,
        confusion=tuple(map(tuple, np.asarray(pixels).tolist())),
        groups=tuple(map(_group, parts, tallies)),
        ignored=sum(counts.ignored for counts in tallies),
    )


def _classes(
    scheme: ClassScheme, again: Resampled, pixels: NDArray[np.int64]
) -> Iterator[ClassScores]:
    scores = (tally.iou, tally.f1, tally.precision, tally.recall)
    ious, f1s, precisions, recalls = (again.estimate(_confusion, s) for s in scores)
    edges = again.estimate(_edges, tally.boundary_f1)
    for i, entry in enumerate(scheme):
        yield ClassScores(
            code=entry.code,
            name=entry.name,
            iou=ious[i],
            f1=f1s[i],
            precision=precisions[i],
            recall=recalls[i],
            boundary_f1=tuple(at[i] for at in edges),
            labelled=int(pixels[:, i].sum()),
            predicted=int(pixels[i].sum()),
        )


def _group(chips: tuple[str, ...], counts: Tally) -> GroupScore:
    confusion = counts.confusion.astype(np.float64)
    return GroupScore(
        chips=chips,
        pixels=int(counts.confusion.sum()),
        iou=tuple(tally.iou(confusion).tolist()),
        accuracy=float(tally.accuracy(confusion)),
    )


def _confusion(counts: Tally) -> NDArray[Any]:
    return counts.confusion


def _edges(counts: Tally) -> NDArray[Any]:
    return counts.edges


def _by_tolerance(values: Sequence[Estimate]) -> dict[str, list[float | None]]:
    return {f"{t} px": value.as_list() for t, value in zip(TOLERANCES, values, strict=True)}
