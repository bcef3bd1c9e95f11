"""Label values to indices of a class scheme."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.classes import ClassScheme

UNLABELLED = 255
"""Index of a pixel that is neither trained on nor scored, in what is kept as bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCodes:
    """What the values in labels mean."""

    classes: ClassScheme
    """Codes in channel order."""
    ignore: frozenset[int] = frozenset()
    """Values that are neither trained on nor scored."""
    remap: Mapping[int, int] = field(default_factory=dict)
    """Value -> code, for values that are no code themselves."""

    @property
    def table(self) -> dict[int, int]:
        """Value -> channel."""
        table = {code: i for i, code in enumerate(self.classes.codes)}
        remapped = {value: table[code] for value, code in self.remap.items()}
        return {v: i for v, i in (table | remapped).items() if v not in self.ignore}

    def unknown(self, values: Collection[int]) -> list[int]:
        """The values that are neither a class nor ignored."""
        return sorted(set(values) - set(self.table) - self.ignore)

    def for_masks(self, values: Collection[int]) -> LabelCodes:
        """255 read as 1 where the labels are plain masks of 0 and 255 and the classes are 0 and 1.

        Args:
            values: All values that occur in any label.
        """
        plain = 255 in values and set(values) - self.ignore <= {0, 255}
        if not plain or self.remap or set(self.classes.codes) != {0, 1}:
            return self
        return LabelCodes(classes=self.classes, ignore=self.ignore, remap={255: 1})

    def index(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Channel of each pixel (height, width), :data:`UNLABELLED` where there is none."""
        out = np.full(values.shape, UNLABELLED, np.uint8)
        for value, channel in self.table.items():
            out[values == value] = channel
        out[~valid] = UNLABELLED
        return out

    def count(self, values: Counter[int]) -> tuple[int, ...]:
        """Pixels a class (channel order) from pixels a value."""
        counts = [0] * len(self.classes)
        for value, channel in self.table.items():
            counts[channel] += values[value]
        return tuple(counts)


def count_values(values: NDArray[Any], valid: NDArray[np.bool_]) -> Counter[int]:
    """Pixels a value, among the valid ones."""
    kept = values[valid]
    if kept.dtype == np.uint8:
        counts = np.bincount(kept, minlength=1)
        return Counter({int(v): int(counts[v]) for v in np.flatnonzero(counts)})
    found, numbers = np.unique(kept, return_counts=True)
    return Counter({int(v): int(n) for v, n in zip(found, numbers, strict=True)})
