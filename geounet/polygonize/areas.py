"""The areas of regions in square metres, from the arcs of a band."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.area import PixelAreas, pixel_size_m
from geounet.polygonize.sums import sum_areas, sum_zones
from geounet.window import Window

_KNOT_M = 4_000.0
"""Rows so far apart are linear in between to a millionth: the earth's radius is 1600 times it."""


class ArcAreas:
    """Area at the left of each arc of a band, see :mod:`geounet.polygonize.sums`.

    Args:
        geobox: The grid, with a CRS.
    """

    def __init__(self, geobox: GeoBox) -> None:
        self._areas = PixelAreas(geobox)
        self._height, self._width = geobox.shape
        self._every = max(1, min(512, int(_KNOT_M / (pixel_size_m(geobox) or 1.0))))
        self._alike = self._rows(0, 1).shape[1] == 1
        # several bands lie between two knots, and bands are traced from the top down
        self._knot = functools.lru_cache(maxsize=8 + 256 // self._every)(self._summed_row)

    def __call__(
        self, row: int, rows: int, span: NDArray[np.int64], vertices: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Square metres of each arc; the band has ``rows`` rows from ``row`` on."""
        values = np.empty(len(span))
        if self._alike:
            zones = _from_zero(self._rows(row, rows)[:, 0], axis=0)
            sum_zones(span, vertices, row, zones, values)
            return values
        every, first = self._every, row // self._every
        last = -(-(row + rows) // every)
        # the last row of a band may be a knot, which asks for the one below
        steps = np.stack([self._knot(knot * every) for knot in range(first, last + 2)])
        whole = every * steps[:-1] + np.diff(steps, axis=0) * ((every - 1) / 2)
        sums = _from_zero(whole, axis=0)
        sum_areas(span, vertices, first * every, sums, steps, every, values)
        return values

    def _summed_row(self, row: int) -> NDArray[np.float64]:
        """Areas of a row's pixels, summed up to each column."""
        return _from_zero(self._rows(row, 1)[0], axis=0)

    def _rows(self, row: int, rows: int) -> NDArray[np.float64]:
        """Areas of whole rows; those below the raster go on as the grid does."""
        areas = self._areas(Window(row_off=row, col_off=0, height=rows, width=self._width))
        if areas is None:
            raise TypeError("a grid without a CRS has no areas")
        return areas


def _from_zero(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Sums of all before each, and of all."""
    sums = values.cumsum(axis=axis)
    return np.concatenate([np.zeros_like(np.take(sums, [0], axis=axis)), sums], axis=axis)
