"""Where a raster in degrees runs over the antimeridian, and what becomes of its columns there.

GeoJSON asks that what crosses the antimeridian be cut in two there (RFC 7946, section 3.1.9), and
everybody else that longitudes be between -180 and 180 degrees. So a column of nothing is put in at
that edge of pixels, which parts all polygons; those left of it and those right of it are told apart
by their columns, and get the longitudes that they have. What one polygon was is still one row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyproj
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

NO_CUT = -2
"""A column that is none, nor next to one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Meridian:
    """Longitudes of a raster that would leave the range from -180 to 180 degrees.

    Where the antimeridian runs through pixels and not along them, it is the nearest edge of a
    column that is drawn there.
    """

    turn: float
    """All around the Earth, in the unit of the CRS."""
    cut: int
    """Edge of pixels, a column of nothing to its right; NO_CUT: the raster only has to be turned,
    or its first or its last edge to be moved."""
    eastings: NDArray[np.float64]
    """Longitude of each edge of columns, that one included, in the unit of the CRS."""
    whole: NDArray[np.bool_]
    """(height,) filled row by row: whether pixels of one label lie at both sides of the cut."""

    def easting(self, col: NDArray[np.float64]) -> NDArray[np.float64]:
        """Longitudes of columns."""
        return np.interp(col, np.arange(len(self.eastings)), self.eastings)

    def in_range(self, easting: NDArray[np.float64]) -> NDArray[np.float64]:
        """Longitudes as they would be without the antimeridian, as they are."""
        half = self.turn / 2
        return (easting + half) % self.turn - half

    def compare(self, row: int, labels: NDArray[np.int32]) -> None:
        """Note of some rows, from ``row`` on and with the column of nothing, which go on."""
        left, right = labels[:, self.cut - 1], labels[:, self.cut + 1]
        self.whole[row : row + len(labels)] = left == right


def meridian_of(geobox: GeoBox) -> Meridian | None:
    """None: all longitudes are in range, are none, or the grid is not upright.

    A grid that goes more than once around the Earth is left as it is, too.
    """
    turn = _turn(geobox)
    if turn is None:
        return None
    affine, (height, width) = geobox.affine, geobox.shape
    eastings = affine.a * np.arange(width + 1) + affine.c
    # of the middle of the first and of the last pixel
    first, last = (
        math.floor((affine.a * (col + 0.5) + affine.c) / turn + 0.5) for col in (0, width - 1)
    )
    half, cut = turn / 2, NO_CUT
    if abs(last - first) > 1:
        return None
    if first == last:
        eastings = np.clip(eastings - turn * first, -half, half)
        if np.array_equal(eastings, affine.a * np.arange(width + 1) + affine.c):
            return None
    else:
        edge = (max(first, last) * turn - half - affine.c) / affine.a
        cut = min(max(round(edge), 1), width - 1)
        side = half if affine.a > 0 else -half
        left, right = eastings[: cut + 1] - turn * first, eastings[cut:] - turn * last
        left[-1], right[0] = side, -side
        eastings = np.clip(np.concatenate([left, right]), -half, half)
    return Meridian(turn=turn, cut=cut, eastings=eastings, whole=np.zeros(height, np.bool_))


def _turn(geobox: GeoBox) -> float | None:
    """All around the Earth in the unit of a geographic CRS, if the grid is upright in one."""
    if geobox.crs is None or not geobox.crs.geographic:
        return None
    if not geobox.affine.b == geobox.affine.d == 0:
        return None
    axes = pyproj.CRS.from_wkt(geobox.crs.to_wkt()).axis_info
    unit = (axes[0].unit_conversion_factor if axes else 0) or math.radians(1)
    return round(math.tau / unit, 9)
