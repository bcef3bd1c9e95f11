"""The areas of regions in square metres, from the arcs of a band."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.area import PixelAreas
from geounet.polygonize.sums import sum_areas, sum_zones

_GROUP = 8
"""Knots that are asked for at once: one costs a third as much."""

_KNOT_M = 4_000.0
"""Rows so far apart are linear in between to a millionth: the earth's radius is 1600 times it."""


class ArcAreas:
    """Area at the left of each arc of a band, see :mod:`geounet.polygonize.sums`.

    Args:
        geobox: The grid, with a CRS.
    """

    def __init__(self, geobox: GeoBox) -> None:
        self._areas = PixelAreas(geobox)
        self._cols = np.arange(geobox.shape[1])
        side = math.sqrt(self._areas.middle or 0.0) or 1.0
        self._every = max(1, min(512, int(_KNOT_M / side)))
        self._alike = self._rows(np.arange(1)).shape[1] == 1
        # several bands lie between two knots, and bands are traced from the top down
        self._group = functools.lru_cache(maxsize=3 + 256 // self._every // _GROUP)(self._summed)

    def __call__(
        self, row: int, rows: int, span: NDArray[np.int64], vertices: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Square metres of each arc; the band has ``rows`` rows from ``row`` on."""
        values = np.empty(len(span))
        if self._alike:
            zones = _from_zero(self._rows(np.arange(row, row + rows))[:, 0], axis=0)
            sum_zones(span, vertices, row, zones, values)
            return values
        every, first = self._every, row // self._every
        last = -(-(row + rows) // every)
        # the last row of a band may be a knot, which asks for the one below
        steps = self._knots(first, last + 2)
        whole = every * steps[:-1] + np.diff(steps, axis=0) * ((every - 1) / 2)
        sums = _from_zero(whole, axis=0)
        sum_areas(span, vertices, first * every, sums, steps, every, values)
        return values

    def _knots(self, first: int, stop: int) -> NDArray[np.float64]:
        """(knots, columns + 1) areas of the row at each knot, summed up to each column."""
        groups = range(first // _GROUP, -(-stop // _GROUP))
        known = [self._group(group) for group in groups]
        rows = slice(first - groups[0] * _GROUP, stop - groups[0] * _GROUP)
        return (known[0] if len(known) == 1 else np.concatenate(known))[rows]

    def _summed(self, group: int) -> NDArray[np.float64]:
        knots = np.arange(group * _GROUP, (group + 1) * _GROUP)
        return _from_zero(self._rows(knots * self._every), axis=1)

    def _rows(self, rows: NDArray[np.int_]) -> NDArray[np.float64]:
        """Areas of whole rows; those below the raster go on as the grid does."""
        areas = self._areas.of(rows, self._cols)
        if areas is None:
            raise TypeError("a grid without a CRS has no areas")
        return areas


def _from_zero(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Sums of all before each, and of all."""
    shape = list(values.shape)
    shape[axis] += 1
    sums = np.zeros(shape)
    np.cumsum(values, axis=axis, out=sums[1:] if axis == 0 else sums[:, 1:])
    return sums
