"""Rings with smooth borders."""

from __future__ import annotations

import numpy as np

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
        size: Rows and columns of the raster.
        simplified: Whether borders follow the edges of pixels no more.
        cut: Column at which the raster is cut, or NO_CUT.
    """
    if simplified:
        room, work = 3 * len(rings.vertices), round_rings
    else:
        # each arc has a vertex at each edge of a pixel, at most, and its first one
        col, row = (rings.vertices & LOW) >> 1, rings.vertices >> ROW
        steps = np.abs(np.diff(col)) + np.abs(np.diff(row))
        steps[rings.stops[:-1] - 1] = 0  # from one ring to the next
        room, work = int(steps.sum()) + len(rings.vertices), smooth_rings
    out, stops = np.empty(room, np.int64), np.empty_like(rings.stops)
    height, width = size
    work(rings.vertices, rings.stops, cut, width, height, out, stops)
    return rings._replace(vertices=out[: int(stops[-1])].copy(), stops=stops)
