"""The area of interest: polygons outside of which nothing is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geounet.errors import SceneError
from geounet.hushed import hushed
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
            SceneError: Unreadable, without polygons, several layers, without a CRS where the scene
                has one or with one where it has none, or outside the scene.
        """
        found, crs = _read(path)
        found = _in_crs_of(found[shapely.area(found) > 0], crs, geobox, path)
        shapes = tuple(shapely.make_valid(found))
        if not shapes:
            raise SceneError(f"--aoi {path} holds no polygon: draw the area as polygons")
        outline = geobox.extent.geom
        if not any(s.intersects(outline) for s in shapes):
            raise SceneError(f"--aoi {path} lies outside the scene: check its CRS and its place")
        return cls(shapes=shapes, geobox=geobox)

    @property
    def window(self) -> Window:
        """A part of the scene outside of which there is no pixel of the area."""
        to_pixels = ~self.geobox.affine
        west, south, east, north = shapely.total_bounds(self.shapes)
        corners = [to_pixels @ (x, y) for x in (west, east) for y in (south, north)]
        cols, rows = zip(*corners, strict=True)
        height, width = self.geobox.shape
        # a pixel more on each side than these sums of floats say
        return Window.between(
            math.floor(min(rows)) - 1,
            math.floor(min(cols)) - 1,
            math.ceil(max(rows)) + 1,
            math.ceil(max(cols)) + 1,
        ).intersect(Window(row_off=0, col_off=0, height=height, width=width))

    def __call__(self, window: Window) -> NDArray[np.bool_]:
        """(height, width), True where the centre of a pixel lies in the area."""
        import rasterio.features
        from rasterio.errors import NotGeoreferencedWarning

        rows, cols = window.slices
        part = self.geobox[rows, cols]
        with hushed(NotGeoreferencedWarning):  # rasterio's own filter
            mask = rasterio.features.geometry_mask(
                self.shapes, out_shape=part.shape, transform=part.affine, invert=True
            )
        return np.asarray(mask)


def _read(path: str | Path) -> tuple[NDArray[Any], str | None]:
    """The geometries of the one layer that has some, and their CRS."""
    import pyogrio
    import pyogrio.errors

    try:
        layers = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
        if len(layers) != 1:
            held = f"several layers ({', '.join(layers)})" if layers else "no geometries"
            raise SceneError(f"--aoi {path} holds {held}: give a file with one layer of polygons")
        meta, _, wkb, _ = pyogrio.raw.read(path, layer=layers[0], columns=[])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError) as error:
        line = " ".join(str(error).split()).replace(str(path), "").strip(" :")[:160]
        raise SceneError(
            f"--aoi {path} cannot be read ({line}): give a GeoPackage, GeoJSON or Shapefile"
        ) from error
    return shapely.from_wkb(wkb, on_invalid="ignore"), meta["crs"]


def _in_crs_of(
    shapes: NDArray[Any], crs: str | None, geobox: GeoBox, path: str | Path
) -> NDArray[Any]:
    if geobox.crs is None:
        if crs is not None:
            raise SceneError(
                f"--aoi {path} has a CRS and the scene has none, so it has no place in it: set the"
                " scene's with gdal_edit.py -a_srs"
            )
        return shapes
    if crs is None:
        raise SceneError(f"--aoi {path} has no CRS: set one, e.g. ogr2ogr -a_srs EPSG:4326 OUT IN")
    to_scene = Transformer.from_crs(crs, geobox.crs.to_wkt(), always_xy=True)

    def moved(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(to_scene.transform(*points.T))

    return np.asarray(shapely.transform(shapes, moved))
