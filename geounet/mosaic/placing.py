"""Where a class map lies in the grid of a mosaic, and its pixels there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.area import place
from geounet.classes import NODATA
from geounet.errors import SceneError
from geounet.mosaic.maps import ClassMap
from geounet.outline import TURN, bounds, outline
from geounet.samegrid import GRID_TOLERANCE, same_crs
from geounet.scene import GeoTIFFScene
from geounet.window import Window


class PlacedMap:
    """The pixels of a class map on the pixels of a grid.

    Where both are the same pixels, they are copied; else each pixel of the grid has the class of
    the nearest one of the map. Labels are never mixed. The file is open from the first :meth:`read`
    to :meth:`close`, and is opened again by a later read.

    Law: what is read does not depend on where the grid begins and ends.

    Args:
        source: The map.
        grid: The grid.

    Raises:
        SceneError: The map does not lie where the grid's CRS has coordinates.
    """

    def __init__(self, source: ClassMap, grid: GeoBox) -> None:
        own = source.info.geobox
        if (own.crs is None) is not (grid.crs is None):
            raise SceneError(
                f"the grid and {source.path} must both have a CRS, or none: set it with"
                " gdal_edit.py -a_srs"
            )
        self.source, self._codes = source, np.zeros(256, bool)
        self._codes[[*source.classes.codes, NODATA]] = True
        ring = outline(own, grid.crs, source.path)
        moved = _turned(ring, grid)
        same = _same_pixels(own, grid, moved)
        self.is_copied = same is not None
        """Whether its pixels are those of the grid."""
        self.window = same or box_in(grid, moved).grow(1)
        """Its place in the grid, which may lie in part or as a whole outside."""
        there = None
        if not self.is_copied:
            shift = (ring - moved)[0, 0]
            corner = grid.translate_pix(self.window.col_off, self.window.row_off).affine
            shape = (self.window.height, self.window.width)
            there = GeoBox(shape, corner.translation(shift, 0) @ corner, grid.crs)
        self._scene = GeoTIFFScene(source.path, grid=there, nearest=True)

    def __repr__(self) -> str:
        return f"PlacedMap({self.source.path!r}, {self.window})"

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Labels (rows, columns) of a window of the grid that lies in :attr:`window`.

        Raises:
            SceneError: The file cannot be read, or holds a code that its classes do not name.
        """
        raster = self._scene.read(window.relative_to(self.window), [self._band])
        labels: NDArray[Any] = raster.data[0]
        labels[~raster.valid] = NODATA
        known = self._codes[labels]
        if not known.all():
            raise SceneError(
                f"{self.source.path} holds the code {labels[~known].min()}, which is none of its"
                f" classes ({self.source.classes}): reclassify it, or mend its tags"
            )
        return labels

    def close(self) -> None:
        """Close the file."""
        self._scene.close()

    @property
    def _band(self) -> int:
        return 1 + [band.is_alpha for band in self.source.info.bands].index(False)


def box_in(lattice: GeoBox, points: NDArray[np.float64]) -> Window:
    """The pixels of a lattice between which points (2, n) lie, but for rounding."""
    left, top, right, bottom = bounds(np.stack(place(~lattice.affine, *points)))
    return Window.between(
        math.floor(top + GRID_TOLERANCE),
        math.floor(left + GRID_TOLERANCE),
        math.ceil(bottom - GRID_TOLERANCE),
        math.ceil(right - GRID_TOLERANCE),
    )


def _turned(ring: NDArray[np.float64], grid: GeoBox) -> NDArray[np.float64]:
    """In degrees: the same place, counted so that it lies nearest to the grid."""
    if grid.crs is None or not grid.crs.geographic:
        return ring
    box = grid.boundingbox
    middles = (box.left + box.right) / 2, (ring[0].min() + ring[0].max()) / 2
    moved = ring.copy()
    moved[0] += TURN * round((middles[0] - middles[1]) / TURN)
    return moved


def _same_pixels(own: GeoBox, grid: GeoBox, ring: NDArray[np.float64]) -> Window | None:
    """Where the pixels of a map are, if they are those of the grid.

    Args:
        own: The map's grid.
        grid: The mosaic's.
        ring: The border of the map in the mosaic's CRS.
    """
    if own.crs is not None and grid.crs is not None and not same_crs(own.crs, grid.crs):
        return None
    col, row = place(~grid.affine, *ring)
    n, (height, width) = (len(col) - 1) // 4, own.shape
    corner = Window(
        row_off=round(float(row[0])), col_off=round(float(col[0])), height=height, width=width
    )
    found = zip(col[::n].tolist(), row[::n].tolist(), strict=True)
    wanted = [
        (corner.col_off, corner.row_off),
        (corner.col_end, corner.row_off),
        (corner.col_end, corner.row_end),
        (corner.col_off, corner.row_end),
        (corner.col_off, corner.row_off),
    ]
    far = max(math.dist(a, b) for a, b in zip(found, wanted, strict=True))
    return corner if far <= GRID_TOLERANCE else None
