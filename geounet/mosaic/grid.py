"""The one grid of a mosaic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geounet.area import pixel_size_m
from geounet.errors import OptionError
from geounet.mosaic.maps import ClassMap
from geounet.mosaic.placing import box_in
from geounet.outline import TURN, bounds, outline
from geounet.samegrid import same_crs
from geounet.scene import GeoTIFFScene
from geounet.window import Window

_ROUNDING = 0.05
"""Of a pixel's side: 10 m in UTM are 9.996 to 10.01 m on the ground."""

_LARGEST = (1 << 31) - 1
"""Rows or columns of a GeoTIFF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridChoice:
    """What was asked for; nothing: the grid that suits the maps."""

    like: str | None = None
    """A raster whose grid it is."""
    crs: str | None = None
    """EPSG code (``3035`` or ``EPSG:3035``), or WKT."""
    resolution: float | None = None
    """Side of a pixel, in units of the CRS; pixels then begin at whole multiples of it."""

    def __post_init__(self) -> None:
        if self.like is not None and (self.crs is not None or self.resolution is not None):
            raise OptionError("--grid says all of the grid: leave out --crs and --resolution")
        if self.resolution is not None and not 0 < self.resolution < float("inf"):
            raise OptionError(f"--resolution {self.resolution:g}: give a number above 0")


def choose_grid(maps: Sequence[ClassMap], choice: GridChoice | None = None) -> GeoBox:
    """The grid on which maps are put together.

    Where nothing is asked for: the CRS that most maps have, or of equals the first; the finest
    resolution of any; the pixels of the first of the finest maps in that CRS; the extent of all. In
    degrees it runs on over the antimeridian if that makes it narrower.

    Raises:
        OptionError: There is no such CRS, or the grid would be too large for a file.
        SceneError: A map does not lie where the CRS has coordinates, or the raster asked for cannot
            be read.
    """
    choice = choice or GridChoice()
    if choice.like is not None:
        with closing(GeoTIFFScene(choice.like)) as scene:
            return scene.info.geobox
    crs = _asked_crs(choice.crs, maps) or _commonest([one.info.geobox.crs for one in maps])
    lattice = _lattice(maps, crs, choice.resolution)
    return _over(maps, lattice)


def _asked_crs(text: str | None, maps: Sequence[ClassMap]) -> CRS | None:
    if text is None:
        return None
    if maps[0].info.geobox.crs is None:
        raise OptionError(f"--crs {text}: {maps[0].path} has no CRS to come from")
    try:
        return CRS(f"EPSG:{text}" if text.strip().isdigit() else text)
    except Exception as error:  # odc-geo and pyproj raise many kinds
        raise OptionError(f"--crs {text}: no CRS of that name; write it as EPSG:3035") from error


def _commonest(all_crs: Sequence[CRS | None]) -> CRS | None:
    counts = Counter(all_crs)
    return max(all_crs, key=lambda crs: counts[crs])


def _lattice(maps: Sequence[ClassMap], crs: CRS | None, resolution: float | None) -> GeoBox:
    """Pixels, endless in all directions: any grid that has them."""
    if resolution is not None:
        return GeoBox((1, 1), Affine(resolution, 0, 0, 0, -resolution, 0), crs)
    sized = [(one, _size(one.info.geobox)) for one in maps]
    finest, size = min(sized, key=lambda pair: pair[1])
    there = [pair for pair in sized if _is_in(pair[0].info.geobox, crs)]
    if crs is not None and not there:
        return _rounded(finest, crs)
    least = min(side for _, side in there)
    first, side = next(pair for pair in there if pair[1] <= least * (1 + _ROUNDING))
    ratio, whole = size / side, round(side / size)
    if ratio > 1 - _ROUNDING:
        return first.info.geobox
    exact = abs(whole * ratio - 1) < _ROUNDING
    return first.info.geobox.zoom_out(1 / whole if exact else ratio)


def _is_in(geobox: GeoBox, crs: CRS | None) -> bool:
    if geobox.crs is None or crs is None:
        return geobox.crs is crs
    return same_crs(geobox.crs, crs)


def _rounded(finest: ClassMap, crs: CRS) -> GeoBox:
    """Pixels as large as those in the middle of a map of another CRS, with a side of few digits."""
    grid = finest.info.geobox
    row, col = grid.shape[0] // 2, grid.shape[1] // 2
    x, y = outline(grid[row : row + 1, col : col + 1], crs, finest.path)
    area = abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1])) / 2
    side = float(f"{area**0.5:.2g}")
    return GeoBox((1, 1), Affine(side, 0, 0, 0, -side, 0), crs)


def _size(geobox: GeoBox) -> float:
    """Side of a pixel, in metres where there is a CRS."""
    size = pixel_size_m(geobox)
    return abs(float(geobox.affine.determinant)) ** 0.5 if size is None else size


def _over(maps: Sequence[ClassMap], lattice: GeoBox) -> GeoBox:
    """The part of the lattice that holds all maps."""
    points = [outline(one.info.geobox, lattice.crs, one.path) for one in maps]
    if lattice.crs is not None and lattice.crs.geographic:
        spans = [bounds(p)[::2] for p in points]
        for ring, turns in zip(points, _turns(spans), strict=True):
            ring[0] += turns * TURN
    boxes = [box_in(lattice, ring) for ring in points]
    window = Window.between(
        min(b.row_off for b in boxes),
        min(b.col_off for b in boxes),
        max(b.row_end for b in boxes),
        max(b.col_end for b in boxes),
    )
    if max(window.height, window.width) > _LARGEST:
        raise OptionError(
            f"the maps lie so far apart that the mosaic would have {window.width} x"
            f" {window.height} pixels: put fewer together, or give --resolution or --grid"
        )
    moved = lattice.translate_pix(window.col_off, window.row_off)
    return GeoBox((window.height, window.width), moved.affine, lattice.crs)


def _turns(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Whole turns to add to each range of longitudes, so that all together are narrowest.

    A range keeps its numbers where that is as narrow as anything else.
    """
    if max(right for _, right in spans) - min(left for left, _ in spans) <= TURN / 2:
        return [0] * len(spans)
    base = [-int((left + TURN / 2) // TURN) for left, _ in spans]
    plain = [
        (left + n * TURN, right + n * TURN) for n, (left, right) in zip(base, spans, strict=True)
    ]

    def width(cut: float) -> float:
        return max(right + TURN * (left < cut) for left, right in plain) - cut

    cut = min(sorted(left for left, _ in plain), key=lambda left: round(width(left), 6))
    return [n + (left < cut) for n, (left, _) in zip(base, plain, strict=True)]
