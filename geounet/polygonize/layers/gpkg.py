"""GeoPackage: its tables are made by SQLite, and filled page by page."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OutputError
from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.layers.fields import Fields
from geounet.polygonize.layers.layout import PolygonLayout, layer_name
from geounet.polygonize.layers.pages import PAGE
from geounet.polygonize.layers.room import Room
from geounet.polygonize.layers.rows import rows
from geounet.polygonize.layers.rtree import RTree
from geounet.polygonize.layers.schema import add_style, create, quoted
from geounet.polygonize.layers.tables import PageFile, Table


class GeoPackage:
    """An :class:`geounet.polygonize.layers.writer.Encoder` of GeoPackage 1.3."""

    def __init__(self, path: Path, layout: PolygonLayout) -> None:
        self._path, self._layout = path, layout
        self._count, self._room = 0, Room()
        self._box = np.array([np.inf, np.inf, -np.inf, -np.inf])
        if layer_name(layout.name) != layout.name:
            raise OutputError(f"a layer {layout.name!r} cannot be made: such names are reserved")
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
        found, indexed = self._counted()
        if (found, indexed) != (self._count, self._count):
            raise OutputError(
                f"{self._path.parent.absolute()}: {found} of {self._count} polygons were"
                f" written, {indexed} into the spatial index: free some disk space, or"
                " choose another folder"
            )

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _prepare(self) -> tuple[dict[str, int], int]:
        """Make the file: gives the root page of each table, and the number of the CRS."""
        self._path.write_bytes(b"")
        with _database(self._path) as database:
            srs = create(database, self._layout)
            if self._layout.style is not None:
                add_style(database, self._layout.name, self._layout.style)
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
        """Rows of the layer and of its spatial index, as SQLite finds them.

        Rows are numbered from 1 on. To count those of the layer takes as long as to write them.
        """
        name = self._layout.name
        with _database(self._path) as database:
            found, indexed = (
                database.execute(f"SELECT {what} FROM {quoted(table)}").fetchone()[0] or 0  # noqa: S608
                for what, table in (("max(fid)", name), ("count(*)", f"rtree_{name}_geom_rowid"))
            )
        return found, indexed


@contextlib.contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open, commit and close; without a journal, for nobody else sees a file in the making."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        for line in (f"page_size = {PAGE}", "journal_mode = OFF", "synchronous = OFF"):
            database.execute(f"PRAGMA {line}")
        with database:
            yield database
