"""Rows of a raster into rows of blocks, of the raster itself and of its overviews."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geounet.classes import NODATA

Resampling = Literal["MODE", "AVERAGE"]
"""How four pixels become one: classes by majority, quantities by mean."""

_PART = 64
"""Rows, an even number, that are thinned out at once: few enough for a core's own cache."""

Rows = NDArray[np.uint8]

Put = Callable[[int, Rows], object]
"""Takes the next row of blocks, (block or less, width), of a level."""


def level_shapes(shape: tuple[int, int], block: int) -> list[tuple[int, int]]:
    """Rows and columns of the raster and of its overviews, down to the size of a block.

    Each is half as large as the one before, rounded up; there are as many as GDAL's driver makes,
    which rounds down when it counts.
    """
    shapes = [shape]
    while max(shape) >> (len(shapes) - 1) > block:
        height, width = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2)))
    return shapes


class Pyramid:
    """Takes the rows of a raster from top to bottom and gives rows of blocks of every level.

    Memory holds one row of blocks a level: twice that of the raster.

    Law: what is given does not depend on how the rows were cut.

    Args:
        shape: Of the raster.
        block: Side of a block, even.
        resampling: How overviews are made; :data:`~geounet.classes.NODATA` counts only where there
            is nothing else.
        put: Takes them.
    """

    def __init__(
        self, shape: tuple[int, int], block: int, resampling: Resampling, put: Put
    ) -> None:
        self._shapes, self._put = level_shapes(shape, block), put
        self._halved = _majority if resampling == "MODE" else _mean
        self._rows = [np.empty((min(block, h), w), np.uint8) for h, w in self._shapes]
        self._filled, self._given = [0] * len(self._shapes), [0] * len(self._shapes)

    @property
    def rows(self) -> int:
        """How many were taken."""
        return self._given[0] + self._filled[0]

    def add(self, rows: Rows) -> None:
        """Take the next rows, (n, width)."""
        self._add(0, rows)

    def _add(self, level: int, rows: Rows) -> None:
        held, done = self._rows[level], 0
        while done < len(rows):
            start = self._filled[level]
            count = min(len(held) - start, len(rows) - done)
            held[start : start + count] = rows[done : done + count]
            self._filled[level] += count
            done += count
            last = self._given[level] + self._filled[level] == self._shapes[level][0]
            if last or self._filled[level] == len(held):
                self._give(level)

    def _give(self, level: int) -> None:
        rows = self._rows[level][: self._filled[level]]
        self._put(level, rows)
        self._given[level] += len(rows)
        self._filled[level] = 0
        if level + 1 < len(self._shapes):
            for start in range(0, len(rows), _PART):
                part = rows[start : start + _PART]
                self._add(level + 1, self._halved(*_quarters(part)))


def _quarters(rows: Rows) -> tuple[Rows, Rows, Rows, Rows]:
    """Upper left, upper right, lower left and lower right of each four pixels."""
    height, width = rows.shape
    if height % 2 or width % 2:
        rows = np.pad(rows, ((0, height % 2), (0, width % 2)), constant_values=NODATA)
    # in one piece each: the loops over them are then twice as fast
    return tuple(  # type: ignore[return-value]
        np.ascontiguousarray(rows[row::2, col::2]) for row in (0, 1) for col in (0, 1)
    )


def _majority(a: Rows, b: Rows, c: Rows, d: Rows) -> Rows:
    """The most frequent one; of equally frequent ones the first."""
    none = (a == NODATA), (b == NODATA), (c == NODATA)
    # from the one that counts least to the one that counts most
    found = np.where(none[2], d, c)
    np.copyto(found, b, where=~none[1])
    np.copyto(found, a, where=~none[0])
    np.copyto(found, c, where=(c == d) & ~none[2])
    np.copyto(found, b, where=((b == c) | (b == d)) & ~none[1])
    np.copyto(found, a, where=((a == b) | (a == c) | (a == d)) & ~none[0])
    return found


def _mean(a: Rows, b: Rows, c: Rows, d: Rows) -> Rows:
    """The mean, half rounded up."""
    total, count = np.zeros(a.shape, np.uint16), np.zeros(a.shape, np.uint16)
    for one in (a, b, c, d):
        valid = one != NODATA
        total += np.where(valid, one, np.uint8(0))
        count += valid
    mean = (2 * total + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, mean, NODATA).astype(np.uint8)
