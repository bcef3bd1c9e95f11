"""Areas of runs of pixels in whole units, whose sums depend on no order."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.area import PixelAreas

UNITS = 1 << 20
"""Units in the pixel in the middle of the grid."""

MOST_UNITS = 1 << 52
"""No area is counted further: float64 is exact up to there."""

_KNOT_M = 4_000.0
"""Rows so far apart are linear in between to a millionth: the earth's radius is 1600 times it."""


class PixelUnits:
    """Areas of a grid in units of a millionth of its middle pixel.

    Args:
        geobox: The grid; without a CRS each pixel has an area of 1.
    """

    def __init__(self, geobox: GeoBox) -> None:
        self._areas = PixelAreas(geobox)
        self._height, self._width = geobox.shape
        self._cols = np.arange(self._width)
        self._pixel = self._areas.middle or 1.0
        self._every = max(1, min(64, int(_KNOT_M / math.sqrt(self._pixel))))
        self._alike = self._rows(np.arange(1)).shape[1] == 1

    def units(self, area: float) -> int:
        """An area in m2, or in pixels without a CRS, in units."""
        return round(min(area / self._pixel * UNITS, float(MOST_UNITS)))

    @property
    def least(self) -> int:
        """Units of a pixel that is hardly larger than any: of the first, middle and last rows."""
        rows = np.array([0, self._height // 2, self._height - 1])
        least = float(self._rows(rows).min())
        return max(1, self.units(least) - 1)

    def of_runs(
        self, row: int, rows: NDArray[np.int64], starts: NDArray[np.int32], ends: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Whole units (runs,) of the runs of pixels that fill whole rows.

        Args:
            row: Of the raster, of the first of a block.
            rows: (runs,) of the block, ascending.
            starts: (runs,) first column.
            ends: (runs,) column after the last, where the next one starts.
        """
        if not len(rows):
            return np.empty(0)
        height = int(rows[-1]) + 1
        if self._alike:
            areas = (ends - starts) * self._rows(np.arange(row, row + height))[rows, 0]
        else:
            knots = self._summed(row + np.arange(0, height + self._every, self._every))
            knot, share = rows // self._every, rows % self._every / self._every
            at = knot * (self._width + 1) + starts
            low = _between(knots.ravel(), at, self._width + 1, share)
            high = np.append(low[1:], 0.0)
            edge = np.flatnonzero(ends == self._width)
            at, share = at[edge] + self._width - starts[edge], share[edge]
            high[edge] = _between(knots.ravel(), at, self._width + 1, share)
            areas = high - low
        return np.asarray(np.rint(areas * (UNITS / self._pixel)), np.float64)

    def _summed(self, rows: NDArray[np.int_]) -> NDArray[np.float64]:
        """(rows, columns + 1) areas of these rows' pixels, summed up to each column."""
        sums = np.zeros((len(rows), self._width + 1))
        np.cumsum(self._rows(rows), axis=1, out=sums[:, 1:])
        return sums

    def _rows(self, rows: NDArray[np.int_]) -> NDArray[np.float64]:
        """Areas of the pixels of some rows, (rows, width) or (rows, 1) where they are alike."""
        areas = self._areas.of(rows, self._cols)
        return np.ones((len(rows), 1)) if areas is None else areas


def _between(
    knots: NDArray[np.float64], at: NDArray[np.int64], step: int, share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values at these places, on the way to those a step further."""
    here = knots.take(at)
    return here + share * (knots.take(at + step) - here)
