"""Small components and small holes taken out of a raster of labels, strip by strip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.polygonize.corners import OUTSIDE
from geounet.polygonize.held import Strip, check_strip
from geounet.polygonize.holes import Holes
from geounet.polygonize.merging import Merging
from geounet.polygonize.pixelunits import UNITS, PixelUnits
from geounet.polygonize.sifting import Sifting


class Sieve:
    """Strips of labels in, strips of labels out, without small components and holes.
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
        units = PixelUnits(geobox)
        self._width, self._nodata = geobox.shape[1], nodata
        self._stages: list[Sifting] = []
        if min_area > 0:
            limit = units.units(min_area)
            merging = Merging(limit, (limit / UNITS) ** 0.5, diagonal=diagonal)
            self._stages.append(Sifting(merging, units, geobox.shape))
        if max_hole > 0:
            limit = units.units(max_hole)
            holes = Holes(limit, (limit / UNITS) ** 0.5, units.least)
            self._stages.append(Sifting(holes, units, geobox.shape))

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
