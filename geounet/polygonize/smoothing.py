"""Rings with smooth borders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.band import Rings
from geounet.polygonize.corners import ROW
from geounet.polygonize.rings import LOW
from geounet.polygonize.rounding import round_rings
from geounet.polygonize.smooth import smooth_rings


def smoothed(rings: Rings, size: tuple[int, int], *, simplified: bool, cut: int) -> Rings:
    """Rings smoothed: their vertices are then ``FINE`` steps a pixel.

    Args:
        rings: Of whole features, with vertices as
            :func:`~geounet.polygonize.marking.mark_junctions` left them.
        size: Rows and columns of the raster, a column of nothing among them.
        simplified: Whether borders follow the edges of pixels no more.
        cut: That column, or NO_CUT.
    """
    col, row = (rings.vertices & LOW) >> 1, rings.vertices >> ROW
    stays = _staying(rings, col, row, size, cut)
    stops = np.empty_like(rings.stops)
    if simplified:
        out = np.empty(3 * len(col), np.int64)
        round_rings(rings.vertices, rings.stops, stays, out, stops)
    else:
        steps = np.abs(np.diff(col)) + np.abs(np.diff(row))
        steps[rings.stops[:-1] - 1] = 0  # from one ring to the next
        # each arc has a vertex at each edge of a pixel, at most, and its first one
        out = np.empty(int(steps.sum()) + len(col), np.int64)
        longest = _longest(rings, stays, steps)
        smooth_rings(rings.vertices, rings.stops, stays, longest, out, stops)
    return rings._replace(vertices=out[: int(stops[-1])].copy(), stops=stops)


def _staying(
    rings: Rings, col: NDArray[np.int64], row: NDArray[np.int64], size: tuple[int, int], cut: int
) -> NDArray[np.uint8]:
    """1: a junction, or where the border turns on the frame of the raster or at the cut."""
    height, width = size
    stays = (rings.vertices & 1).astype(np.uint8)
    frame = (row == 0) | (row == height) | (col == 0) | (col == width)
    frame |= (col == cut) | (col == cut + 1)
    on = np.flatnonzero(frame & (stays == 0))
    ring = np.searchsorted(rings.stops, on, side="right")
    first = np.concatenate([[0], rings.stops[:-1]])[ring]
    last = rings.stops[ring] - 1  # the first again
    before = np.where(on == first, last - 1, on - 1)
    after = np.where(on == last, first + 1, on + 1)
    across = (col[on] - col[before]) * (row[after] - row[on])
    stays[on] = across != (row[on] - row[before]) * (col[after] - col[on])
    return stays


def _longest(rings: Rings, stays: NDArray[np.uint8], steps: NDArray[np.int64]) -> int:
    """Edges of pixels that an arc has, at most."""
    along = np.concatenate([[0], np.cumsum(steps)])
    parted = stays.copy()
    parted[rings.stops - 1] = 1
    # an arc may go on where its ring begins
    return 2 * int(np.diff(along[parted != 0], prepend=0).max())
