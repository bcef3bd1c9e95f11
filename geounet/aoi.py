"""The area of interest: polygons outside of which nothing is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.errors import SceneError
from geounet.window import Window


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AreaOfInterest:
    """Polygons in the CRS of a scene."""

    shapes: tuple[Any, ...]
    """shapely geometries."""
    geobox: GeoBox
    """The scene's grid."""

    @classmethod
    def read(cls, path: str | Path, geobox: GeoBox) -> AreaOfInterest:
        """The polygons of a vector file, brought into the scene's CRS.

        Raises:
            SceneError: Unreadable, without polygons, without a CRS where the scene has one, or
                outside the scene.
        """
        import geopandas
        import pyogrio.errors

        try:
            frame = geopandas.read_file(path)
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError) as error:
            line = " ".join(str(error).split())[:160]
            raise SceneError(f"--aoi {path} cannot be read ({line})") from error
        if geobox.crs is not None:
            if frame.crs is None:
                raise SceneError(f"--aoi {path} has no CRS: set one (ogr2ogr -a_srs)")
            frame = frame.to_crs(geobox.crs.to_wkt())
        shapes = tuple(s for s in frame.geometry if s is not None and s.area > 0)
        if not shapes:
            raise SceneError(f"--aoi {path} holds no polygon")
        area = cls(shapes=shapes, geobox=geobox)
        outline = geobox.extent.geom
        if not any(s.intersects(outline) for s in shapes):
            raise SceneError(f"--aoi {path} lies outside the scene: check its CRS")
        return area

    def __call__(self, window: Window) -> NDArray[np.bool_]:
        """(height, width), True where the centre of a pixel lies in the area."""
        import rasterio.features

        rows, cols = window.slices
        part = self.geobox[rows, cols]
        mask = rasterio.features.geometry_mask(
            self.shapes, out_shape=part.shape, transform=part.affine, invert=True
        )
        return np.asarray(mask)
