"""The strips of a mosaic, top to bottom."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.classes import NODATA
from geounet.mosaic.edges import Edges, take_farther
from geounet.mosaic.placing import PlacedMap
from geounet.stitch import Strip
from geounet.window import Window

_ROWS = 512
"""Of a strip: a row of blocks of our class maps."""

_WIDE = 1 << 15
"""Columns beyond which strips are lower, for the memory's sake."""


class Mosaic:
    """Joins maps on one grid: seams by distance to edge.

    A pixel takes the class of the map in which it is farther from the nearest pixel that is not
    valid, in the units of the grid; what lies outside of a map is not valid. So a valid pixel beats
    nodata. Of equally far ones the first map's is taken.

    Law: the result depends neither on how strips are cut, nor on the order of the maps but for such
    ties, nor on where the grid begins and ends.

    Memory: a strip of the grid at 9 bytes a pixel, a strip of one map at 5, and for each map that
    overlaps another and lies in the strip 8 bytes a column and strip. Only those maps are open.

    Args:
        maps: In order of preference.
        grid: Of the mosaic.
        rows: Of a strip; None: as suits the blocks of the files and the memory.
    """

    def __init__(self, maps: Sequence[PlacedMap], grid: GeoBox, *, rows: int | None = None) -> None:
        self._maps, self._grid = maps, grid
        self._rows = rows or max(64, min(_ROWS, _ROWS * _WIDE // grid.width))
        affine = grid.affine
        size = math.hypot(affine.a, affine.d), math.hypot(affine.b, affine.e)
        ratio = size[1] / size[0]
        self._square = 1.0 if math.isclose(ratio, 1, rel_tol=1e-9) else ratio * ratio
        self._edges: dict[PlacedMap, Edges] = {}

    def strips(self) -> Iterator[Strip]:
        """The strips.

        Raises:
            SceneError: A map cannot be read.
        """
        height, width = self._grid.shape
        try:
            for top in range(0, height, self._rows):
                window = Window.between(top, 0, min(top + self._rows, height), width)
                yield Strip(window=window, labels=self._joined(window), confidence=None)
                self._let_go(window.row_end)
        finally:
            self._let_go(height)

    def _joined(self, strip: Window) -> NDArray[np.uint8]:
        out = np.full((strip.height, strip.width), NODATA, np.uint8)
        here = [one for one in self._maps if one.window.intersect(strip).size]
        contested = [one for one in here if _meets_another(one, here, strip)]
        best = np.zeros(out.shape, np.float64) if contested else None
        for one in here:
            part = one.window.intersect(strip)
            to = part.relative_to(strip).slices
            if best is None or one not in contested:
                labels = one.read(part)
                np.copyto(out[to], labels, where=labels != NODATA)
            else:
                self._compete(one, strip, out[to], best[to])
        return out

    def _compete(
        self, one: PlacedMap, strip: Window, out: NDArray[np.uint8], best: NDArray[np.float64]
    ) -> None:
        """A map that overlaps others, over its whole width."""
        if one not in self._edges:
            self._edges[one] = Edges(one.read(band) for band in self._bands(one))
        first = one.window.row_off // self._rows
        number = strip.row_off // self._rows - first
        band = self._bands(one)[number]
        take_farther(
            one.read(band),
            band.row_off - one.window.row_off,
            self._edges[one].around(number),
            one.window.intersect(strip).relative_to(band),
            out,
            best,
            square=self._square,
        )

    def _bands(self, one: PlacedMap) -> list[Window]:
        """A map, cut where strips are cut, above and below the grid, too."""
        window, rows = one.window, self._rows
        return [
            window.intersect(Window.between(top, window.col_off, top + rows, window.col_end))
            for top in range(window.row_off // rows * rows, window.row_end, rows)
        ]

    def _let_go(self, row: int) -> None:
        """Of maps that end above a row."""
        for one in self._maps:
            if one.window.row_end <= row or row >= self._grid.height:
                self._edges.pop(one, None)
                one.close()


def _meets_another(one: PlacedMap, others: Sequence[PlacedMap], strip: Window) -> bool:
    here = one.window.intersect(strip)
    return any(other is not one and here.intersect(other.window).size for other in others)
