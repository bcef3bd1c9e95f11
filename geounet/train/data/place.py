"""What lies on the same ground stays together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import shapely
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from scipy.cluster.hierarchy import DisjointSet

from geounet.window import Window


def wkt(grid: GeoBox) -> str:
    """The CRS of a grid; empty where it has none."""
    return "" if grid.crs is None else grid.crs.to_wkt()


def footprints(parts: Sequence[tuple[GeoBox, Window]]) -> list[Any]:
    """Polygons of windows of grids in one CRS, a pixel smaller on each side.

    Neighbours whose grids differ by rounding, or by a row, are no overlap.
    """
    crs = {wkt(grid) for grid, _ in parts}
    shapes = []
    for grid, window in parts:
        inner = window.grow(-1) if min(window.height, window.width) > 2 else window
        shape = grid[inner.slices].extent.geom
        shapes.append(shape if len(crs) == 1 else _in_degrees(shape, wkt(grid)))
    return shapes


def _in_degrees(shape: Any, crs: str) -> Any:
    """Longitude and latitude; edges that are straight in one CRS are not in another."""
    to = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    bent = shapely.segmentize(shape, shape.length / 32)
    return shapely.transform(bent, to.transform, interleaved=False)


def overlaps(shapes: Sequence[Any]) -> list[tuple[int, int]]:
    """Pairs of polygons that have some ground in common, each pair once."""
    if not shapes:
        return []
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    return [(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True) if a < b]


def clusters(shapes: Sequence[Any]) -> list[list[int]]:
    """Indices of polygons that overlap, directly or through others."""
    return grouped(len(shapes), overlaps(shapes))


def grouped(count: int, together: Iterable[Sequence[int]]) -> list[list[int]]:
    """Indices 0 to ``count`` in groups, in order of the first; each of ``together`` is in one."""
    groups = DisjointSet(range(count))
    for ones in together:
        for other in ones[1:]:
            groups.merge(ones[0], other)
    return [sorted(group) for group in groups.subsets()]
