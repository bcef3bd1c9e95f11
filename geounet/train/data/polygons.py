"""Hand-drawn polygons as labels, rasterised on the grid of an image."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.classes import ClassScheme
from geounet.errors import DataError
from geounet.train.data.labels import Values
from geounet.train.data.problems import listing
from geounet.window import Window


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawing:
    """The polygons of one file."""

    path: Path
    """Where they come from."""
    layer: str
    """Of the file."""
    field: str
    """The class field."""
    frame: Any
    """GeoDataFrame of valid polygons with a column ``code``."""

    def on(self, grid: GeoBox) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """The polygons that lie on a grid, in its CRS and in drawing order, and their codes."""
        frame = self.frame
        if grid.crs is not None and frame.crs != grid.crs.to_wkt():
            frame = frame.to_crs(grid.crs.to_wkt())
        shapes = frame.geometry.to_numpy()
        here = shapely.intersects(shapes, grid.extent.geom)
        return shapes[here], frame["code"].to_numpy(np.int32)[here]


class PolygonLabels:
    """The drawing as a label: a pixel has the class of the last polygon that holds its centre.

    Law (round trip): the polygons of a class map give that class map again. Outside of all polygons
    there is ``background``, or no label. (torchgeo rasterises with 0 there, which is a class.)
    """

    def __init__(self, drawing: Drawing, grid: GeoBox, background: int | None) -> None:
        self._grid, self._background = grid, background
        self._shapes, self._codes = drawing.on(grid)
        self._tree = shapely.STRtree(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def read(self, window: Window) -> Values:
        """See :class:`geounet.train.data.labels.Labels`."""
        import rasterio.features

        rows, cols = window.slices
        part = self._grid[rows, cols]
        outside = -1 if self._background is None else self._background
        out = np.full((window.height, window.width), outside, np.int32)
        # the tree answers in any order; later polygons lie on top
        near = np.sort(self._tree.query(part.extent.geom))
        if len(near):
            rasterio.features.rasterize(
                list(zip(self._shapes[near], self._codes[near].tolist(), strict=True)),
                out=out,
                transform=part.affine,
            )
        return out, out >= 0

    def close(self) -> None:
        """Nothing is open."""


def read_drawing(
    path: Path, classes: ClassScheme, field: str | None, ignore: frozenset[int] = frozenset()
) -> Drawing:
    """The polygons of a vector file with their class.

    Args:
        path: GeoPackage, GeoJSON, Shapefile, FlatGeobuf.
        classes: A value of the field is the name of one of these, or its code.
        field: None: the one field that holds classes only. Of several that say the same of each
            polygon (a name and a code), the first.
        ignore: Codes that may be drawn too.

    Raises:
        DataError: Unreadable, no or several layers of polygons, no CRS, no field that fits, several
            that differ, or values that are no class.
    """
    layer, frame = _read(path)
    frame = frame[frame.geometry.notna()]
    flat = frame.geometry.geom_type.isin(["Polygon", "MultiPolygon"])
    if frame.empty or not flat.all():
        kinds = listing(sorted(set(frame.geometry.geom_type))) or "nothing"
        raise DataError(f"{path} holds {kinds}: draw the classes as polygons")
    if frame.crs is None:
        raise DataError(f"{path} has no CRS: set one, e.g. ogr2ogr -a_srs EPSG:4326 OUT IN")
    named = {name.casefold(): code for name, code in zip(classes.names, classes.codes, strict=True)}
    named |= {str(code): code for code in (*classes.codes, *ignore)}
    field = _field(frame, named, field, path)
    codes = _codes(frame[field].tolist(), named)
    wrong = sorted({str(v) for v, c in zip(frame[field], codes, strict=True) if c is None})
    if wrong:
        raise DataError(f"{path}: field {field} holds what is no class ({listing(wrong)})")
    geometry = shapely.make_valid(frame.geometry.to_numpy())
    kept = frame[[field, frame.geometry.name]].set_geometry(geometry, crs=frame.crs)
    return Drawing(path=path, layer=layer, field=field, frame=kept.assign(code=codes))


def _read(path: Path) -> tuple[str, Any]:
    import geopandas
    import pyogrio
    import pyogrio.errors

    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if len(layers) != 1:
            raise DataError(
                f"{path} holds {len(layers)} layers ({listing(layers)}): give a file with one layer"
                " of polygons"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pyogrio on fields that GDAL had to shorten
            return layers[0], geopandas.read_file(path, layer=layers[0])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError) as error:
        line = " ".join(str(error).split())[:160]
        raise DataError(
            f"{path} cannot be read ({line}): give a GeoPackage, GeoJSON or Shapefile"
        ) from error


def _field(frame: Any, named: dict[str, int], field: str | None, path: Path) -> str:
    fields = [str(name) for name in frame.columns if name != frame.geometry.name]
    if field is not None:
        if field not in fields:
            raise DataError(f"{path} has no field {field!r}: choose from {listing(fields)}")
        return field
    coded = {name: _codes(frame[name].tolist(), named) for name in fields}
    fit = {name: codes for name, codes in coded.items() if None not in codes}
    if not fit:
        raise DataError(
            f"{path}: no field holds only {listing(named)}: name it with"
            f" --class-field; there are {listing(fields) or 'none'}"
        )
    first = next(iter(fit))
    if any(codes != fit[first] for codes in fit.values()):
        raise DataError(f"{path}: {listing(fit)} all hold classes: choose one with --class-field")
    return first


def _codes(values: Sequence[Any], named: dict[str, int]) -> list[int | None]:
    return [_code(value, named) for value in values]


def _code(value: Any, named: dict[str, int]) -> int | None:
    text = str(value).strip().casefold()
    if text in named:
        return named[text]
    try:  # whole numbers come as floats where a field has gaps
        number = float(text)
    except ValueError:
        return None
    return named.get(str(int(number))) if number.is_integer() else None
