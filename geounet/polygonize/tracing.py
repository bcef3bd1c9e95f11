"""What is traced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from geounet.polygonize.band import Tolerance


PLACES = ("centroid_x", "centroid_y", "xmin", "ymin", "xmax", "ymax")
"""Columns of an object's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """What is traced, and what is told of each polygon."""

    geobox: GeoBox
    """The grid of the raster; without a CRS there are no areas and lengths."""
    nodata: int | None
    """Label that gets no polygon."""
    simplify: Tolerance | None = None
    """None: borders follow the pixels."""
    diagonal: bool = False
    """Whether pixels that touch at a corner belong together (8-connectivity): polygons are then
    MultiPolygons."""
    confidence: bool = False
    """Whether each strip comes with the confidence of its pixels."""

    objects: bool = False
    """Whether polygons are numbered, with centroid and bounding box in the CRS."""

    @property
    def columns(self) -> tuple[tuple[str, type[np.generic]], ...]:
        """Name and type of the columns of a batch."""
        placed = self.geobox.crs is not None
        return (
            ("class", np.int32),
            ("pixels", np.int64),
            *((("area_m2", np.float64), ("perimeter_m", np.float64)) if placed else ()),
            *((("confidence", np.float64), ("confidence_min", np.float64)) if self.confidence else ()),
            ("touches_edge", np.bool_),
            *((("object", np.int64), *((name, np.float64) for name in PLACES)) if self.objects else ()),
        )
