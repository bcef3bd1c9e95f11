"""Where the valid pixels of a raster lie on the globe."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.area import place
from geounet.outline import TURN, unrolled
from geounet.scene import SceneReader
from geounet.window import Window

_STRIP_PIXELS = 4 << 20
_SIDES = 64
"""Into at least so many parts is a diagonal cut, so that straight sides become curves."""

_STRAIGHT = 2.0**-15
"""Share of the diagonal by which a corner may be off the line of its neighbours to be left out."""

_DIGITS = 7
"""Of a degree: a centimetre."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Geometry and box of an item."""

    geometry: dict[str, Any]
    """GeoJSON Polygon, or MultiPolygon where it is cut at the antimeridian."""
    bbox: list[float]
    """West, south, east, north; west > east where it crosses the antimeridian (RFC 7946, 5.2)."""


def footprint_of(scene: SceneReader) -> Footprint | None:
    """The convex hull of the valid pixels, in longitude and latitude (WGS 84).

    All pixels are read, strip by strip. Memory: a strip, and four corners a row. Of a raster
    without a valid pixel it is that of the whole; None without a CRS.
    """
    grid = scene.info.geobox
    if grid.crs is None:
        return None
    corners = np.concatenate([*_corners(scene), np.empty((0, 2))])
    if not len(corners):
        height, width = grid.shape
        corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    ring = shapely.MultiPoint(corners).convex_hull.exterior
    x, y = place(grid.affine, *shapely.get_coordinates(ring).T)
    line = shapely.LineString(np.stack([x, y], axis=1))
    left, bottom, right, top = line.bounds
    line = shapely.segmentize(line, math.hypot(right - left, top - bottom) / _SIDES)
    return _on_globe(unrolled(*_degrees(grid, shapely.get_coordinates(line).T)))


def _corners(scene: SceneReader) -> Iterator[NDArray[np.float64]]:
    """Corners (n, 2), columns and rows, of the first and the last valid pixel of each row."""
    info = scene.info
    block = max(1, info.block[0])
    rows = max(1, _STRIP_PIXELS // info.width // block) * block
    for top in range(0, info.height, rows):
        height = min(rows, info.height - top)
        window = Window(row_off=top, col_off=0, height=height, width=info.width)
        valid = scene.read(window, [1]).valid
        row = np.flatnonzero(valid.any(axis=1))
        first = valid[row].argmax(axis=1)
        last = info.width - valid[row, ::-1].argmax(axis=1)
        for col in (first, last):
            for down in (0, 1):
                yield np.stack([col, top + row + down], axis=1).astype(float)


def _degrees(grid: GeoBox, points: NDArray[np.float64]) -> tuple[Any, Any]:
    assert grid.crs is not None  # noqa: S101  for the type checker
    transformer = pyproj.Transformer.from_crs(grid.crs.to_wkt(), "EPSG:4326", always_xy=True)
    x, y = transformer.transform(*points)
    on_earth = np.isfinite(x) & np.isfinite(y)
    x, y = x[on_earth], y[on_earth]
    return np.append(x, x[:1]), np.append(y, y[:1])


def _on_globe(ring: NDArray[np.float64]) -> Footprint | None:
    """A ring whose longitudes run on, cut at the antimeridian."""
    if ring.shape[1] < 4:
        return None
    whole = shapely.make_valid(shapely.Polygon(ring.T))
    west, south, east, north = whole.bounds
    slack = math.hypot(east - west, north - south) * _STRAIGHT
    turns = range(math.floor((west + TURN / 2) / TURN), math.ceil((east + TURN / 2) / TURN))
    pieces = []
    for turn in turns:
        middle = turn * TURN
        part = whole.intersection(shapely.box(middle - TURN / 2, -90, middle + TURN / 2, 90))
        polygons = [p for p in shapely.get_parts(part) if p.geom_type == "Polygon" and p.area > 0]
        pieces += [shapely.transform(p, lambda xy, m=middle: xy - (m, 0)) for p in polygons]
    if east - west >= TURN:
        west, east = -TURN / 2, TURN / 2
    elif len(turns) == 1:
        west, east = (lon - turns[0] * TURN for lon in (west, east))
    else:
        west, east = west - turns[0] * TURN, east - turns[-1] * TURN
    shape = pieces[0] if len(pieces) == 1 else shapely.MultiPolygon(pieces)
    shape = shapely.simplify(shape, slack)
    shape = shapely.orient_polygons(shapely.set_precision(shape, 10.0**-_DIGITS))
    return Footprint(
        geometry=_plain(shapely.geometry.mapping(shape)),
        bbox=[round(value, _DIGITS) for value in (west, south, east, north)],
    )


def _plain(mapping: dict[str, Any]) -> dict[str, Any]:
    """Lists and rounded numbers."""

    def listed(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return [listed(one) for one in value]
        return round(float(value), _DIGITS)

    return {"type": mapping["type"], "coordinates": listed(mapping["coordinates"])}
