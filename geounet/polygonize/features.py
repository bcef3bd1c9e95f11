"""Complete features into batches of polygons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.band import Rings
from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.corners import ROW
from geounet.polygonize.meridian import NO_CUT, Meridian
from geounet.polygonize.perimeters import Perimeters
from geounet.polygonize.rings import LOW
from geounet.polygonize.smoothing import smoothed
from geounet.polygonize.tracing import FINE, PLACES, Tracing
from geounet.polygonize.wkb import wkb_offsets, write_features


class Features:
    """Makes the geometry and the columns of features; may be used by several threads at once.

    Args:
        tracing: What is traced, and what is told of it.
        meridian: Where it is cut.
    """

    def __init__(self, tracing: Tracing, meridian: Meridian | None = None) -> None:
        self._tracing, self._meridian = tracing, meridian
        self._eastings = np.empty(0) if meridian is None else meridian.eastings
        self._cut = NO_CUT if meridian is None else meridian.cut
        self._steps = steps = FINE if tracing.smooth else 1
        # a power of two, so that coordinates are the same to the last bit
        self._affine = np.array(tracing.geobox.affine[:6], np.float64) / (2 * [steps, steps, 1])
        self._multi = tracing.multi
        placed = tracing.geobox.crs is not None
        self._perimeters = Perimeters(tracing.geobox, steps, meridian) if placed else None

    def batches(self, rings: Rings) -> list[PolygonBatch]:
        """A batch of these features, if there are any."""
        if not len(rings.label):
            return []
        if self._tracing.smooth:
            height, width = self._tracing.geobox.shape
            size, simplified = (height, width + (self._cut != NO_CUT)), self._tracing.simplify
            rings = smoothed(rings, size, simplified=simplified is not None, cut=self._cut)
        multi = self._multi
        ends = rings.part_stops, rings.feature_stops
        offsets = wkb_offsets(rings.stops, *ends, multi=multi)
        wkb, boxes = np.empty(int(offsets[-1]), np.uint8), np.empty((len(rings.label), 4))
        write_features(
            rings.vertices, rings.stops, rings.outer, *ends, multi,
            self._affine, self._eastings, self._steps, wkb, boxes,
        )  # fmt: skip
        columns = self._columns(rings)
        return [PolygonBatch(wkb=wkb, offsets=offsets, columns=columns, boxes=boxes)]

    def joined(self, batches: Sequence[PolygonBatch]) -> PolygonBatch:
        """All of them as one, which may be empty."""
        if batches:
            return PolygonBatch.join(batches)
        return PolygonBatch(
            wkb=np.empty(0, np.uint8),
            offsets=np.zeros(1, np.int64),
            columns={name: np.empty(0, dtype) for name, dtype in self._tracing.columns},
            boxes=np.empty((0, 4)),
        )

    def _columns(self, rings: Rings) -> dict[str, Any]:
        pixels, area, score = rings.sums.T
        if self._tracing.smooth:
            area = area * (_areas(rings) / (pixels * FINE**2))
        values: dict[str, Any] = {
            "class": rings.label,
            "pixels": pixels,
            "area_m2": area,
            "confidence": (score / pixels).round(1),
            "confidence_min": rings.notes[:, 1],
            "touches_edge": rings.notes[:, 0],
        }
        if self._tracing.objects:
            values |= dict(zip(PLACES, self._places(rings), strict=True))
            values["object"] = np.zeros(len(area))  # numbered when their order is known
        if self._perimeters is not None:
            values["perimeter_m"] = self._perimeters(rings)
        return {name: values[name].astype(dtype) for name, dtype in self._tracing.columns}

    def _places(self, rings: Rings) -> NDArray[np.float64]:
        """(6, features) centroid, and smallest and largest coordinates."""
        a, b, c, d, e, f = self._affine
        col, row = (rings.vertices & LOW).astype(float), (rings.vertices >> ROW).astype(float)
        x, y = a * col + b * row + c, d * col + e * row + f
        if self._meridian is not None:
            x = self._meridian.easting(col / self._steps)
            if self._cut != NO_CUT:
                col -= self._steps * (col > self._steps * self._cut)
        u, v, cross, starts = _crossed(rings, col, row)
        doubled = np.add.reduceat(cross, starts)
        mean = [
            np.add.reduceat(cross * np.append(w[:-1] + w[1:], 0.0), starts) / (3 * doubled) + w0
            for w, w0 in ((u, col[starts]), (v, row[starts]))
        ]
        middle = a * mean[0] + b * mean[1] + c
        return np.stack(
            [
                middle if self._meridian is None else self._meridian.in_range(middle),
                d * mean[0] + e * mean[1] + f,
                *(low.reduceat(w, starts) for low in (np.minimum, np.maximum) for w in (x, y)),
            ]
        )


def _crossed(
    rings: Rings, col: NDArray[np.float64], row: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """What areas are made of.

    Vertices from the first one of their feature, so that a far origin costs no digits; twice the
    area from each to the next; where each feature starts.
    """
    ends = rings.stops[rings.part_stops[rings.feature_stops - 1] - 1]
    starts = np.concatenate([[0], ends[:-1]])
    count = np.diff(ends, prepend=0)
    u, v = (w - np.repeat(w[starts], count) for w in (col, row))
    cross = np.append(u[:-1] * v[1:] - u[1:] * v[:-1], 0.0)
    cross[rings.stops - 1] = 0.0  # from one ring to the next
    return u, v, cross, starts


def _areas(rings: Rings) -> NDArray[np.float64]:
    """(features,) in squares of what their vertices count."""
    col, row = (rings.vertices & LOW).astype(float), (rings.vertices >> ROW).astype(float)
    _, _, cross, starts = _crossed(rings, col, row)
    return np.abs(np.add.reduceat(cross, starts)) / 2
