"""The best and the worst patches of a set, kept while it is scored."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.quicklook import COMPOSITES, stretched
from geounet.raster import Raster
from geounet.train.source import IGNORE, Chip
from geounet.window import Window

_PART = 0.01  # of a patch: a class with less says nothing about it
_LABELLED = 0.2  # of a patch: with less it is no example


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patch:
    """A part of a chip, to be shown."""

    chip: str
    """Name of the chip."""
    corner: tuple[int, int]
    """Row and column of its upper left pixel in the chip."""
    picture: NDArray[np.uint8]
    """(height, width, 3): the image in colour."""
    label: NDArray[np.int16]
    """(height, width): class index or IGNORE; IGNORE too where there are no data."""
    predicted: NDArray[np.int16]
    """(height, width): class index."""
    score: float
    """Mean IoU over the classes that take at least 1 % of it in label or prediction, 0..1."""

    @property
    def wrong(self) -> float:
        """Share of the labelled pixels that are wrong."""
        scored = self.label != IGNORE
        return float(np.mean(self.predicted[scored] != self.label[scored]))


@dataclass(slots=True)
class Gallery:
    """Keeps the best and the worst patches it is shown, from as many places as it can.

    Call it with a chip and its prediction, as :func:`geounet.train.scoring.scores.score` does with
    ``watch``. Memory depends on :attr:`count` and :attr:`size`. At most one patch of a chip is
    kept for each, and of a group no more than needed. A patch of a single class is among the best
    only where there are not enough others: it is right too easily.
    """

    bands: tuple[str, ...]
    """Names in channel order, from which the colours are chosen."""
    groups: Sequence[Sequence[str]] = ()
    """The groups that will be shown; a chip that is in none is one by itself."""
    count: int = 4
    """Patches of either kind."""
    size: int = 256
    """Side of a patch in pixels, about."""
    _best: list[Patch] = field(default_factory=list)
    _worst: list[Patch] = field(default_factory=list)
    _group: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._group = {name: i for i, group in enumerate(self.groups) for name in group}

    def __call__(self, chip: Chip, predicted: NDArray[np.int64]) -> None:
        """Keep what is worth it of a chip and its prediction (height, width)."""
        patches = list(self._cut(chip, predicted))
        if patches:
            worst = sorted([*self._worst, min(patches, key=_grade)], key=_grade)
            self._worst = self._spread(worst)[: self.count]
            best = sorted([*self._best, max(patches, key=_rank)], key=_rank, reverse=True)
            self._best = self._spread(best)[: 2 * self.count]  # some may be among the worst as well

    @property
    def worst(self) -> tuple[Patch, ...]:
        """Worst first; of a handful of chips, at most half."""
        return tuple(self._worst[: max(1, min(self.count, len(self._seen()) // 2))])

    @property
    def best(self) -> tuple[Patch, ...]:
        """Best first, none that is among the worst."""
        taken = {_place(patch) for patch in self.worst}
        return tuple([p for p in self._best if _place(p) not in taken][: self.count])

    def _spread(self, patches: Sequence[Patch]) -> list[Patch]:
        """The first ones of each group, in their order."""
        most = math.ceil(self.count / len(self.groups)) if self.groups else 1
        seen = Counter[object]()
        kept = []
        for patch in patches:
            group = self._group.get(patch.chip, patch.chip)
            seen[group] += 1
            if seen[group] <= most:
                kept.append(patch)
        return kept

    def _seen(self) -> set[tuple[str, tuple[int, int]]]:
        return {_place(patch) for patch in (*self._worst, *self._best)}

    def _cut(self, chip: Chip, predicted: NDArray[np.int64]) -> Iterator[Patch]:
        rgb = colours(chip, self.bands)
        label = np.where(chip.scored, chip.label, IGNORE).astype(np.int16)
        for window in windows(label.shape, self.size):
            ours, theirs = predicted[window.slices].astype(np.int16), label[window.slices]
            if np.mean(theirs != IGNORE) >= _LABELLED:
                yield Patch(
                    chip=chip.name,
                    corner=(window.row_off, window.col_off),
                    picture=rgb[window.slices].copy(),
                    label=theirs.copy(),
                    predicted=ours.copy(),
                    score=agreement(ours, theirs),
                )


def windows(shape: Sequence[int], size: int) -> Iterator[Window]:
    """Nearly equal parts of about ``size`` pixels a side that cover a chip, row by row."""
    rows, cols = (
        np.linspace(0, extent, max(1, round(extent / size)) + 1).round().astype(int).tolist()
        for extent in shape
    )
    for top, bottom in pairwise(rows):
        for left, right in pairwise(cols):
            yield Window.between(top, left, bottom, right)


def agreement(predicted: NDArray[np.int16], label: NDArray[np.int16]) -> float:
    """Mean IoU over the classes that take at least 1 % of the labelled pixels on either side."""
    scored = label != IGNORE
    ours, theirs = predicted[scored], label[scored]
    values = []
    for index in np.union1d(ours, theirs):
        a, b = ours == index, theirs == index
        if max(a.sum(), b.sum()) >= _PART * len(ours):
            values.append(np.count_nonzero(a & b) / np.count_nonzero(a | b))
    return float(np.mean(values))


def colours(chip: Chip, bands: Sequence[str]) -> NDArray[np.uint8]:
    """The image of a chip (height, width, 3) as a quick-look shows it; grey without data."""
    valid = chip.valid
    picked = next((c for c in COMPOSITES if set(c) <= set(bands)), None)
    channels = [bands.index(b) for b in picked] if picked else list(range(len(bands)))[:3]
    data = chip.image[channels if len(bands) > 2 or picked else channels[:1]]
    grid = GeoBox(valid.shape, Affine.identity(), None)
    rgb = stretched(Raster(data=np.where(valid, data, 0), valid=valid, geobox=grid))
    return np.where(valid[..., None], np.rint(rgb), 128).astype(np.uint8)


def _grade(patch: Patch) -> float:
    return patch.score


def _rank(patch: Patch) -> tuple[bool, float]:
    label = patch.label[patch.label != IGNORE]
    least = _PART * len(label)
    return int((np.bincount(label) >= least).sum()) > 1, patch.score


def _place(patch: Patch) -> tuple[str, tuple[int, int]]:
    return patch.chip, patch.corner
