"""The lengths of rings in metres."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.area import place
from geounet.polygonize.band import Rings
from geounet.polygonize.compiled import jit
from geounet.polygonize.corners import ROW
from geounet.polygonize.meridian import NO_CUT, Meridian
from geounet.polygonize.rings import LOW


@jit()
def _add_lengths(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    vertices: Any, stops: Any, part_stops: Any, feature_stops: Any, rows: Any, across: Any,
    skew: float, lengths: Any,
) -> None:  # fmt: skip
    """Of all rings of each feature.

    ``rows`` (rows + 1,) are the metres of a row's edge from the top, ``across`` those of a column
    along it; ``skew`` is how far a row and a column are from a right angle, its cosine.
    """
    ring = k = 0
    for feature in range(len(feature_stops)):
        total = 0.0
        while ring < part_stops[feature_stops[feature] - 1]:
            k += 1
            while k < stops[ring]:
                row, other = vertices[k - 1] >> ROW, vertices[k] >> ROW
                columns = (vertices[k] & LOW) - (vertices[k - 1] & LOW)
                dy = rows[other] - rows[row]
                if columns == 0 or row == other:
                    total += abs(columns * across[row]) + abs(dy)
                    k += 1
                    continue
                middle = (across[(row + other) // 2] + across[(row + other + 1) // 2]) / 2
                # Simpson's rule: parallels shorten towards a pole
                for parallel, weight in ((across[row], 1), (middle, 4), (across[other], 1)):
                    dx = columns * parallel
                    total += weight * math.sqrt(dx * dx + dy * dy + 2 * skew * dx * dy) / 6
                k += 1
            ring += 1
        lengths[feature] = total


class Perimeters:
    """Length of the boundary of features, holes included.

    Geodesic where the CRS is geographic, in which case a step is as long as on the ellipsoid at its
    place; in the units of the CRS, as metres, otherwise.

    Args:
        geobox: The grid, with a CRS.
        steps: Of vertices in a pixel.
        meridian: Where the raster is cut, which is no boundary.
    """

    def __init__(self, geobox: GeoBox, steps: int = 1, meridian: Meridian | None = None) -> None:
        if geobox.crs is None:
            raise TypeError("a grid without a CRS has no lengths")
        self._steps = steps
        self._meridian = None if meridian is None or meridian.cut == NO_CUT else meridian
        affine, rows = geobox.affine, geobox.shape[0] + 1
        crs = pyproj.CRS.from_wkt(geobox.crs.to_wkt())
        geod = crs.get_geod() if crs.is_geographic else None
        self._geod: pyproj.Geod | None = None
        if geod is not None and not affine.b == affine.d == 0:
            self._geod, self._affine, self._degrees = geod, affine, _degrees(crs)
        elif geod is not None:
            degrees = _degrees(crs)
            south = np.clip((affine.e * np.arange(rows) + affine.f) * degrees, -90.0, 90.0)
            _, _, steps = geod.inv(*(np.zeros(rows - 1), south[:-1], np.zeros(rows - 1), south[1:]))
            angle = np.radians(south)
            parallel = geod.a * np.cos(angle) / np.sqrt(1 - geod.es * np.sin(angle) ** 2)
            self._rows = np.concatenate([[0.0], np.cumsum(steps)])
            self._across = parallel * abs(math.radians(affine.a * degrees))
            self._skew = 0.0
        else:
            unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
            col, row = math.hypot(affine.a, affine.d), math.hypot(affine.b, affine.e)
            self._rows = np.arange(rows) * row * unit
            self._across = np.full(rows, col * unit)
            self._skew = (affine.a * affine.b + affine.d * affine.e) / (col * row)

    def __call__(self, rings: Rings) -> NDArray[np.float64]:
        """Metres (features,)."""
        lengths = np.empty(len(rings.label))
        if self._geod is not None:
            return self._geodesic(self._geod, rings)
        if self._steps > 1:
            return self._between_rows(rings) - self._inside(rings)
        _add_lengths(
            rings.vertices, rings.stops, rings.part_stops, rings.feature_stops,
            self._rows, self._across, self._skew, lengths,
        )  # fmt: skip
        return lengths - self._inside(rings)

    def _inside(self, rings: Rings) -> NDArray[np.float64] | float:
        """Metres along the cut with one polygon at either side."""
        if self._meridian is None:
            return 0.0
        col, row = self._places(rings)
        lengths, cut = np.zeros(max(0, len(col) - 1)), self._meridian.cut
        on = (col[1:] == col[:-1]) & ((col[1:] == cut) | (col[1:] == cut + 1))
        for k in np.flatnonzero(on).tolist():
            first, last = sorted((int(row[k]), int(row[k + 1])))
            rows = np.diff(self._rows[first : last + 1])
            lengths[k] = np.abs(rows) @ self._meridian.whole[first:last]
        return _summed(rings, lengths)

    def _geodesic(self, geod: pyproj.Geod, rings: Rings) -> NDArray[np.float64]:
        col, row = self._places(rings)
        x, y = (v * self._degrees for v in place(self._affine, col, row))
        y = np.clip(y, -90.0, 90.0)  # beyond the pole there is nothing
        _, _, steps = geod.inv(x[:-1], y[:-1], x[1:], y[1:])
        return _summed(rings, steps)

    def _between_rows(self, rings: Rings) -> NDArray[np.float64]:
        """Of vertices that are not at the corners of pixels; steps are short."""
        col, row = self._places(rings)
        known = np.arange(len(self._rows))
        dx = np.diff(col) * np.interp((row[1:] + row[:-1]) / 2, known, self._across)
        dy = np.diff(np.interp(row, known, self._rows))
        return _summed(rings, np.sqrt(dx * dx + dy * dy + 2 * self._skew * dx * dy))

    def _places(self, rings: Rings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Columns and rows of all vertices."""
        col, row = rings.vertices & LOW, rings.vertices >> ROW
        return col / self._steps, row / self._steps


def _summed(rings: Rings, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over each feature, of the way from each vertex to the next."""
    steps = np.append(steps, 0.0)
    steps[rings.stops - 1] = 0.0  # from one ring to the next
    ends = np.concatenate([[0.0], np.cumsum(steps)])
    stops = rings.stops[rings.part_stops[rings.feature_stops - 1] - 1]
    return np.diff(ends[np.concatenate([[0], stops])])


def _degrees(crs: pyproj.CRS) -> float:
    """Degrees in a unit of a geographic CRS."""
    return math.degrees(crs.axis_info[0].unit_conversion_factor or math.radians(1))
