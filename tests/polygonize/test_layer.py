"""The GeoPackage that grows batch by batch."""

from __future__ import annotations

import contextlib
import resource
import sqlite3

import geopandas
import numpy as np
import pyogrio
import pyproj
import pytest
import shapely

from geounet.classes import ClassDef, ClassScheme
from geounet.errors import OutputError
from geounet.polygonize import PolygonBatch, PolygonLayerWriter, PolygonLayout, layer, layer_name
from geounet.qgis import polygon_qml
from geounet.staging import Staging

SCHEME = ClassScheme(
    classes=(
        ClassDef(code=1, name='Wald & "Größe" <1\'', color="#1a9850"),
        ClassDef(code=7, name="eau", color="#2166ac"),
    )
)
UTM = pyproj.CRS("EPSG:32633").to_wkt()


def layout(name="map", crs=UTM, *, areas=True, confidence=True) -> PolygonLayout:
    return PolygonLayout(
        name=name,
        scheme=SCHEME,
        crs=crs,
        style=polygon_qml(SCHEME),
        areas=areas,
        confidence=confidence,
    )


def batch(count: int, start: int = 0) -> PolygonBatch:
    x = np.arange(start, start + count, dtype=float)
    return PolygonBatch(
        geometry=np.array(shapely.box(x, 0, x + 1, 1)).reshape(-1),
        code=np.where(x % 2 == 0, 1, 7).astype(np.uint8),
        pixels=np.arange(1, count + 1),
        area=x + 0.25,
        confidence=np.full(count, 93.456),
    )


def write(path, batches, shape: PolygonLayout) -> None:
    writer = PolygonLayerWriter(path, shape)
    for one in batches:
        writer.write(one)
    writer.finish()


def test_columns(tmp_path) -> None:
    path = tmp_path / "a.gpkg"
    write(path, [batch(2), batch(0), batch(1, 2)], layout())
    frame = geopandas.read_file(path, layer="map")
    assert list(frame.columns) == ["class", "name", "pixels", "area_m2", "confidence", "geometry"]
    assert frame["class"].tolist() == [1, 7, 1]
    assert frame["name"].tolist() == [SCHEME.names[0], "eau", SCHEME.names[0]]
    assert frame["pixels"].tolist() == [1, 2, 1]
    assert frame["area_m2"].tolist() == [0.25, 1.25, 2.25]
    assert frame["confidence"].tolist() == [93.5] * 3
    assert frame.crs.to_epsg() == 32633
    assert frame.geometry.is_valid.all()
    assert frame.total_bounds.tolist() == [0, 0, 3, 1]
    assert set(frame.geom_type) == {"Polygon"}


def test_columns_that_were_not_asked_for_are_absent(tmp_path) -> None:
    write(tmp_path / "a.gpkg", [batch(1)], layout(areas=False, confidence=False))
    fields = pyogrio.read_info(tmp_path / "a.gpkg", layer="map")["fields"].tolist()
    assert fields == ["class", "name", "pixels"]


@pytest.mark.parametrize(("limit", "number"), [("CHUNK", 7), ("CORNERS", 7 * 5)])
def test_chunks_come_out_whole_and_in_order(tmp_path, monkeypatch, limit, number) -> None:
    monkeypatch.setattr(layer, limit, number)
    calls = []
    original = pyogrio.raw.write

    def counted(*args, **kwargs):
        calls.append(kwargs["append"])
        return original(*args, **kwargs)

    monkeypatch.setattr(pyogrio.raw, "write", counted)
    write(tmp_path / "a.gpkg", [batch(3, 3 * i) for i in range(10)], layout())
    frame = geopandas.read_file(tmp_path / "a.gpkg", layer="map")
    assert frame["area_m2"].tolist() == [i + 0.25 for i in range(30)]
    assert calls == [False, True, True, True]


def test_no_polygon_at_all_is_an_empty_layer_with_its_style(tmp_path) -> None:
    path = tmp_path / "a.gpkg"
    write(path, [batch(0)], layout())
    info = pyogrio.read_info(path, layer="map")
    assert info["features"] == 0
    assert info["geometry_type"] == "Polygon"
    assert info["fields"].tolist() == ["class", "name", "pixels", "area_m2", "confidence"]
    assert len(styles(path)) == 1


@pytest.mark.parametrize(
    ("crs", "epsg"),
    [
        (None, None),
        (pyproj.CRS("EPSG:4326").to_wkt(), 4326),
        (pyproj.CRS("EPSG:2263").to_wkt(), 2263),
    ],
)
def test_crs(tmp_path, crs, epsg) -> None:
    write(tmp_path / "a.gpkg", [batch(2)], layout(crs=crs))
    found = geopandas.read_file(tmp_path / "a.gpkg", layer="map").crs
    assert (None if found is None else found.to_epsg()) == epsg


def test_a_crs_without_a_code(tmp_path) -> None:
    crs = pyproj.CRS("+proj=laea +lat_0=10 +lon_0=20 +x_0=3 +ellps=GRS80")
    write(tmp_path / "a.gpkg", [batch(2)], layout(crs=crs.to_wkt()))
    assert geopandas.read_file(tmp_path / "a.gpkg", layer="map").crs.equals(crs)


def styles(path):
    query = (
        "SELECT f_table_name, f_geometry_column, styleName, styleQML, useAsDefault"
        " FROM layer_styles"
    )
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def test_the_style_is_inside(tmp_path) -> None:
    path = tmp_path / "a.gpkg"
    write(path, [batch(2)], layout(name="größe 'x' \"y\""))
    ((table, column, name, qml, default),) = styles(path)
    assert table == name == "größe 'x' \"y\""
    assert column == "geom"
    assert qml == polygon_qml(SCHEME)
    assert default == 1
    assert pyogrio.list_layers(path)[0, 0] == table


def test_the_file_is_a_sound_geopackage(tmp_path) -> None:
    path = tmp_path / "a.gpkg"
    write(path, [batch(30)], layout())
    with contextlib.closing(sqlite3.connect(path)) as database:

        def rows(sql: str):
            return database.execute(sql).fetchall()

        assert rows("PRAGMA integrity_check") == [("ok",)]
        assert rows("PRAGMA foreign_key_check") == []
        assert rows("PRAGMA application_id") == [(0x47504B47,)]  # "GPKG"
        assert rows("PRAGMA user_version") == [(10300,)]
        assert rows("SELECT count(*) FROM rtree_map_geom") == [(30,)]
        assert rows("SELECT table_name, data_type FROM gpkg_contents ORDER BY 1") == [
            ("layer_styles", "attributes"),
            ("map", "features"),
        ]
    inside = pyogrio.read_dataframe(path, layer="map", bbox=(4.5, 0.2, 6.5, 0.8))
    assert sorted(inside["area_m2"]) == [4.25, 5.25, 6.25]


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("flood", "flood"),
        ("2024 Überflutung.v2", "2024 Überflutung.v2"),
        ("gpkg_test", "classes_gpkg_test"),
        ("GPKG", "classes_GPKG"),
        ("sqlite_x", "classes_sqlite_x"),
        ("layer_styles", "classes_layer_styles"),
        ("[crop] a", "classes_[crop] a"),
        ("-x", "classes_-x"),
    ],
)
def test_layer_names_that_geopackage_takes(tmp_path, stem: str, expected: str) -> None:
    assert layer_name(stem) == expected
    write(tmp_path / "a.gpkg", [batch(2)], layout(name=layer_name(stem)))
    assert pyogrio.read_info(tmp_path / "a.gpkg", layer=expected)["features"] == 2


def test_a_folder_that_is_not_there(tmp_path) -> None:
    with pytest.raises(OutputError, match=r"the polygons cannot be written .*--polygons"):
        write(tmp_path / "no" / "a.gpkg", [batch(1)], layout())


@contextlib.contextmanager
def full_disk(size: int):
    """Files cannot grow past ``size`` bytes: what a full disk looks like to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_at_any_point_is_refused_and_leaves_nothing(tmp_path) -> None:
    complete = tmp_path / "complete.gpkg"
    write(complete, [batch(400), batch(400, 400)], layout())
    size = complete.stat().st_size
    complete.unlink()
    final = tmp_path / "a.gpkg"
    for share in (0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99):
        # the message is one line that names the folder and the remedy
        with pytest.raises(OutputError, match=f"^{tmp_path}: .*free some disk space"):  # noqa: SIM117
            with full_disk(int(size * share)), Staging() as staging:
                write(staging.stage(final), [batch(400), batch(400, 400)], layout())
        assert list(tmp_path.iterdir()) == []
    with full_disk(2 * size), Staging() as staging:
        write(staging.stage(final), [batch(400), batch(400, 400)], layout())
        staging.commit()
    assert [p.name for p in tmp_path.iterdir()] == ["a.gpkg"]


@pytest.mark.parametrize("counted", [(3, 2), (2, 3), (0, 0)])
def test_polygons_that_got_lost_are_missed(tmp_path, monkeypatch, counted) -> None:
    monkeypatch.setattr(PolygonLayerWriter, "_counted", lambda _: counted)
    found, indexed = counted
    message = f"{found} of 3 polygons were written, {indexed} into the spatial index"
    with pytest.raises(OutputError, match=message):
        write(tmp_path / "a.gpkg", [batch(3)], layout())
