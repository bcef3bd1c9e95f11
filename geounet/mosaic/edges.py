"""How far a valid pixel of a map is from the nearest that is not, exactly and in bounded memory.

The Euclidean distance falls into two steps (Felzenszwalb & Huttenlocher 2012, "Distance Transforms
of Sampled Functions"): in each column the rows to the nearest invalid pixel, then along each row
the lower envelope of parabolas. The second needs one row. The first needs the column above and
below, of which only the nearest invalid row counts: it is found for the bounds of bands of rows,
when the map is read for the first time, and inside of a band when it is read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.classes import NODATA
from geounet.polygonize.compiled import callee, jit
from geounet.window import Window

_FAR = np.iinfo(np.int32).max


class Edges:
    """For each band of rows of a map: the nearest invalid rows above and below it.

    Whatever lies outside of the map is invalid. Memory: 8 bytes for each column and band.

    Args:
        bands: Labels (rows, columns) of the bands, top to bottom.
    """

    def __init__(self, bands: Iterable[NDArray[np.uint8]]) -> None:
        first, last, top = [], [], 0
        for labels in bands:
            first.append(np.full(labels.shape[1], _FAR, np.int32))
            last.append(np.full(labels.shape[1], -1, np.int32))
            find_invalid(labels, top, first[-1], last[-1])
            top += len(labels)
        none = np.full((1, len(first[0])), top, np.int32)
        self._above = np.maximum.accumulate(np.concatenate([none * 0 - 1, *_rows(last[:-1])]))
        self._below = np.minimum.accumulate(np.concatenate([none, *_rows(first[:0:-1])]))[::-1]

    def around(self, band: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(columns,) row of the last invalid pixel above a band, and of the first one below.

        Rows count from the top of the map; -1 and its height are invalid.
        """
        return self._above[band], self._below[band]


def _rows(arrays: Iterable[NDArray[np.int32]]) -> list[NDArray[np.int32]]:
    return [array[None] for array in arrays]


def take_farther(
    labels: NDArray[np.uint8],
    top: int,
    around: tuple[NDArray[np.int32], NDArray[np.int32]],
    part: Window,
    out: NDArray[np.uint8],
    best: NDArray[np.float64],
    *,
    square: float = 1.0,
) -> None:
    """Give a map the pixels in which it is farther from its edge than those before it.

    Args:
        labels: (rows, width) of the map, all columns of a band of rows.
        top: Row of the map at which they begin.
        around: Of :meth:`Edges.around`.
        part: The rows and columns of ``labels`` that the other arrays are of.
        out: Labels that were given so far; changed.
        best: Squared distance to the edge in columns, 0 where there is none; changed.
        square: Squared height of a pixel, if its width is 1.
    """
    compete(labels, top, *around, part.row_off, part.col_off, out, best, square)


@jit()
def find_invalid(labels: Any, top: int, first: Any, last: Any) -> None:
    """Find the first and the last invalid row of each column.

    Args:
        labels: (rows, width) uint8.
        top: Number of the first row.
        first: (width,) int32; changed where there is one.
        last: Likewise.
    """
    for row in range(labels.shape[0]):
        for col in range(labels.shape[1]):
            if labels[row, col] == NODATA:
                last[col] = top + row
                if first[col] == _FAR:
                    first[col] = top + row


@callee
def measure_columns(labels: Any, top: int, above: Any, below: Any, near: Any) -> None:
    """Rows from each pixel to the nearest invalid one in its column, into ``near`` (int32)."""
    rows, width = labels.shape
    edge = above.copy()
    for row in range(rows):
        for col in range(width):
            if labels[row, col] == NODATA:
                edge[col] = top + row
            near[row, col] = top + row - edge[col]
    edge[:] = below
    for up in range(rows):
        row = rows - 1 - up
        for col in range(width):
            if labels[row, col] == NODATA:
                edge[col] = top + row
            near[row, col] = min(near[row, col], edge[col] - top - row)


@callee
def _crossing(height: Any, old: int, new: int) -> Any:
    """Where the parabola of ``new`` becomes lower than that of ``old``."""
    rise = height[new] - height[old] + float(new) * new - float(old) * old
    return rise / (2.0 * (new - old))


@callee
def lower_envelope(height: Any, lowest: Any, start: Any) -> None:
    """Which of the parabolas ``height[i] + (x - i) ** 2`` is the lowest where.

    Args:
        height: (n,) float64.
        lowest: (n,) int64, filled: the parabolas, left to right.
        start: (n + 1,) float64, filled: where each begins, and infinity.
    """
    count = 0
    lowest[0], start[0], start[1] = 0, -np.inf, np.inf
    for new in range(1, len(height)):
        where = _crossing(height, lowest[count], new)
        while where <= start[count]:
            count -= 1
            where = _crossing(height, lowest[count], new)
        count += 1
        lowest[count], start[count], start[count + 1] = new, where, np.inf


@jit()
def compete(  # noqa: PLR0913  compiled code takes arrays
    labels: Any, top: int, above: Any, below: Any, row_off: int, col_off: int, out: Any, best: Any,
    square: float,
) -> None:  # fmt: skip
    """See :func:`take_farther`."""
    width = labels.shape[1]
    near = np.empty(labels.shape, np.int32)
    measure_columns(labels, top, above, below, near)
    # with a column outside on each side, where the distance is 0
    height = np.zeros(width + 2, np.float64)
    lowest = np.zeros(width + 2, np.int64)
    start = np.zeros(width + 3, np.float64)
    for row in range(out.shape[0]):
        height[1:-1] = square * near[row_off + row].astype(np.float64) ** 2
        lower_envelope(height, lowest, start)
        at = 0
        for col in range(out.shape[1]):
            there = col + col_off
            while start[at + 1] < there + 1:
                at += 1
            label = labels[row_off + row, there]
            away = float(there + 1 - lowest[at])
            distance = away * away + height[lowest[at]]
            if label != NODATA and distance > best[row, col]:
                best[row, col] = distance
                out[row, col] = label
