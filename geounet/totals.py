"""Pixels and areas of each class, counted strip by strip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from odc.geo.geobox import GeoBox

from geounet.area import PixelAreas
from geounet.classes import ClassScheme
from geounet.report import ClassTotal
from geounet.stitch import Strip
from geounet.window import Window

PART = 128
"""Rows that are looked at together: their areas take eight bytes a pixel."""


def in_parts(strip: Strip) -> Iterator[Strip]:
    """The strip, cut into lower ones."""
    for start in range(0, strip.window.height, PART):
        rows = slice(start, start + PART)
        labels = strip.labels[rows]
        window = Window(
            row_off=strip.window.row_off + start,
            col_off=strip.window.col_off,
            height=len(labels),
            width=strip.window.width,
        )
        confidence = None if strip.confidence is None else strip.confidence[rows]
        yield Strip(window=window, labels=labels, confidence=confidence)


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
        for part in in_parts(strip):
            codes = part.labels.ravel()
            pixels = np.bincount(codes, minlength=256)
            areas = self._areas_of(part.window)
            for code in self._scheme.codes:
                self._pixels[code] += int(pixels[code])
            if areas is None:
                continue
            each = np.broadcast_to(areas, part.labels.shape).ravel()
            square_metres = np.bincount(codes, weights=each, minlength=256)
            for code in self._scheme.codes:
                self._areas[code] += float(square_metres[code])

    def classes(self) -> Mapping[str, ClassTotal]:
        """Class name -> totals, in the order of the scheme; classes without a pixel too."""
        return {
            c.name: ClassTotal(
                pixels=self._pixels[c.code],
                area_m2=round(self._areas[c.code], 2) if self._placed else None,
            )
            for c in self._scheme
        }
