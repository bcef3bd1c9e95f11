"""Strips of labels into polygons, each as soon as it is closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geounet.area import place
from geounet.errors import OptionError
from geounet.polygonize.drain import drain
from geounet.polygonize.state import DONE, new_state, with_room
from geounet.polygonize.sweep import sweep


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolygonBatch:
    """Finished polygons, one entry of each array a polygon."""

    geometry: NDArray[Any]
    """shapely polygons: valid, outer ring counter-clockwise, corners only."""
    code: NDArray[np.uint8]
    """Class code."""
    pixels: NDArray[np.int64]
    """Number of pixels."""
    area: NDArray[np.float64] | None
    """Sum of the areas of its pixels; None where no areas were given."""
    confidence: NDArray[np.float64] | None
    """Mean of its pixels; None where no confidence was given."""

    def __len__(self) -> int:
        return len(self.code)


class StripPolygonizer:
    """Turns a raster, given in strips from top to bottom, into the polygons of its labels.

    Law (round trip): ``rasterize(polygonize(x)) == x``, and the polygons do not depend on how the
    rows were cut into strips. Polygons are 4-connected regions of one label, exact along the edges
    of pixels; those that touch only at a corner are apart. Memory holds the front of the sweep and
    the polygons that are still open.

    Args:
        width: Columns of the raster.
        affine: Pixel corners to coordinates.
        nodata: Label that gets no polygon.
    """

    def __init__(self, *, width: int, affine: Affine, nodata: int = 255) -> None:
        if width < 1:
            raise OptionError(f"a raster of {width} columns has no polygons")
        self._width, self._affine, self._nodata = width, affine, nodata
        self._state = new_state(width, nodata)
        self._row = 0
        self._has_area = self._has_confidence = False

    def write(
        self,
        labels: NDArray[np.uint8],
        *,
        areas: NDArray[np.float64] | None = None,
        confidence: NDArray[np.uint8] | None = None,
    ) -> PolygonBatch:
        """Take the next rows and give the polygons that they finish.

        Args:
            labels: (rows, width).
            areas: (rows, width) or (rows, 1), the area of each pixel; given always or never.
            confidence: (rows, width); given always or never.

        Raises:
            OptionError: An array has another shape or type: compiled code would read past its end.
        """
        self._check(labels, areas, confidence)
        none = np.empty((len(labels), 0))
        self._sweep(
            np.ascontiguousarray(labels),
            none if areas is None else np.ascontiguousarray(areas),
            none.astype(np.uint8) if confidence is None else np.ascontiguousarray(confidence),
        )
        self._row += len(labels)
        return self._drain()

    def finish(self) -> PolygonBatch:
        """The polygons that reach the bottom edge."""
        below = np.full((1, self._width), self._nodata, np.uint8)
        none = np.empty((1, 0))
        self._sweep(below, none, none.astype(np.uint8))
        return self._drain()

    def _check(self, labels: Any, areas: Any, confidence: Any) -> None:
        rows, width = len(labels), self._width
        for what, array, dtype, shapes in (
            ("labels", labels, np.uint8, [(rows, width)]),
            ("areas", areas, np.float64, [(rows, width), (rows, 1)]),
            ("confidence", confidence, np.uint8, [(rows, width)]),
        ):
            if array is not None and (array.dtype != dtype or array.shape not in shapes):
                raise OptionError(
                    f"{what} of shape {array.shape} and type {array.dtype} must be"
                    f" {' or '.join(map(str, shapes))}, {np.dtype(dtype)}"
                )
        given = areas is not None, confidence is not None
        if self._row and given != (self._has_area, self._has_confidence):
            raise OptionError("areas and confidence are given for every strip or for none")
        self._has_area, self._has_confidence = given

    def _sweep(
        self, labels: NDArray[np.uint8], areas: NDArray[np.float64], scores: NDArray[np.uint8]
    ) -> None:
        done = 0
        while done < len(labels):
            done = sweep(self._state, labels, areas, scores, self._row, self._nodata, done)
            if done < len(labels):
                self._state = with_room(self._state, self._width)

    def _drain(self) -> PolygonBatch:
        if not self._state.counts[DONE]:
            return self._batch(np.empty(0, object), *_NOTHING)
        coords, ring_stop, region_stop, code, pixels, area, score = drain(self._state)
        geometry = _polygons(self._place(coords), ring_stop, region_stop)
        if self._affine.determinant > 0:  # rows grow northwards: the sweep's turns are mirrored
            geometry = shapely.reverse(geometry)
        return self._batch(geometry, code, pixels, area, score)

    def _batch(self, geometry: Any, code: Any, pixels: Any, area: Any, score: Any) -> PolygonBatch:
        return PolygonBatch(
            geometry=geometry,
            code=code,
            pixels=pixels,
            area=area if self._has_area else None,
            confidence=score / pixels if self._has_confidence else None,
        )

    def _place(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(place(self._affine, corners[:, 0], corners[:, 1]), axis=1)


_NOTHING = (np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0), np.empty(0))


def _polygons(
    coords: NDArray[np.float64], ring_stop: NDArray[np.int64], region_stop: NDArray[np.int64]
) -> NDArray[Any]:
    """Shapely polygons of flat rings, the outer one first in each region."""
    ring_of = np.repeat(np.arange(len(ring_stop)), np.diff(ring_stop, prepend=0))
    rings = shapely.linearrings(coords, indices=ring_of)
    region_of = np.repeat(np.arange(len(region_stop)), np.diff(region_stop, prepend=0))
    return np.asarray(shapely.polygons(rings, indices=region_of))
