"""FlatGeobuf files of GDAL's without a polygon, or with one: filled without GDAL."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataSourceError

from geounet.errors import OutputError
from geounet.hushed import hushed
from geounet.polygonize.layers.layout import PolygonLayout


def empty_file(layout: PolygonLayout, *, polygons: int = 0) -> bytes:
    """A layer of this layout, as GDAL makes it in memory; its values are 0.

    Raises:
        OutputError: GDAL refuses its name or its CRS.
    """
    buffer = io.BytesIO()
    try:
        with hushed(Warning, "'crs' was not provided"):  # without a CRS is what was asked for
            pyogrio.raw.write(
                buffer,
                _geometry(layout, polygons),
                [_values(dtype, polygons) for _, dtype in layout.fields],
                [name for name, _ in layout.fields],
                layer=layout.name,
                driver="FlatGeobuf",
                geometry_type=layout.geometry_type,
                crs=layout.crs,
            )
    except (DataSourceError, RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())[:160]
        raise OutputError(f"a layer {layout.name!r} cannot be made ({line})") from error
    return buffer.getvalue()


def _geometry(layout: PolygonLayout, count: int) -> Any:
    square = shapely.box(0, 0, 1, 1)
    shape = square if layout.geometry_type == "Polygon" else shapely.MultiPolygon([square])
    return np.array([shapely.to_wkb(shape)] * count, object)


def _values(dtype: np.dtype[Any] | None, count: int) -> Any:
    return np.array(["x"] * count, object) if dtype is None else np.zeros(count, dtype)
