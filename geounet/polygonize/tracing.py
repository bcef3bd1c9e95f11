"""What is traced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from geounet.errors import OptionError
from geounet.polygonize.meridian import NO_CUT, meridian_of
from geounet.polygonize.tolerance import Tolerance

FINE = 256
"""Steps of a smoothed vertex in a pixel."""

PLACES = ("centroid_x", "centroid_y", "xmin", "ymin", "xmax", "ymax")
"""Columns of an object's place."""

MOST_SMOOTH = (1 << 31) // FINE - 1
"""Rows or columns of a raster whose borders can be smoothed."""

_TYPES: dict[str, type[np.generic]] = {
    "class": np.int32,
    "pixels": np.int64,
    "touches_edge": np.bool_,
    "object": np.int64,
}
"""Of columns that are not float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """What is traced, and what is told of each polygon."""

    geobox: GeoBox
    """The grid of the raster; without a CRS there are no areas and lengths."""
    nodata: int | None
    """Label that gets no polygon."""
    simplify: Tolerance | None = None
    """None: borders follow the pixels."""
    smooth: bool = False
    """Whether borders run smoothly, not along the edges of pixels."""
    diagonal: bool = False
    """Whether pixels that touch at a corner belong together (8-connectivity)."""
    confidence: bool = False
    """Whether each strip comes with the confidence of its pixels."""
    objects: bool = False
    """Whether polygons are numbered, with centroid and bounding box in the CRS."""

    def __post_init__(self) -> None:
        most = max(self.geobox.shape)
        if self.smooth and most > MOST_SMOOTH:
            raise OptionError(
                f"--smooth: the raster has {most} rows or columns, more than {MOST_SMOOTH}: smooth"
                " it in parts, or not at all"
            )

    @property
    def multi(self) -> bool:
        """Whether polygons are MultiPolygons."""
        meridian = meridian_of(self.geobox)
        return self.diagonal or (meridian is not None and meridian.cut != NO_CUT)

    @property
    def columns(self) -> tuple[tuple[str, np.dtype[Any]], ...]:
        """Name and type of the columns of a batch."""
        names = ["class", "pixels"]
        if self.geobox.crs is not None:
            names += ["area_m2", "perimeter_m"]
        if self.confidence:
            names += ["confidence", "confidence_min"]
        names += ["touches_edge"]
        if self.objects:
            names += ["object", *PLACES]
        return tuple((name, np.dtype(_TYPES.get(name, np.float64))) for name in names)
