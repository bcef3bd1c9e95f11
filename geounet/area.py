"""The true area of pixels, on the ellipsoid, for any grid."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError

from geounet.window import Window

_NODE_M = 20_000.0  # between nodes the area of a pixel is as good as linear
_PROBE_M = 5.0  # a smaller quadrilateral drowns in the rounding of longitudes


class PixelAreas:
    """Area in square metres of each pixel of a grid.

    A pixel's corners are taken to longitude and authalic latitude, where areas are true (Snyder
    1987, "Map Projections: A Working Manual", eq. 3-12), so a Web-Mercator, polar, rotated or
    geographic grid needs no case of its own. Where the grid has no place on an ellipsoid (a local
    CRS), areas are planar in the CRS's unit.

    Args:
        geobox: The grid; without a CRS there are no areas.
    """

    def __init__(self, geobox: GeoBox) -> None:
        self._geobox = geobox
        self._crs = None if geobox.crs is None else pyproj.CRS.from_wkt(geobox.crs.to_wkt())
        affine = geobox.affine
        self._by_row = bool(
            self._crs is not None and self._crs.is_geographic and affine.b == affine.d == 0
        )
        self._planar = abs(float(affine.determinant)) * _metres_per_unit(self._crs) ** 2

    def __call__(self, window: Window) -> NDArray[np.float64] | None:
        """Areas of a window, float64 of shape (rows, 1) or (rows, columns); None without a CRS."""
        if self._crs is None:
            return None
        if self._by_row:
            return self._at(np.arange(window.row_off, window.row_end), np.zeros(1))
        rows, cols = (
            self._nodes(start, stop)
            for start, stop in (
                (window.row_off, window.row_end),
                (window.col_off, window.col_end),
            )
        )
        nodes = self._at(rows, cols)
        along = _lerp(nodes, cols, np.arange(window.col_off, window.col_end))
        return _lerp(along.T, rows, np.arange(window.row_off, window.row_end)).T

    def _nodes(self, start: int, stop: int) -> NDArray[np.float64]:
        """Positions of a lattice that does not depend on the window, around it."""
        step = max(1, min(256, int(_NODE_M / math.sqrt(self._planar or 1.0))))
        return np.arange(start // step * step, stop + step, step, dtype=float)

    def _at(self, rows: NDArray[np.number], cols: NDArray[np.number]) -> NDArray[np.float64]:
        """Areas (rows, cols) of the pixels at these positions."""
        half = max(0.5, _PROBE_M / math.sqrt(self._planar or 1.0)) if not self._by_row else 0.5
        col, row = np.meshgrid(cols + 0.5, rows + 0.5)
        corners = [self._authalic(col + half * x, row + half * y) for x, y in _CORNERS]
        doubled = np.zeros(row.shape)
        east = corners[0][0]
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            doubled += _turn(x0 - east) * y1 - _turn(x1 - east) * y0
        areas = np.abs(doubled) / 2 / (2 * half) ** 2
        # past the edge of the Earth, or around a pole: what the rest of the grid has
        bad = ~np.isfinite(areas) | (areas <= 0)
        for x, _ in corners:
            bad |= np.abs(_turn(x - east)) > math.pi / 2
        if bad.any():
            areas[bad] = self._planar if bad.all() else np.median(areas[~bad])
        return areas

    def _authalic(
        self, col: NDArray[np.float64], row: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitude in radians, and what times it is an area in square metres."""
        x, y = place(self._geobox.affine, col, row)
        to_degrees, (semi_major, eccentricity) = _to_degrees(self._crs)
        if to_degrees is not None:
            x, y = to_degrees.transform(x, y, errcheck=False)
        with np.errstate(invalid="ignore"):
            sine, e = np.sin(np.radians(np.clip(y, -90, 90))), eccentricity
            bulge = np.arctanh(e * sine) / e if e > 0 else sine
            q = (1 - e * e) * sine / (1 - (e * sine) ** 2) + (1 - e * e) * bulge
            return np.radians(x), semi_major**2 / 2 * q


def place(
    affine: Affine, col: NDArray[np.float64], row: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates of many pixel positions (``Affine`` takes arrays, its annotations do not)."""
    out: Any = affine @ (col, row)  # type: ignore[operator]
    return out[0], out[1]


_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def pixel_size_m(geobox: GeoBox) -> float | None:
    """Side in metres of a square as large as the pixel in the middle; None without a CRS."""
    height, width = geobox.shape
    middle = Window(row_off=height // 2, col_off=width // 2, height=1, width=1)
    areas = PixelAreas(geobox)(middle)
    return None if areas is None else math.sqrt(float(areas.mean()))


@lru_cache(maxsize=16)
def _to_degrees(crs: pyproj.CRS) -> tuple[pyproj.Transformer | None, tuple[float, float]]:
    """To longitude and latitude on the CRS's own ellipsoid, and that: (semi-major, eccentricity).

    Transformer None: the coordinates are degrees, or have no place on an ellipsoid.
    """
    geodetic, ellipsoid = crs.geodetic_crs, crs.ellipsoid
    if geodetic is None or ellipsoid is None:
        return None, (6371007.2, 0.0)
    ratio = ellipsoid.semi_minor_metre / ellipsoid.semi_major_metre
    shape = ellipsoid.semi_major_metre, math.sqrt(max(0.0, 1 - ratio**2))
    if crs.is_geographic:
        return None, shape
    try:
        return pyproj.Transformer.from_crs(crs, _flat(geodetic), always_xy=True), shape
    except ProjError:
        return None, shape


def _flat(crs: pyproj.CRS) -> pyproj.CRS:
    """Without height: a compound or three-dimensional CRS asks for a third coordinate."""
    return crs.to_2d() if hasattr(crs, "to_2d") else crs


def _metres_per_unit(crs: pyproj.CRS | None) -> float:
    if crs is None or not crs.axis_info:
        return 1.0
    if crs.is_geographic:
        return 111_195.0
    return crs.axis_info[0].unit_conversion_factor or 1.0


def _turn(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same angle within half a turn of 0: longitudes jump at the antimeridian."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _lerp(
    values: NDArray[np.float64], at: NDArray[np.float64], where: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Columns of ``values`` (n, len(at)), given at regular positions, interpolated (n, m)."""
    step = at[1] - at[0]
    left = ((where - at[0]) // step).astype(int)
    share = (where - at[left]) / step
    out: NDArray[np.float64] = values[:, left] * (1 - share) + values[:, left + 1] * share
    return out
