"""GeoPackage: GDAL makes the empty file, and its tables are filled page by page."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OutputError
from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.layers.empty import empty_file
from geounet.polygonize.layers.fields import Fields
from geounet.polygonize.layers.layout import PolygonLayout
from geounet.polygonize.layers.pages import PAGE
from geounet.polygonize.layers.room import Room
from geounet.polygonize.layers.rows import rows
from geounet.polygonize.layers.rtree import RTree
from geounet.polygonize.layers.tables import PageFile, Table

_STAMP = "1970-01-01T00:00:00.000Z"
"""When the content is said to have changed: equal layers are equal files."""


class GeoPackage:
    """An :class:`geounet.polygonize.layers.writer.Encoder` of GeoPackage 1.3."""

    def __init__(self, path: Path, layout: PolygonLayout) -> None:
        self._path, self._layout = path, layout
        self._count, self._room = 0, Room()
        self._box = np.array([np.inf, np.inf, -np.inf, -np.inf])
        # 1.4 makes GDAL up to 3.6 warn at each opening
        path.write_bytes(empty_file(layout, "GPKG", options={"VERSION": "1.3"}))
        roots, self._srs = self._prepare()
        self._file = PageFile(path)
        name = f"rtree_{layout.name}_geom"
        self._table = Table(self._file, roots[layout.name])
        self._index = RTree(
            *(Table(self._file, roots[f"{name}_{what}"]) for what in ("node", "rowid", "parent"))
        )

    def write(self, chunk: PolygonBatch, boxes: NDArray[np.float64]) -> None:
        """Take the next polygons and their (n, 4) boxes."""
        fields = Fields.of(chunk, self._layout)
        self._table.add(*rows(chunk, boxes, fields, self._srs, self._room), self._count + 1)
        self._index.add(boxes)
        self._count += len(chunk)
        np.minimum(self._box[:2], boxes[:, :2].min(axis=0), out=self._box[:2])
        np.maximum(self._box[2:], boxes[:, 2:].max(axis=0), out=self._box[2:])

    def finish(self) -> None:
        """Complete the index, and what the file says of itself.

        Raises:
            OutputError: Polygons are missing.
        """
        self._index.finish()
        self._table.finish()
        self._file.finish()
        if self._count:
            with _database(self._path) as database:
                self._describe(database)
        _forget_changes(self._path)
        found, indexed = self._counted()
        if (found, indexed) != (self._count, self._count):
            raise OutputError(
                f"{self._path.parent.absolute()}: {found} of {self._count} polygons were"
                f" written, {indexed} into the spatial index: free some disk space, or"
                " choose another folder with --polygons"
            )

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _prepare(self) -> tuple[dict[str, int], int]:
        """Make the file ready for more pages: gives the root page of each table, and the CRS."""
        with _database(self._path) as database:
            database.execute("UPDATE gpkg_contents SET last_change = ?", (_STAMP,))
            if self._layout.style is not None:
                _add_style(database, self._layout.name, self._layout.style)
            ((srs,),) = database.execute("SELECT srs_id FROM gpkg_geometry_columns")
        with _database(self._path) as database:
            # one size of pages, none of them free, nothing of the old time stamp left
            for line in (f"PRAGMA page_size = {PAGE}", "PRAGMA auto_vacuum = NONE", "VACUUM"):
                database.execute(line)
            roots = dict(database.execute("SELECT name, rootpage FROM sqlite_master"))
        return roots, srs

    def _describe(self, database: sqlite3.Connection) -> None:
        name = self._layout.name
        database.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, self._count))
        database.execute(
            "UPDATE gpkg_ogr_contents SET feature_count = ? WHERE table_name = ?",
            (self._count, name),
        )
        database.execute(
            "UPDATE gpkg_contents SET min_x = ?, min_y = ?, max_x = ?, max_y = ?"
            " WHERE table_name = ?",
            (*self._box.tolist(), name),
        )

    def _counted(self) -> tuple[int, int]:
        """Rows of the layer and of its spatial index, as SQLite finds them."""
        name = self._layout.name
        with _database(self._path) as database:
            found, indexed = (
                database.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone()[0]  # noqa: S608
                for table in (name, f"rtree_{name}_geom_rowid")
            )
        return found, indexed


@contextlib.contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open, commit and close; without a journal, for nobody else sees a file in the making."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        for line in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"):
            database.execute(line)
        with database:
            yield database


def _forget_changes(path: Path) -> None:
    """Set the count of changes to 1: how often GDAL commits is not the same in each process.

    It stands twice in the header (https://www.sqlite.org/fileformat.html, 1.3.7 and 1.3.15).
    """
    with path.open("r+b") as file:
        for offset in (24, 92):
            file.seek(offset)
            file.write((1).to_bytes(4, "big"))


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _add_style(database: sqlite3.Connection, layer: str, style: str) -> None:
    """The table in which QGIS looks for the style of a layer of a GeoPackage."""
    database.execute(_STYLES)
    database.execute(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,"
        " f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description,"
        " owner, update_time) VALUES ('', '', ?, 'geom', ?, ?, '', 1, 'class colours', '', ?)",
        (layer, layer, style, _STAMP),
    )
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change)"
        " VALUES ('layer_styles', 'attributes', 'layer_styles', ?)",
        (_STAMP,),
    )


_STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
  f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""
