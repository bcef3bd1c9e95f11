"""Pixels and areas of each class, counted strip by strip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.area import PixelAreas
from geounet.classes import ClassScheme
from geounet.report import ClassTotal
from geounet.stitch import Strip
from geounet.window import Window

PART = 256
"""Rows that are looked at together: few enough for a core's own cache."""


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
        corner = self._areas_of(Window(row_off=0, col_off=0, height=1, width=2))
        self._alike = corner is None or corner.shape[1] == 1
        self._pixels = dict.fromkeys(scheme.codes, 0)
        self._areas = dict.fromkeys(scheme.codes, 0.0)

    @property
    def valid_pixels(self) -> int:
        """Pixels that got a class."""
        return sum(self._pixels.values())

    def add(self, strip: Strip) -> None:
        """Count a strip."""
        for part in in_parts(strip):
            if self._alike:
                self._add_alike(part)
            else:
                self._add_smooth(part)

    def _add_alike(self, part: Strip) -> None:
        """Where all pixels of a row have one area, or none."""
        areas = self._areas_of(part.window)
        each = np.zeros(part.window.height) if areas is None else areas[:, 0]
        for code, mask in _masks(part.labels, self._scheme.codes):
            # a row at a time is ten times faster than numpy along an axis
            rows = np.fromiter(map(np.count_nonzero, mask), np.int64, len(mask))
            self._pixels[code] += int(rows.sum())
            self._areas[code] += float(rows @ each)

    def _add_smooth(self, part: Strip) -> None:
        """Where areas are linear from row to row, but for a few rows."""
        for start, stop in self._pieces(part.window):
            labels = part.labels[start - part.window.row_off : stop - part.window.row_off]
            first, last = (self._line(part.window, row) for row in (start, stop - 1))
            slope = (last - first) / max(1, stop - 1 - start)
            weights = np.stack([np.ones(len(labels)), np.arange(len(labels))]).astype(np.float32)
            for code, mask in _masks(labels, self._scheme.codes):
                # whole numbers below 2**24, which float32 holds; einsum is as fast as BLAS here
                count, moment = np.einsum("kr,rc->kc", weights, mask.astype(np.float32)).astype(
                    np.float64
                )
                self._pixels[code] += int(count.sum())
                self._areas[code] += float(count @ first + moment @ slope)

    def _pieces(self, window: Window) -> Iterator[tuple[int, int]]:
        """Rows between which areas are linear."""
        knot = self._areas_of.knot
        cuts = range(window.row_off // knot * knot + knot, window.row_end, knot)
        yield from pairwise([window.row_off, *cuts, window.row_end])

    def _line(self, window: Window, row: int) -> NDArray[np.float64]:
        """(columns,) areas of the pixels of a row."""
        line = Window(row_off=row, col_off=window.col_off, height=1, width=window.width)
        areas = self._areas_of(line)
        assert areas is not None  # noqa: S101  for the type checker
        row_of_areas: NDArray[np.float64] = areas[0]
        return row_of_areas

    def classes(self) -> Mapping[str, ClassTotal]:
        """Class name -> totals, in the order of the scheme; classes without a pixel too."""
        return {
            c.name: ClassTotal(
                pixels=self._pixels[c.code],
                area_m2=round(self._areas[c.code], 2) if self._placed else None,
            )
            for c in self._scheme
        }


def _masks(
    labels: NDArray[np.uint8], codes: Iterable[int]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Where each class is that is there."""
    for code in codes:
        mask = labels == code
        if mask.any():
            yield code, mask
