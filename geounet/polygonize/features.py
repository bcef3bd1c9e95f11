"""Complete features into batches of polygons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geounet.polygonize.band import Rings
from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.perimeters import Perimeters
from geounet.polygonize.tracing import Tracing
from geounet.polygonize.wkb import wkb_offsets, write_features


class Features:
    """Makes the geometry and the columns of features; may be used by several threads at once.

    Args:
        tracing: What is traced, and what is told of it.
    """

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._affine = np.array(tracing.geobox.affine[:6], np.float64)
        placed = tracing.geobox.crs is not None
        self._perimeters = Perimeters(tracing.geobox) if placed else None

    def batches(self, rings: Rings) -> list[PolygonBatch]:
        """A batch of these features, if there are any."""
        if not len(rings.label):
            return []
        multi = self._tracing.diagonal
        ends = rings.part_stops, rings.feature_stops
        offsets = wkb_offsets(rings.stops, *ends, multi=multi)
        wkb = np.empty(int(offsets[-1]), np.uint8)
        write_features(rings.vertices, rings.stops, rings.outer, *ends, multi, self._affine, wkb)
        return [PolygonBatch(wkb=wkb, offsets=offsets, columns=self._columns(rings))]

    def joined(self, batches: Sequence[PolygonBatch]) -> PolygonBatch:
        """All of them as one, which may be empty."""
        if batches:
            return PolygonBatch.join(batches)
        return PolygonBatch(
            wkb=np.empty(0, np.uint8),
            offsets=np.zeros(1, np.int64),
            columns={name: np.empty(0, dtype) for name, dtype in self._tracing.columns},
        )

    def _columns(self, rings: Rings) -> dict[str, Any]:
        pixels, area, score = rings.sums.T
        values: dict[str, Any] = {
            "class": rings.label,
            "pixels": pixels,
            "area_m2": area,
            "confidence": (score / pixels).round(1),
            "confidence_min": rings.notes[:, 1],
            "touches_edge": rings.notes[:, 0],
        }
        if self._perimeters is not None:
            values["perimeter_m"] = self._perimeters(rings)
        return {name: values[name].astype(dtype) for name, dtype in self._tracing.columns}
