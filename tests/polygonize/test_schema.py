"""The tables of an empty GeoPackage, beside those that GDAL makes."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import CRS

from geounet.polygonize.layers.gpkg import GeoPackage
from geounet.polygonize.layers.layout import PolygonLayout

NAME = 'a "quoted" layer\'s'
COLUMNS = (("class", np.int32), ("pixels", np.int64), ("edge", np.bool_), ("area", np.float64))
ROTATED = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +type=crs"
CRSS = ["EPSG:32633", "EPSG:4326", "ESRI:54009", "EPSG:8857", "+proj=laea +lat_0=10 +type=crs",
        "EPSG:32633+5773", ROTATED, None]  # fmt: skip


def empty(path: Path, crs: str | None) -> Path:
    wkt = None if crs is None else CRS.from_user_input(crs).to_wkt()
    layout = PolygonLayout(name=NAME, columns=COLUMNS, names={1: "water"}, crs=wkt)
    GeoPackage(path, layout).finish()
    return path


def told(crs: str | None) -> CRS | None:
    """As a scene has it, which tells its CRS by WKT."""
    return None if crs is None else CRS.from_wkt(CRS.from_user_input(crs).to_wkt())


def by_gdal(path: Path, crs: str | None) -> Path:
    fields = [np.empty(0, t) for _, t in COLUMNS]
    fields.insert(1, np.empty(0, object))
    pyogrio.raw.write(
        path, np.empty(0, object), fields, ["class", "name", "pixels", "edge", "area"],
        layer=NAME, geometry_type="Polygon", crs=crs, dataset_options={"VERSION": "1.3"},
    )  # fmt: skip
    return path


def query(path: Path, sql: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


@pytest.mark.parametrize("crs", CRSS)
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_gdal_reads_the_crs_and_the_columns(tmp_path, crs) -> None:
    ours, theirs = empty(tmp_path / "a.gpkg", crs), by_gdal(tmp_path / "b.gpkg", crs)
    found = pyogrio.read_dataframe(ours)
    assert found.crs == told(crs)
    for key in ("fields", "dtypes", "geometry_type", "features", "layer_name"):
        assert np.array_equal(*(pyogrio.read_info(path)[key] for path in (ours, theirs))), key


@pytest.mark.parametrize("crs", CRSS)
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_the_tables_are_gdals(tmp_path, crs) -> None:
    ours, theirs = empty(tmp_path / "a.gpkg", crs), by_gdal(tmp_path / "b.gpkg", crs)
    names = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE '%tile_matrix%'"
    made = set(query(ours, names))
    assert made == set(query(theirs, names))
    for kind, name in made:
        if kind == "table" and "rtree" not in name:
            quoted = name.replace('"', '""')
            columns = f'SELECT name, upper(type), "notnull", pk FROM pragma_table_info("{quoted}")'
            assert query(ours, columns) == query(theirs, columns), name


@pytest.mark.parametrize("crs", CRSS)
def test_sqlite_finds_it_sound(tmp_path, crs) -> None:
    path = empty(tmp_path / "a.gpkg", crs)
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert query(path, "PRAGMA foreign_key_check") == []
    assert query(path, "PRAGMA page_size") == [(4096,)]


def test_programs_may_fill_it(tmp_path) -> None:
    path = empty(tmp_path / "a.gpkg", "EPSG:32633")
    squares = [shapely.box(k, 0, k + 1, 1) for k in range(3)]
    columns = {"class": 1, "name": "water", "pixels": 4, "edge": True, "area": 4.0}
    frame = geopandas.GeoDataFrame(columns, index=range(3), geometry=squares, crs=32633)
    pyogrio.write_dataframe(frame, path, layer=NAME, append=True)
    assert query(path, "SELECT feature_count FROM gpkg_ogr_contents") == [(3,)]
    assert len(pyogrio.read_dataframe(path, bbox=(0.2, 0, 0.5, 1))) == 1  # by the spatial index


def test_a_geopackage_needs_neither_pyogrio_nor_pandas(tmp_path) -> None:
    code = """
import sys
import numpy as np
from geounet.polygonize.layers import PolygonLayout, open_layer
layout = PolygonLayout(name="a", columns=(("class", np.int32),))
open_layer(__import__("pathlib").Path(sys.argv[1]), layout).finish()
print(*sorted({"pyogrio", "pandas", "pyarrow", "geopandas"} & set(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.gpkg"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == ""
