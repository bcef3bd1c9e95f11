"""Pixels and areas of each class, counted strip by strip."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from odc.geo.geobox import GeoBox

from geounet.area import pixel_area_rows
from geounet.classes import ClassScheme
from geounet.report import ClassTotal
from geounet.stitch import Strip


class Totals:
    """Accumulates over the strips of a scene."""

    def __init__(self, scheme: ClassScheme, geobox: GeoBox) -> None:
        self._scheme, self._geobox = scheme, geobox
        self._pixels = dict.fromkeys(scheme.codes, 0)
        self._areas = dict.fromkeys(scheme.codes, 0.0)

    @property
    def valid_pixels(self) -> int:
        """Pixels that got a class."""
        return sum(self._pixels.values())

    def add(self, strip: Strip) -> None:
        """Count a strip."""
        window = strip.window
        rows = pixel_area_rows(self._geobox, window.row_off, window.row_end)
        for code in self._scheme.codes:
            counts = np.count_nonzero(strip.labels == code, axis=1)
            self._pixels[code] += int(counts.sum())
            if rows is not None:
                self._areas[code] += float(counts @ rows)

    def classes(self) -> Mapping[str, ClassTotal]:
        """Class name -> totals, in the order of the scheme; classes without a pixel too."""
        placed = self._geobox.crs is not None
        return {
            c.name: ClassTotal(
                pixels=self._pixels[c.code], area_m2=self._areas[c.code] if placed else None
            )
            for c in self._scheme
        }
