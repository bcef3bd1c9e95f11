"""How far a score would move with other places: the bootstrap over groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.train.scoring.tally import Floats, Tally

LEVEL = 0.95
"""Of the intervals."""

_CHUNK = 8 << 20  # bytes of resampled counts at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A score and its 95 % confidence interval; NaN where there is none."""

    value: float
    """Over all chips."""
    low: float = math.nan
    """Lower end of the interval; NaN: fewer than two groups."""
    high: float = math.nan
    """Upper end."""

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        inside = "" if math.isnan(self.low) else f" ({self.low:.3f} to {self.high:.3f})"
        return f"{self.value:.3f}{inside}"

    def as_list(self) -> list[float | None]:
        """Value, low, high; NaN becomes None."""
        values = (self.value, self.low, self.high)
        return [None if math.isnan(v) else round(v, 5) for v in values]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampled:
    """Counts of groups, and those of sets in which each group was drawn as often as it came.

    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapters 8 and 13 (percentiles).
    Groups are drawn, not pixels or chips: pixels of one place are wrong together. With few groups
    (below about 20) the intervals are too narrow rather than too wide.
    """

    groups: Sequence[Tally]
    """At least one."""
    draws: int = 1000
    """Resampled sets."""
    seed: int = 0
    """Of the draws."""

    def estimate(
        self, pick: Callable[[Tally], NDArray[Any]], score: Callable[[Floats], Floats]
    ) -> Any:
        """Score, pooled over all groups, with its interval.

        Args:
            pick: The counts that the score needs, of a group.
            score: Takes them with any leading axes.

        Returns:
            An :class:`Estimate`, in lists as deep as what ``score`` gives for one set.
        """
        counts = np.stack([pick(group) for group in self.groups]).astype(np.float64)
        value = np.asarray(score(counts.sum(axis=0)))
        low, high = self._interval(counts, score, value.shape)
        return _estimates(value, low, high)

    def _interval(
        self, counts: Floats, score: Callable[[Floats], Floats], shape: tuple[int, ...]
    ) -> tuple[Floats, Floats]:
        nothing = np.full(shape, np.nan)
        if len(counts) < 2 or not self.draws:
            return nothing, nothing
        drawn = np.concatenate([score(part) for part in self._sums(counts)])
        known = ~np.isnan(drawn).all(axis=0)  # a class that is nowhere has no interval
        ends = [(1 - LEVEL) / 2 * 100, (1 + LEVEL) / 2 * 100]
        out = np.full((2, *shape), np.nan)
        out[:, known] = np.nanpercentile(drawn[:, known], ends, axis=0)
        return out[0], out[1]

    def _sums(self, counts: Floats) -> Iterator[Floats]:
        """Resampled sums (draws, ...), some draws at a time."""
        number, flat = len(counts), counts.reshape(len(counts), -1)
        rng = np.random.default_rng(self.seed)
        at_once = max(1, _CHUNK // max(1, flat[0].nbytes))
        for start in range(0, self.draws, at_once):
            several = min(at_once, self.draws - start)
            times = rng.multinomial(number, [1 / number] * number, several)
            yield (times @ flat).reshape(several, *counts.shape[1:])


def _estimates(value: Floats, low: Floats, high: Floats) -> Any:
    if value.ndim == 0:
        return Estimate(value=float(value), low=float(low), high=float(high))
    return [_estimates(*parts) for parts in zip(value, low, high, strict=True)]
