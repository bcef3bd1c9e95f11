"""Small components and small holes taken out of a raster of labels, strip by strip."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.errors import OptionError
from geounet.polygonize.corners import OUTSIDE
from geounet.polygonize.held import Strip, check_strip
from geounet.polygonize.holes import Holes
from geounet.polygonize.merging import Merging
from geounet.polygonize.pixelunits import UNITS, PixelUnits
from geounet.polygonize.sifting import Sifting


class Sieve:
    """Strips of labels in, strips of labels out, without small components and small holes.

    A *component* is a connected set of pixels of one label: by sides, or by corners too. Nodata is
    none, it never changes for ``min_area``, and nothing is merged into it.

    ``min_area`` first: a component below it takes the label of its largest neighbour across sides
    of pixels. Areas are compared up to 16 times the limit, in sixteenths of a pixel; among equal
    ones the label with the longer common border is taken, then the lower code. Small components
    that touch each other are a cluster: the smallest of it goes first (of equal ones the one with
    the first pixel from the top left), with its new label it becomes one with all around it that
    have the label, their areas add up, and so on until none is below the limit. Components at the
    limit or above keep their pixels and, for all that is merged around them, the area they had. A
    component, or what a cluster has become, with nothing around it but nodata and the edge of the
    raster is dropped: it becomes nodata.

    Then ``max_hole``: a hole is a piece, connected by sides or corners, of all that is not of a
    component, which does not touch the edge of the raster. Up to that area it gets the label of
    the component, whatever is in it, nodata and other components too; of holes in holes the
    outermost counts. What counts is the hole of a polygon: components are connected by sides here,
    whatever ``diagonal`` says. Nodata around something makes it no hole.

    Law (none left): no component below ``min_area`` is left, and no hole up to ``max_hole``, but
    those too tall.

    Law (strips): what comes out does not depend on how the rows were cut into strips.

    Law (memory): the rows that are held back depend on the limits, not on the height of the
    raster. A cluster is resolved when all of it is known, and the areas around it; mostly after
    some ten rows. One that goes on for more than T = max(256, 16 s) rows, s the side in pixels of
    a square as large as ``min_area``, is cut: it is resolved at the next multiple of 64 rows from
    the top of the raster. Components that end there are merged with areas as they are so far; one
    that may go on below takes in others, and is merged when it ends if it is still too small. So
    at most max(T, n) + 64 rows are held, n the pixels of ``min_area`` (a line one pixel wide).
    Holes taller than max(256, 4 s) rows, s likewise for ``max_hole``, stay: up to 64 rows more
    than these are held for them.

    Args:
        geobox: The grid. With a CRS areas are square metres, of
            :class:`~geounet.area.PixelAreas`, without one pixels.
        nodata: Label that means nodata, if any.
        min_area: Components below it are merged; 0: none.
        max_hole: Holes up to it are filled; 0: none.
        diagonal: Whether pixels that touch at a corner are of one component (8-connectivity).

    Raises:
        OptionError: A limit is negative or no number.
    """

    def __init__(
        self,
        *,
        geobox: GeoBox,
        nodata: int | None,
        min_area: float = 0.0,
        max_hole: float = 0.0,
        diagonal: bool = False,
    ) -> None:
        for name, limit in (("min_area", min_area), ("max_hole", max_hole)):
            if not limit >= 0:
                raise OptionError(f"{name} is {limit}: it must be 0 or more")
        units = PixelUnits(geobox)
        height, self._width = geobox.shape
        self._nodata = nodata
        self._confidence: bool | None = None
        self._stages: list[Sifting] = []
        if min_area > 0:
            below = units.units(min_area)
            merging = Merging(below, math.sqrt(below / UNITS), diagonal=diagonal)
            self._stages.append(Sifting(merging, units, (height, self._width)))
        if max_hole > 0:
            most = units.units(max_hole)
            holes = Holes(most, math.sqrt(most / UNITS), units.least)
            self._stages.append(Sifting(holes, units, (height, self._width)))

    @property
    def nodata(self) -> int:
        """Label of nodata in what it gives, whatever it is in what it takes."""
        return OUTSIDE

    @property
    def rows(self) -> int:
        """How many rows are held back."""
        return sum(stage.rows for stage in self._stages)

    def add(
        self, labels: NDArray[np.integer[Any]], confidence: NDArray[np.uint8] | None
    ) -> Iterator[Strip]:
        """Take the next rows and give those that are settled (to be exhausted).

        Args:
            labels: (rows, width), values from -2**31 + 1 to 2**31 - 1.
            confidence: (rows, width), for every strip or for none.

        Raises:
            OptionError: An array has another shape or type, or there are too many rows.
        """
        check_strip(labels, confidence, self._width)
        if self._confidence not in (None, confidence is not None):
            raise OptionError("confidence is given for every strip or for none")
        self._confidence = confidence is not None
        codes = labels.astype(np.int32)
        if self._nodata is not None:
            codes[labels == self._nodata] = OUTSIDE
        yield from _through(self._stages, [(codes, confidence)])

    def rest(self) -> Iterator[Strip]:
        """The rows that are left, once all have been given."""
        for k, stage in enumerate(self._stages):
            yield from _through(self._stages[k + 1 :], stage.rest())


def _through(stages: list[Sifting], strips: Iterable[Strip]) -> Iterator[Strip]:
    if not stages:
        yield from strips
        return
    for labels, confidence in strips:
        yield from _through(stages[1:], stages[0].add(labels, confidence))
