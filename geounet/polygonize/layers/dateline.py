"""Polygons across 180 degrees of longitude, which GeoJSON wants in two (RFC 7946, 3.1.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.polygon import orient

from geounet.polygonize.batch import PolygonBatch

Placing = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""(m, 2) coordinates of the layer to longitude and latitude."""

_EAST = shapely.box(0, -90, 180, 90)
_WEST = shapely.box(180, -90, 360, 90)


def crossing(
    xy: NDArray[np.float64], lonlat: NDArray[np.float64], starts: NDArray[np.int64], place: Placing
) -> NDArray[np.int64]:
    """Which polygons have an edge across the line.

    Args:
        xy: (m, 2) corners of all polygons.
        lonlat: (m, 2) where they are.
        starts: (n + 1,) where the corners of each polygon start.
        place: What made the one of the other.
    """
    jumps = np.flatnonzero(np.abs(np.diff(lonlat[:, 0])) > 180)
    jumps = jumps[~np.isin(jumps + 1, starts)]  # from one polygon to the next is no edge
    if not len(jumps):
        return jumps
    # the middle of an edge that runs around the world the other way is far from the line
    middle = place((xy[jumps] + xy[jumps + 1]) / 2)[:, 0]
    mean = (lonlat[jumps, 0] + lonlat[jumps + 1, 0]) / 2
    across = jumps[np.abs(middle - mean) > 90]
    return np.unique(np.searchsorted(starts, across, side="right") - 1)


def cut(chunk: PolygonBatch, index: int, place: Placing) -> Any:
    """Polygon ``index`` in longitude and latitude, as a MultiPolygon that ends at the line."""
    start, stop = chunk.offsets[index : index + 2]
    shape = shapely.from_wkb(chunk.wkb[start:stop].tobytes())

    def eastwards(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        lonlat = place(xy)
        lonlat[:, 0] %= 360
        return lonlat

    whole = shapely.make_valid(shapely.transform(shape, eastwards))
    parts = [
        orient(part)
        for side, shift in ((_EAST, 0.0), (_WEST, -360.0))
        for part in shapely.get_parts(_moved(shapely.intersection(whole, side), shift))
        if part.geom_type == "Polygon"
    ]
    return shapely.MultiPolygon(parts)


def _moved(shape: Any, shift: float) -> Any:
    return shapely.transform(shape, lambda lonlat: lonlat + (shift, 0.0))  # noqa: RUF005  a sum
