"""A GeoPackage layer that grows batch by batch, with its QGIS style inside."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError

from geounet.classes import ClassScheme
from geounet.errors import OutputError
from geounet.polygonize.tracer import PolygonBatch

CHUNK = 4_000
"""Polygons that are written at once: each append opens the file again, which takes milliseconds."""

CORNERS = 1 << 18
"""Corners that are written at once, if those are fewer polygons: they take 16 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonLayout:
    """What a layer of classes looks like."""

    name: str
    """Layer name, see :func:`layer_name`."""
    scheme: ClassScheme
    """Class codes and names."""
    crs: str | None
    """WKT; None: no CRS."""
    style: str
    """QGIS style (QML) that QGIS applies unasked."""
    areas: bool
    """Whether there is a column ``area_m2``."""
    confidence: bool
    """Whether there is a column ``confidence``."""


def layer_name(stem: str) -> str:
    """A name that GeoPackage allows, from the name of a file.

    GDAL refuses names that begin with ``gpkg`` or with punctuation, SQLite those that begin with
    ``sqlite_``; the styles have a table of their own.
    """
    reserved = stem.lower().startswith(("gpkg", "sqlite_")) or stem.lower() == "layer_styles"
    return f"classes_{stem}" if reserved or not re.match(r"\w", stem) else stem


class PolygonLayerWriter:
    """Writes polygon batches into a new GeoPackage, in chunks.

    Columns: ``class`` (code), ``name``, ``pixels``, ``area_m2`` and ``confidence`` (mean of the
    pixels, percent).

    Args:
        path: The file to write (a temporary name: the caller renames).
        layout: What the layer looks like.
    """

    def __init__(self, path: Path, layout: PolygonLayout) -> None:
        self._path, self._layout = path, layout
        self._names = {c.code: c.name for c in layout.scheme}
        self._waiting: list[PolygonBatch] = []
        self._count = self._written = self._corners = 0
        self._created = False

    def write(self, batch: PolygonBatch) -> None:
        """Append polygons.

        Raises:
            OutputError: The disk is full, or the file cannot be written.
        """
        if len(batch):
            self._waiting.append(batch)
            self._count += len(batch)
            self._corners += int(shapely.get_num_coordinates(batch.geometry).sum())
        if self._count - self._written >= CHUNK or self._corners >= CORNERS:
            self._flush()

    def finish(self) -> None:
        """Write what is left, and the style.

        Raises:
            OutputError: As :meth:`write`.
        """
        if self._waiting or not self._created:
            self._flush()
        self._guard(self._add_style)
        found, indexed = self._guard(self._counted)
        if (found, indexed) != (self._count, self._count):
            raise OutputError(
                f"{self._path.parent.absolute()}: {found} of {self._count} polygons were"
                f" written, {indexed} into the spatial index: free some disk space, or"
                " choose another folder with --polygons"
            )

    def _flush(self) -> None:
        geometry, fields = self._columns()
        layout = self._layout
        self._guard(
            lambda: pyogrio.raw.write(
                self._path,
                geometry,
                list(fields.values()),
                list(fields),
                layer=layout.name,
                driver="GPKG",
                dataset_options={"VERSION": "1.3"},  # 1.4 makes GDAL up to 3.6 warn at each opening
                geometry_type="Polygon",
                crs=layout.crs,
                append=self._created,
            )
        )
        self._created = True
        self._written, self._corners = self._count, 0
        self._waiting.clear()

    def _columns(self) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """WKB of each polygon, and the columns by name."""

        def joined(name: str, dtype: Any) -> NDArray[Any]:
            parts = [getattr(batch, name) for batch in self._waiting]
            return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype)

        codes = joined("code", np.int32)
        fields: dict[str, NDArray[Any]] = {
            "class": codes,
            "name": np.array([self._names.get(code, str(code)) for code in codes.tolist()], object),
            "pixels": joined("pixels", np.int64),
        }
        if self._layout.areas:
            fields["area_m2"] = joined("area", np.float64)
        if self._layout.confidence:
            fields["confidence"] = joined("confidence", np.float64).round(1)
        return shapely.to_wkb(joined("geometry", object)), fields

    def _add_style(self) -> None:
        """The table in which QGIS looks for the style of a layer of a GeoPackage."""
        with contextlib.closing(sqlite3.connect(self._path)) as database, database:
            database.execute(_STYLES)
            database.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,"
                " f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description,"
                " owner, update_time) VALUES ('', '', ?, 'geom', ?, ?, '', 1, 'class colours', '',"
                " strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
                (self._layout.name, self._layout.name, self._layout.style),
            )
            database.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier)"
                " VALUES ('layer_styles', 'attributes', 'layer_styles')"
            )

    def _counted(self) -> tuple[int, int]:
        """Rows of the layer and of its spatial index: GDAL tells nobody when one is cut short."""
        name = self._layout.name.replace('"', '""')
        with contextlib.closing(sqlite3.connect(self._path)) as database:
            rows, boxes = (
                database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608
                for table in (name, f"rtree_{name}_geom")
            )
        return rows, boxes

    def _guard(self, action: Callable[[], Any]) -> Any:
        """Run; what GDAL or SQLite report becomes OutputError."""
        try:
            with warnings.catch_warnings():
                # without a CRS is what was asked for
                warnings.filterwarnings("ignore", message="'crs' was not provided")
                return action()
        except (DataSourceError, sqlite3.Error, RuntimeError, OSError) as error:
            # without the SQL that GDAL adds
            line = " ".join(str(error).split()).partition(": sqlite3_")[0][:160]
            raise OutputError(
                f"{self._path.parent.absolute()}: the polygons cannot be written ({line}): free"
                " some disk space, or choose another folder with --polygons"
            ) from error


_STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
  f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""
