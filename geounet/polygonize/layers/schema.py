"""The tables of a GeoPackage of one layer, without a polygon.

As the standard has them (OGC 12-128r17, GeoPackage 1.3: annex C, and F.3 for the spatial index),
with GDAL's count of features (https://gdal.org/en/stable/drivers/vector/gpkg.html). GDAL could make
them as well; but the one package that hands them over, pyogrio, imports pandas, which takes longer
than all else that a small scene needs.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from geounet.polygonize.layers.layout import PolygonLayout

STAMP = "1970-01-01T00:00:00.000Z"
"""When the content is said to have changed: equal layers are equal files."""

_GPKG, _VERSION = 0x47504B47, 10300  # 1.4 makes GDAL up to 3.6 warn at each opening
_OWN = 100_000
"""Number of a CRS that nobody has numbered; from here on they are GDAL's to give."""

_NONE = 99_999
"""GDAL's number of no CRS at all."""

_NO_CRS = (
    'LOCAL_CS["Undefined SRS",LOCAL_DATUM["unknown",32767],UNIT["unknown",0],'
    'AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)
_TYPES = {"bool": "BOOLEAN", "int32": "MEDIUMINT", "int64": "INTEGER", "float64": "REAL"}


def create(database: sqlite3.Connection, layout: PolygonLayout) -> int:
    """Make the tables in an empty database; gives the number of the layer's CRS.

    Raises:
        CRSError: The layout's CRS is none.
    """
    database.execute(f"PRAGMA application_id = {_GPKG}")
    database.execute(f"PRAGMA user_version = {_VERSION}")
    for statement in _CORE:
        database.execute(statement)
    number = _add_crs(database, layout.crs)
    name, shape = layout.name, layout.geometry_type.upper()
    for table, row in (
        ("gpkg_contents", (name, "features", name, "", STAMP, *[None] * 4, number)),
        ("gpkg_geometry_columns", (name, "geom", shape, number, 0, 0)),
        ("gpkg_ogr_contents", (name, 0)),
        ("gpkg_extensions", (name, "geom", "gpkg_rtree_index", _RTREE, "write-only")),
    ):
        _insert(database, table, row)
    columns = [f", {quoted(field)} {_sql_type(dtype)}" for field, dtype in layout.fields]
    database.execute(
        f"CREATE TABLE {quoted(name)} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,"
        f" geom {shape}{''.join(columns)})"
    )
    _add_index(database, name)
    for trigger in _triggers(name):
        database.execute(trigger)
    return number


def add_style(database: sqlite3.Connection, layer: str, style: str) -> None:
    """The table in which QGIS looks for the style of a layer of a GeoPackage."""
    database.execute(_STYLES)
    row = (1, "", "", layer, "geom", layer, style, "", 1, "class colours", "", None, STAMP)
    _insert(database, "layer_styles", row)
    about = ("layer_styles", "attributes", "layer_styles", "", STAMP, *[None] * 5)
    _insert(database, "gpkg_contents", about)


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _insert(database: sqlite3.Connection, table: str, row: tuple[Any, ...]) -> None:
    marks = ", ".join("?" * len(row))
    database.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608  a name of ours


def _sql_type(dtype: np.dtype[Any] | None) -> str:
    return "TEXT" if dtype is None else _TYPES[dtype.name]


def _add_crs(database: sqlite3.Connection, wkt: str | None) -> int:
    """The systems that every GeoPackage has, and the one of the layer; gives the number of that."""
    for number, kind in ((-1, "Cartesian"), (0, "geographic")):
        said = f"undefined {kind} coordinate reference system"
        _insert(
            database, _SRS, (f"Undefined {kind} SRS", number, "NONE", number, "undefined", said)
        )
    world = CRS.from_epsg(4326)
    said = "longitude/latitude coordinates in decimal degrees on the WGS 84 spheroid"
    _insert(database, _SRS, ("WGS 84 geodetic", 4326, "EPSG", 4326, _wkt1(world), said))
    if wkt is None:
        said = "Custom undefined coordinate reference system"
        _insert(database, _SRS, ("Undefined SRS", _NONE, "GDAL", _NONE, _NO_CRS, said))
        return _NONE
    crs = CRS.from_wkt(wkt)
    authority, code = crs.to_authority(min_confidence=100) or ("NONE", str(_OWN))
    number = int(code) if code.isdigit() else _OWN
    if number == 4326:
        return number
    old = _wkt1(crs)
    row = (crs.name, number, authority, number, old or "undefined", None)
    _insert(database, _SRS, row)
    if old is None:
        _add_wkt2(database, number, crs)
    return number


def _wkt1(crs: CRS) -> str | None:
    """As the standard asks for (OGC 01-009); None where that cannot say it."""
    try:
        return crs.to_wkt("WKT1_GDAL")
    except CRSError:
        return None


def _add_wkt2(database: sqlite3.Connection, number: int, crs: CRS) -> None:
    """The extension for systems that only newer WKT can say (annex F.10)."""
    column = "definition_12_063"
    database.execute(f"ALTER TABLE {_SRS} ADD {column} TEXT NOT NULL DEFAULT 'undefined'")
    database.execute(
        f"UPDATE {_SRS} SET {column} = ? WHERE srs_id = ?",  # noqa: S608
        (crs.to_wkt("WKT2_2015"), number),
    )
    spec = "http://www.geopackage.org/spec121/#extension_crs_wkt"
    _insert(database, "gpkg_extensions", (_SRS, column, "gpkg_crs_wkt", spec, "read-write"))


def _add_index(database: sqlite3.Connection, layer: str) -> None:
    """An R*Tree and its three tables; also where SQLite was built without the module."""
    name = f"rtree_{layer}_geom"
    shadows = {
        "rowid": "rowid INTEGER PRIMARY KEY, nodeno",
        "node": "nodeno INTEGER PRIMARY KEY, data",
        "parent": "nodeno INTEGER PRIMARY KEY, parentnode",
    }
    for table, columns in shadows.items():
        database.execute(f"CREATE TABLE {quoted(f'{name}_{table}')} ({columns})")
    made = f"CREATE VIRTUAL TABLE {quoted(name)} USING rtree(id, minx, maxx, miny, maxy)"
    database.execute("PRAGMA writable_schema = ON")
    _insert(database, "sqlite_master", ("table", name, name, 0, made))
    database.execute("PRAGMA writable_schema = OFF")


def _triggers(layer: str) -> list[str]:
    """What keeps the index and the number of features right, when a program edits the layer."""
    tree, table, text = f"rtree_{layer}_geom", quoted(layer), layer.replace("'", "''")
    box = ", ".join(f"ST_{side}(NEW.geom)" for side in ("MinX", "MaxX", "MinY", "MaxY"))
    # a trigger takes no parameters
    put = f"INSERT OR REPLACE INTO {quoted(tree)} VALUES (NEW.fid, {box})"  # noqa: S608
    take = f"DELETE FROM {quoted(tree)} WHERE id"  # noqa: S608
    full = "(NEW.geom NOTNULL AND NOT ST_IsEmpty(NEW.geom))"
    empty = "(NEW.geom ISNULL OR ST_IsEmpty(NEW.geom))"
    count = "UPDATE gpkg_ogr_contents SET feature_count = feature_count"
    here = f"WHERE lower(table_name) = lower('{text}')"
    moved, same = "OLD.fid != NEW.fid", "OLD.fid = NEW.fid"
    found = {
        f"{tree}_insert": ("INSERT", full, put),
        f"{tree}_update1": ("UPDATE OF geom", f"{same} AND {full}", put),
        f"{tree}_update2": ("UPDATE OF geom", f"{same} AND {empty}", f"{take} = OLD.fid"),
        f"{tree}_update3": ("UPDATE", f"{moved} AND {full}", f"{take} = OLD.fid; {put}"),
        f"{tree}_update4": ("UPDATE", f"{moved} AND {empty}", f"{take} IN (OLD.fid, NEW.fid)"),
        f"{tree}_delete": ("DELETE", "OLD.geom NOTNULL", f"{take} = OLD.fid"),
        f"trigger_insert_feature_count_{layer}": ("INSERT", "1", f"{count} + 1 {here}"),
        f"trigger_delete_feature_count_{layer}": ("DELETE", "1", f"{count} - 1 {here}"),
    }
    return [
        f"CREATE TRIGGER {quoted(name)} AFTER {event} ON {table} WHEN {when} BEGIN {then}; END"
        for name, (event, when, then) in found.items()
    ]


_SRS = "gpkg_spatial_ref_sys"
_RTREE = "http://www.geopackage.org/spec120/#extension_rtree"

_CORE = (
    """
CREATE TABLE gpkg_spatial_ref_sys (
  srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT
)
""",
    """
CREATE TABLE gpkg_contents (
  table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
  description TEXT DEFAULT '',
  last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id)
)
""",
    """
CREATE TABLE gpkg_geometry_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
  srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
  CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id)
)
""",
    """
CREATE TABLE gpkg_extensions (
  table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL,
  scope TEXT NOT NULL,
  CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name)
)
""",
    """
CREATE TABLE gpkg_ogr_contents (
  table_name TEXT NOT NULL PRIMARY KEY, feature_count INTEGER DEFAULT NULL
)
""",
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
