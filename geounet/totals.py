"""Pixels and areas of each class, counted strip by strip."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from odc.geo.geobox import GeoBox

from geounet.area import PixelAreas
from geounet.classes import ClassScheme
from geounet.report import ClassTotal
from geounet.stitch import Strip


class Totals:
    """Accumulates over the strips of a scene."""

    def __init__(self, scheme: ClassScheme, geobox: GeoBox) -> None:
        self._scheme, self._areas_of = scheme, PixelAreas(geobox)
        self._placed = geobox.crs is not None
        self._pixels = dict.fromkeys(scheme.codes, 0)
        self._areas = dict.fromkeys(scheme.codes, 0.0)

    @property
    def valid_pixels(self) -> int:
        """Pixels that got a class."""
        return sum(self._pixels.values())

    def add(self, strip: Strip) -> None:
        """Count a strip."""
        areas = self._areas_of(strip.window)
        for code in self._scheme.codes:
            hit = strip.labels == code
            counts = np.count_nonzero(hit, axis=1)
            self._pixels[code] += int(counts.sum())
            if areas is not None and counts.any():
                by_row = areas.shape[1] == 1
                self._areas[code] += float(counts @ areas[:, 0] if by_row else areas[hit].sum())

    def classes(self) -> Mapping[str, ClassTotal]:
        """Class name -> totals, in the order of the scheme; classes without a pixel too."""
        return {
            c.name: ClassTotal(
                pixels=self._pixels[c.code],
                area_m2=round(self._areas[c.code], 2) if self._placed else None,
            )
            for c in self._scheme
        }
