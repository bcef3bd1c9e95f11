"""What INT8 loses, against float32 and against labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.classes import ClassScheme
from geounet.metrics import Confusion, mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Counted tile by tile, on tiles that were not calibrated on."""

    classes: ClassScheme
    """Of the model."""
    against_float: Confusion = field(default_factory=Confusion)
    """INT8 by float32, over valid pixels."""
    float_by_label: Confusion = field(default_factory=Confusion)
    """float32 by label, over those that have one."""
    int8_by_label: Confusion = field(default_factory=Confusion)
    """INT8 by label, over the same."""

    def add(
        self, int8: NDArray[np.uint8], floating: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> None:
        """Count labels (height, width) of both, where valid."""
        self.against_float.add(int8, floating, valid)

    def add_labels(
        self,
        int8: NDArray[np.uint8],
        floating: NDArray[np.uint8],
        labels: NDArray[np.int32],
        known: NDArray[np.bool_],
    ) -> None:
        """Count both by label, where that is known and a class of the model."""
        known = known & np.isin(labels, self.classes.codes)
        self.int8_by_label.add(int8, labels, known)
        self.float_by_label.add(floating, labels, known)

    @property
    def agreement(self) -> float:
        """Share of labels that are those of float32."""
        return self.against_float.accuracy

    @property
    def has_labels(self) -> bool:
        """Whether any pixel had a label."""
        return self.int8_by_label.total > 0

    @property
    def value(self) -> float:
        """What counts: 0 to 1, the mean over classes of the IoU that each has lost.

        Against labels, of the classes that they hold; what a class has gained makes up for nothing.
        Without labels, 1 less the IoU of INT8 with float32. That is the most that can be lost on
        these tiles, whatever their labels: the Jaccard distance is a metric (Kosub 2019, "A note on
        the triangle inequality for the Jaccard distance"), so that the IoU of two maps with a third
        differ by no more than the distance between the two.
        """
        if not self.has_labels:
            return mean(1 - iou for iou in _ious(self.classes, self.against_float).values())
        before = _ious(self.classes, self.float_by_label)
        after = _ious(self.classes, self.int8_by_label)
        labelled = {t for _, t in self.float_by_label.counts}
        held = [c.name for c in self.classes if c.code in labelled]
        return mean(max(0.0, before[name] - after[name]) for name in held)

    def card(self) -> dict[str, Any]:
        """For the model card: plain values, NaN as None."""
        against = _ious(self.classes, self.against_float)
        told: dict[str, Any] = {
            "labels_as_in_float32": round(self.agreement, 6),
            "pixels": self.against_float.total,
            "iou_with_float32": _rounded(against),
            "mean_iou_with_float32": _plain(mean(against.values())),
        }
        if self.has_labels:
            told["labelled_pixels"] = self.int8_by_label.total
            told["iou_with_labels"] = {
                "float32": _rounded(_ious(self.classes, self.float_by_label)),
                "int8": _rounded(_ious(self.classes, self.int8_by_label)),
            }
        return told | {"loss": _plain(self.value)}


def _ious(classes: ClassScheme, counts: Confusion) -> dict[str, float]:
    return {c.name: counts.score(c.code).iou for c in classes}


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
