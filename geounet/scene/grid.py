"""The one grid of several files, and how grids compare."""

from __future__ import annotations

import math
from collections.abc import Sequence

from odc.geo.geobox import GeoBox
from rasterio.warp import transform_bounds

from geounet.area import pixel_size_m
from geounet.errors import SceneError

_ROUNDING = 1.05  # of a pixel's side: 10 m in UTM are 9.996 to 10.01 m on the ground
_COARSER = 1.5  # in area; less is rounding


def common_grid(grids: Sequence[GeoBox], wanted: tuple[float, float] | None = None) -> GeoBox:
    """The grid on which files are put side by side.

    The finest whose pixels a model was trained for. Where none is: the finest, with its pixels made
    as much larger as it takes to be in the range, if they are too small for it. Grids that are all
    the same stay as they are, whatever the model.

    Args:
        grids: One a file.
        wanted: Smallest and largest pixel size in metres; None: the finest it is.
    """
    finest = _finest(grids)
    sizes = [pixel_size_m(grid) for grid in grids]
    if wanted is None or None in sizes or all(same(grid, finest) for grid in grids):
        return finest
    low, high = wanted[0] / _ROUNDING, wanted[1] * _ROUNDING
    fit = [g for g, size in zip(grids, sizes, strict=True) if size and low <= size <= high]
    return _finest(fit) if fit else _enlarged(finest, wanted)


def _enlarged(grid: GeoBox, wanted: tuple[float, float]) -> GeoBox:
    """Pixels that are too small, made larger: a whole number of times if the range allows it."""
    size = pixel_size_m(grid) or wanted[0]
    if size >= wanted[0]:
        return grid
    times = math.ceil(wanted[0] / (size * _ROUNDING))
    return grid.zoom_out(times if times * size <= wanted[1] * _ROUNDING else wanted[0] / size)


def _finest(grids: Sequence[GeoBox]) -> GeoBox:
    """The grid with the smallest pixels, measured in the CRS of the first."""
    return min(grids, key=lambda grid: pixel_area(grid, grids[0]))


def is_coarser(grid: GeoBox, than: GeoBox) -> bool:
    """Whether pixels are larger by more than rounding."""
    return pixel_area(grid, than) > pixel_area(than, than) * _COARSER


def pixel_area(grid: GeoBox, like: GeoBox) -> float:
    """Area of a pixel in the CRS of another grid."""
    if grid.crs == like.crs:
        return abs(float(grid.affine.determinant))
    left, bottom, right, top = _bounds(grid, like)
    return (right - left) * (top - bottom) / (grid.width * grid.height)


def pixel_label(grid: GeoBox) -> str:
    """The side of a pixel for a message: in metres, or without a CRS in what the grid counts."""
    size = pixel_size_m(grid)
    if size is None:
        return f"{math.sqrt(pixel_area(grid, grid)):.3g}"
    return f"{size:.3g} m"


def overlap(a: GeoBox, b: GeoBox) -> bool:
    """Whether two grids have some place in common.

    Raises:
        SceneError: No transformation leads from one CRS to the other.
    """
    left, bottom, right, top = _bounds(a, a)
    west, south, east, north = _bounds(b, a)
    return left < east and west < right and bottom < north and south < top


def same(a: GeoBox, b: GeoBox) -> bool:
    """Whether two grids are one, but for rounding."""
    return bool(a.shape == b.shape and a.crs == b.crs and a.affine.almost_equals(b.affine, 1e-9))


def _bounds(grid: GeoBox, like: GeoBox) -> tuple[float, float, float, float]:
    """Left, bottom, right, top of a grid in the CRS of another one."""
    left, bottom, right, top = grid.boundingbox
    if grid.crs is None or like.crs is None or grid.crs == like.crs:
        return left, bottom, right, top
    try:
        found: tuple[float, float, float, float] = transform_bounds(
            grid.crs.to_wkt(), like.crs.to_wkt(), left, bottom, right, top
        )
    except Exception as error:  # rasterio passes on what GDAL and PROJ raise, of many kinds
        line = " ".join(str(error).split())[:160]
        raise SceneError(
            f"{like.crs} and {grid.crs} have no place in common ({line}): are the files of one"
            " scene?"
        ) from error
    return found
