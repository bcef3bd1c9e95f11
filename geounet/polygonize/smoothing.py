"""Rings with smooth borders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.band import Rings
from geounet.polygonize.corners import ROW
from geounet.polygonize.rings import LOW
from geounet.polygonize.smooth import FINE, smooth_rings


def smoothed(rings: Rings, size: tuple[int, int]) -> Rings:
    """Rings of marked vertices smoothed: theirs are ``FINE`` steps a pixel.

    Args:
        rings: Of whole features.
        size: Rows and columns of the raster.
    """
    col, row = (rings.vertices & LOW) >> 1, rings.vertices >> ROW
    steps = np.abs(np.diff(col)) + np.abs(np.diff(row))
    steps[rings.stops[:-1] - 1] = 0  # from one ring to the next
    # each arc has a vertex at each gate at most, and its first one
    out = np.empty(int(steps.sum()) + len(rings.vertices), np.int64)
    stops = np.empty_like(rings.stops)
    height, width = size
    smooth_rings(rings.vertices, rings.stops, -1, width, height, out, stops)
    vertices = out[: int(stops[-1])].copy() if len(stops) else out
    return rings._replace(vertices=vertices, stops=stops)
