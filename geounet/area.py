"""The true area of pixels, on the ellipsoid, for any grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError

from geounet.window import Window

_NODES = 320  # an ellipsoid's radius; between nodes the area of a pixel is as good as linear
_KNOT = 256  # pixels between nodes, at most
_PROBE_M = 5.0  # a smaller quadrilateral drowns in the rounding of angles
_EARTH_M = 6_371_007.2  # only for rough sizes


class PixelAreas:
    """Area in square metres of each pixel of a grid.

    A pixel's corners are taken to longitude and authalic latitude, where areas are true (Snyder
    1987, "Map Projections: A Working Manual", eq. 3-11 and 3-12), and measured in Lambert's
    azimuthal equal-area projection around the pixel itself (eq. 24-2). So Web Mercator, a pole, the
    antimeridian or a rotated grid need no case of their own. Rows of a geographic grid are zones,
    whose area is known in closed form. Where the grid has no place on an ellipsoid (a local CRS),
    and past the edge of a projection, areas are planar.

    Law (window): the areas of a window are those of the whole grid at its pixels.

    Args:
        geobox: The grid; without a CRS there are no areas.
    """

    def __init__(self, geobox: GeoBox) -> None:
        self._affine, self._shape = geobox.affine, geobox.shape
        self._crs = None if geobox.crs is None else pyproj.CRS.from_wkt(geobox.crs.to_wkt())
        self._planar = abs(float(self._affine.determinant)) * _metres_per_unit(self._crs) ** 2
        self._side = math.sqrt(self._planar) or 1.0
        self._globe = None if self._crs is None else _Globe.of(self._crs)
        upright = self._affine.b == self._affine.d == 0
        self._zonal = self._crs is not None and self._crs.is_geographic and upright

    @property
    def knot(self) -> int:
        """Areas are linear between rows that are multiples of it; 1: they are not."""
        if self._globe is None:
            return 1
        return max(1, min(_KNOT, int(self._globe.semi_major / _NODES / self._side)))

    def __call__(self, window: Window) -> NDArray[np.float64] | None:
        """Areas of a window, float64 of shape (rows, 1) or (rows, columns); None without a CRS."""
        rows, cols = (np.arange(*ends) for ends in _ends(window))
        return self.of(rows, cols)

    def of(self, rows: NDArray[np.int_], cols: NDArray[np.int_]) -> NDArray[np.float64] | None:
        """Areas where these rows and columns, ascending, cross: as of a window."""
        if self._crs is None:
            return None
        if self._globe is None:
            return np.full((len(rows), 1), self._planar)
        if self._zonal:
            return self._zones(self._globe, rows)
        down, across = _nodes(rows, self.knot), _nodes(cols, self.knot)
        nodes = self._at(self._globe, down, across)
        along = _lerp(nodes, across, cols, self.knot)
        areas: NDArray[np.float64] = _lerp(along.T, down, rows, self.knot).T
        return areas

    @property
    def middle(self) -> float | None:
        """That of the pixel in the middle of the grid; None without a CRS."""
        height, width = self._shape
        areas = self.of(np.array([height // 2]), np.array([width // 2]))
        return None if areas is None else float(areas.item())

    def _zones(self, globe: _Globe, rows: NDArray[np.int_]) -> NDArray[np.float64]:
        """Areas (rows, 1) of pixels between two meridians and two parallels."""
        edges = np.stack([rows, rows + 1]) * self._affine.e + self._affine.f
        limit = math.pi / 2
        zone = globe.zone_area(np.clip(edges * globe.radians_per_unit, -limit, limit))
        areas: NDArray[np.float64] = np.abs(
            (zone[1] - zone[0]) * self._affine.a * globe.radians_per_unit
        )[:, None]
        return areas

    def _at(
        self, globe: _Globe, rows: NDArray[np.number], cols: NDArray[np.number]
    ) -> NDArray[np.float64]:
        """Areas (rows, cols) of the pixels at these positions."""
        half = max(0.5, _PROBE_M / self._side)
        col, row = np.meshgrid(cols + 0.5, rows + 0.5)
        corners = [
            globe.vectors(*place(self._affine, col + half * x, row + half * y)) for x, y in _CORNERS
        ]
        areas = globe.quadrilateral(corners) / (2 * half) ** 2
        return np.where(areas > 0, areas, self._planar)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Globe:
    """From the coordinates of a CRS to the sphere with the area of its ellipsoid."""

    to_angles: pyproj.Transformer | None
    """To the longitude and latitude of the CRS's own datum; None: they are already."""
    radians_per_unit: float
    """Of those: degrees, or grads in France."""
    semi_major: float
    """Metres."""
    eccentricity: float
    """Of the ellipsoid, 0 for a sphere."""

    @classmethod
    def of(cls, crs: pyproj.CRS) -> _Globe | None:
        """None where the CRS has no place on an ellipsoid."""
        geodetic, ellipsoid = crs.geodetic_crs, crs.ellipsoid
        if geodetic is None or ellipsoid is None:
            return None
        flat = geodetic.to_2d()  # a compound CRS would ask for a height
        to_angles = None
        if not crs.is_geographic:
            try:
                to_angles = pyproj.Transformer.from_crs(crs, flat, always_xy=True)
            except ProjError:
                return None
        ratio = ellipsoid.semi_minor_metre / ellipsoid.semi_major_metre
        return cls(
            to_angles=to_angles,
            radians_per_unit=flat.axis_info[0].unit_conversion_factor or math.radians(1),
            semi_major=ellipsoid.semi_major_metre,
            eccentricity=math.sqrt(max(0.0, 1 - ratio**2)),
        )

    def zone_area(self, latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """Square metres from the equator to a latitude, a radian of longitude wide."""
        e = self.eccentricity
        sine = np.sin(latitude)
        bulge = np.arctanh(e * sine) / e if e > 0 else sine
        q = (1 - e * e) * (sine / (1 - (e * sine) ** 2) + bulge)
        return np.asarray(self.semi_major**2 / 2 * q)

    def vectors(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Unit vectors (..., 3) on the authalic sphere; not finite where there is no Earth."""
        if self.to_angles is not None:
            x, y = self.to_angles.transform(x, y, errcheck=False)
        with np.errstate(invalid="ignore"):
            sine = self.zone_area(y * self.radians_per_unit) / self._pole
            cosine = np.sqrt(np.maximum(0.0, 1 - sine * sine))
            turn = x * self.radians_per_unit
            return np.stack([cosine * np.cos(turn), cosine * np.sin(turn), sine], axis=-1)

    def quadrilateral(self, corners: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Square metres inside four unit vectors (..., 3) in order; NaN where there is no Earth."""
        with np.errstate(invalid="ignore", divide="ignore"):
            centre = np.sum(corners, axis=0)
            centre /= np.linalg.norm(centre, axis=-1, keepdims=True)
            cosines = [(corner * centre).sum(axis=-1, keepdims=True) for corner in corners]
            flat = [c * np.sqrt(2 / (1 + a)) for c, a in zip(corners, cosines, strict=True)]
            across = np.cross(flat[2] - flat[0], flat[3] - flat[1])
            areas = np.abs((across * centre).sum(axis=-1)) / 2 * self._pole
            # corners far apart lie on two sides of a cut in the map
            return np.where(np.min(cosines, axis=0)[..., 0] > 0.5, areas, np.nan)

    @property
    def _pole(self) -> float:
        """The square of the sphere's radius: the zone up to the pole."""
        return float(self.zone_area(np.array(math.pi / 2)))


def place(
    affine: Affine, col: NDArray[np.float64], row: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates of many pixel positions.

    Written out: affine 3 wants ``@``, affine 2 only has ``*``.
    """
    return affine.a * col + affine.b * row + affine.c, affine.d * col + affine.e * row + affine.f


_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def pixel_size_m(geobox: GeoBox) -> float | None:
    """Side in metres of a square as large as the pixel in the middle; None without a CRS."""
    area = PixelAreas(geobox).middle
    return None if area is None else math.sqrt(area)


def metres_per_pixel(geobox: GeoBox) -> tuple[float, float] | None:
    """Width and height of the pixel in the middle, in metres; None without a CRS."""
    if geobox.crs is None:
        return None
    affine, (height, width) = geobox.affine, geobox.shape
    unit = _metres_per_unit(pyproj.CRS.from_wkt(geobox.crs.to_wkt()))
    col, row = math.hypot(affine.a, affine.d) * unit, math.hypot(affine.b, affine.e) * unit
    if geobox.crs.geographic:
        degrees = affine.d * width / 2 + affine.e * height / 2 + affine.f
        col *= math.cos(degrees * unit / _EARTH_M)
    return col, row


def _metres_per_unit(crs: pyproj.CRS | None) -> float:
    if crs is None or not crs.axis_info:
        return 1.0
    factor = crs.axis_info[0].unit_conversion_factor or 1.0
    return float(factor * _EARTH_M if crs.is_geographic else factor)


def _ends(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    return (window.row_off, window.row_end), (window.col_off, window.col_end)


def _nodes(where: NDArray[np.int_], step: int) -> NDArray[np.int_]:
    """Positions on either side of these, on a lattice that does not depend on them."""
    below = where // step * step
    return np.unique(np.concatenate([below, below + step]))


def _lerp(
    values: NDArray[np.float64], at: NDArray[np.int_], where: NDArray[np.int_], step: int
) -> NDArray[np.float64]:
    """Columns of ``values`` (n, len(at)), given at these nodes, interpolated (n, len(where))."""
    left = np.searchsorted(at, where // step * step)
    share = (where - at[left]) / step
    out: NDArray[np.float64] = values[:, left] * (1 - share) + values[:, left + 1] * share
    return out
