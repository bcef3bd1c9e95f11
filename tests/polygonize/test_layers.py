"""The layers, whatever their format."""

from __future__ import annotations

import contextlib
import itertools
import json
import resource
import sqlite3
import subprocess
import sys
import threading

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from mounts import read_only, small_disk
from shapely.geometry.polygon import orient

from geounet.errors import OptionError, OutputError
from geounet.polygonize.batch import Chunks, PolygonBatch
from geounet.polygonize.layers import SUFFIXES, PolygonLayout, check_suffix, open_layer, writer
from geounet.polygonize.layers.boxes import boxes, outward, shelves
from geounet.polygonize.layers.gpkg import GeoPackage
from geounet.polygonize.layers.tables import PageFile, Table
from geounet.staging import Staging

UTM = pyproj.CRS("EPSG:32633").to_wkt()
NAMES = {1: 'Wald & "Größe" <1\'', 7: "eau", -5: "水"}
COLUMNS = (
    ("class", np.int32),
    ("pixels", np.int64),
    ("area_m2", np.float64),
    ("touches_edge", np.bool_),
    ("object", np.int64),
)


def layout(name="map", crs=UTM, names=NAMES, columns=COLUMNS, **more) -> PolygonLayout:
    return PolygonLayout(name=name, columns=columns, names=names, crs=crs, **more)


def batch_of(shapes, columns) -> PolygonBatch:
    wkb = shapely.to_wkb(np.asarray(shapes, object), byte_order=1)
    return PolygonBatch(
        wkb=np.frombuffer(b"".join(wkb), np.uint8),
        offsets=np.cumsum([0, *map(len, wkb)], dtype=np.int64),
        columns=columns,
    )


def shapes_of(count: int, *, multi: bool = False):
    """Squares, some with a hole, some with many corners, one with more than a page of them."""
    i = np.arange(count)
    x, y = 400_000 + i % 50 * 40.0, 5_000_000 - i // 50 * 40.0
    shapes = np.array(shapely.box(x, y, x + 30, y + 20)).reshape(-1)
    holes = shapely.box(x + 5, y + 5, x + 10, y + 10)
    shapes[::3] = shapely.difference(shapes, holes)[::3]
    circles = shapely.buffer(shapely.points(x + 15, y + 10), 15, quad_segs=40)
    shapes[1::7] = circles[1::7]
    if count > 5:
        shapes[5] = shapely.buffer(shapely.points(x[5], y[5]), 15, quad_segs=800)
    shapes = np.array([orient(s) for s in shapes], object)
    if multi:
        parts = shapely.affinity.translate
        shapes = np.array([shapely.MultiPolygon([s, parts(s, 5000)]) for s in shapes], object)
    return shapes


def given_polygons(count: int, **more) -> PolygonBatch:
    i = np.arange(count)
    columns = {
        "class": np.array([1, 7, -5, 2_000_000])[i % 4].astype(np.int32),
        "pixels": np.array([0, 1, 200, 40_000, 1 << 40, -7])[i % 6].astype(np.int64),
        "area_m2": np.where(i % 5 == 4, np.nan, i * 100.0 + 0.1),
        "touches_edge": i % 2 == 0,
        "object": i.astype(np.int64),
    }
    return batch_of(shapes_of(count, **more), columns)


def cut(batch: PolygonBatch, *stops: int):
    edges = [0, *stops, len(batch)]
    return [batch.cut(a, b) for a, b in itertools.pairwise(edges)]


def write(path, batches, shape: PolygonLayout) -> None:
    layer = open_layer(path, shape)
    try:
        for one in batches:
            layer.write(one)
        layer.finish()
    finally:
        layer.abort()


def fill_up(layer) -> None:
    for _ in range(100):
        layer.write(given_polygons(800))
    layer.finish()


def read(path) -> geopandas.GeoDataFrame:
    """The layer in the order of ``object``."""
    if path.suffix == ".parquet":
        frame = geopandas.read_parquet(path).drop(columns="bbox", errors="ignore")
    else:
        frame = geopandas.read_file(path, layer=0)
    return frame.sort_values("object", ignore_index=True) if len(frame) else frame


@contextlib.contextmanager
def full_disk(size: int):
    """Files cannot grow past ``size`` bytes: what a full disk looks like to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    return tmp_path / f"a{request.param}"


class TestEveryFormat:
    """What each writer owes."""

    @pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
    def test_what_is_read_is_what_was_given(self, path, kind) -> None:
        multi = kind == "MultiPolygon"
        batch = given_polygons(400, multi=multi)
        geojson = path.suffix == ".geojson"
        # GeoJSON without a CRS has the coordinates as they are
        write(path, cut(batch, 3, 3, 250), layout(crs=None if geojson else UTM, geometry_type=kind))
        frame = read(path)
        names = ["class", "name", "pixels", "area_m2", "touches_edge", "object", "geometry"]
        assert list(frame.columns) == names
        codes = batch.columns["class"]
        assert frame["class"].tolist() == codes.tolist()
        assert frame["name"].tolist() == [NAMES.get(c, str(c)) for c in codes.tolist()]
        for name in ("pixels", "area_m2", "touches_edge", "object"):
            np.testing.assert_array_equal(frame[name], batch.columns[name], strict=not geojson)
        assert frame["area_m2"].dtype == np.float64
        assert frame["touches_edge"].dtype == np.bool_
        expected = shapes_of(400, multi=multi)
        assert shapely.to_wkb(frame.geometry).tolist() == shapely.to_wkb(expected).tolist()
        if not geojson:
            assert frame.crs.to_epsg() == 32633

    @pytest.mark.parametrize("limits", [(1 << 15, 8 << 20), (64, 1 << 30), (1000, 5000)])
    def test_any_cut_gives_the_same_file(self, path, monkeypatch, limits) -> None:
        monkeypatch.setattr(writer, "POLYGONS", limits[0])
        monkeypatch.setattr(writer, "BYTES", limits[1])
        batch, files = given_polygons(300), []
        for stops in ((), range(1, 300), (0, 7, 64, 65, 65, 200), (128, 256)):
            write(path, cut(batch, *stops), layout(style="<qgis/>"))
            files.append(path.read_bytes())
        assert len(set(files)) == 1

    def test_no_polygon_at_all(self, path) -> None:
        write(path, [given_polygons(0)], layout(style="<qgis/>"))
        if path.suffix == ".parquet":
            frame = geopandas.read_parquet(path)
            geo = json.loads(pq.read_metadata(path).metadata[b"geo"])["columns"]["geometry"]
            assert geo["geometry_types"] == ["Polygon"]
            assert "bbox" not in geo
            fields, dtypes = list(frame.columns)[:-1], None
        else:
            info = pyogrio.read_info(path, layer=0, force_feature_count=True)
            assert info["features"] == 0
            fields, dtypes = info["fields"].tolist(), info["dtypes"].tolist()
        if path.suffix == ".geojson":  # it has no schema
            assert json.loads(path.read_text())["features"] == []
            return
        assert fields == ["class", "name", "pixels", "area_m2", "touches_edge", "object"]
        assert dtypes in (None, ["int32", "object", "int64", "float64", "bool", "int64"])

    def test_nothing_written_is_an_empty_layer_too(self, path) -> None:
        write(path, [], layout())
        first = path.read_bytes()
        write(path, [given_polygons(0)], layout())
        assert path.read_bytes() == first

    def test_without_a_crs(self, path) -> None:
        write(path, [given_polygons(5)], layout(crs=None))
        frame = read(path)
        assert shapely.to_wkb(frame.geometry).tolist() == shapely.to_wkb(shapes_of(5)).tolist()
        if path.suffix != ".geojson":  # which has but one
            assert frame.crs is None

    def test_without_names(self, path) -> None:
        write(path, [given_polygons(5)], layout(names=None))
        assert list(read(path).columns)[:2] == ["class", "pixels"]

    def test_64_bit_codes(self, path) -> None:
        batch = given_polygons(3)
        codes = np.array([1 << 40, -(1 << 40), 7])
        batch.columns["class"] = codes
        write(path, [batch], layout(columns=(("class", np.int64), *COLUMNS[1:])))
        assert read(path)["class"].tolist() == codes.tolist()
        assert read(path)["name"].tolist() == [str(1 << 40), str(-(1 << 40)), "eau"]

    @pytest.mark.parametrize("name", ["größe 'x' \"y\"", "2024 Überflutung.v2", "a\\b", "水"])
    def test_names_of_layers(self, path, name) -> None:
        write(path, [given_polygons(5)], layout(name=name, style="<qgis/>"))
        assert len(read(path)) == 5
        if path.suffix != ".parquet":
            assert pyogrio.list_layers(path)[0, 0] == name

    def test_only_what_lies_in_a_window_is_found(self, path) -> None:
        batch = given_polygons(3000)
        write(path, [batch], layout())
        window = (400_500.0, 4_998_000, 401_200, 4_999_000)
        if path.suffix == ".parquet":
            found = geopandas.read_parquet(path, bbox=window)
        else:
            found = geopandas.read_file(path, layer=0, bbox=shapely.box(*window))
        if path.suffix == ".geojson":
            return
        bounds = shapely.bounds(shapes_of(3000))
        inside = (bounds[:, 0] <= window[2]) & (bounds[:, 2] >= window[0])
        inside &= (bounds[:, 1] <= window[3]) & (bounds[:, 3] >= window[1])
        assert sorted(found["object"]) == np.flatnonzero(inside).tolist()
        assert 0 < len(found) < 3000

    def test_a_full_disk_at_any_point_is_refused(self, path) -> None:
        batches = cut(given_polygons(800), 100, 500)
        write(path, batches, layout(style="<qgis/>"))
        size = path.stat().st_size
        path.unlink()
        for share in (0, 0.01, 0.1, 0.3, 0.5, 0.8, 0.9, 0.99):
            with (
                pytest.raises(OutputError, match=f"^{path.parent}: .*free some disk space"),
                full_disk(int(size * share)),
                Staging() as staging,
            ):
                write(staging.stage(path), batches, layout(style="<qgis/>"))
            assert list(path.parent.iterdir()) == []

    def test_a_disk_that_fills_up_while_polygons_come(self, path, tmp_path) -> None:
        with small_disk(tmp_path / "small", 400_000) as disk:
            layer = open_layer(disk / path.name, layout())
            try:
                with pytest.raises(OutputError, match=r"the polygons cannot be written \(No space"):
                    fill_up(layer)
            finally:
                layer.abort()

    def test_a_folder_that_is_read_only(self, path, tmp_path) -> None:
        (tmp_path / "ro").mkdir()
        with (
            read_only(tmp_path / "ro") as folder,
            pytest.raises(OutputError, match=r"ro: the polygons cannot be written \("),
        ):
            open_layer(folder / path.name, layout())

    def test_a_folder_that_is_not_there(self, path, tmp_path) -> None:
        with pytest.raises(OutputError, match="No such file"):
            open_layer(tmp_path / "no" / path.name, layout())

    def test_abort_ends_the_thread_and_may_come_twice(self, path) -> None:
        layer = open_layer(path, layout())
        layer.write(given_polygons(100))
        layer.abort()
        layer.abort()

    @pytest.mark.parametrize("at", [0, 4, 8, 12, 60, -9])
    def test_bytes_that_are_no_polygons(self, path, at) -> None:
        batch = given_polygons(10)
        wkb = batch.wkb.copy()
        start = batch.offsets[6]
        wkb[start + at if at >= 0 else batch.offsets[7] + at] = 255
        if at in (60, -9):
            wkb[batch.offsets[7] - 8 : batch.offsets[7]] = 255  # a NaN
        broken = PolygonBatch(wkb=wkb, offsets=batch.offsets, columns=batch.columns)
        with pytest.raises(
            OptionError, match=r"^polygon 6 of 10: its .* bytes are no little-endian"
        ):
            write(path, [broken], layout())


def test_the_error_of_the_thread_comes_with_the_next_batch(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "POLYGONS", 1)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GeoPackage, "write", fail)
    layer = open_layer(tmp_path / "a.gpkg", layout())
    with pytest.raises(OutputError, match="No space left on device"):
        fill_up(layer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.array([0, 9, 5])}, "offsets of 2 polygons must rise from 0 to the"),
        ({"offsets": np.array([], np.int64)}, "must rise"),
        ({"offsets": np.array([0, 1], np.int32)}, r"offsets of shape \(2,\) and type int32"),
        ({"wkb": np.zeros((2, 2), np.uint8)}, r"wkb of shape \(2, 2\)"),
        ({"columns": {}}, "a batch of 2 polygons has the columns none; the layer has class int32"),
        ({"boxes": np.zeros((1, 4))}, r"boxes of shape \(1, 4\) must be \(2, 4\)"),
    ],
)
def test_batches_that_do_not_fit(tmp_path, change, message) -> None:
    batch = given_polygons(2)
    parts = {"wkb": batch.wkb, "offsets": batch.offsets, "columns": batch.columns}
    layer = open_layer(tmp_path / "a.fgb", layout())
    with pytest.raises(OptionError, match=message):
        layer.write(PolygonBatch(**{**parts, **change}))
    layer.abort()


def test_a_column_that_is_too_short(tmp_path) -> None:
    batch = given_polygons(3)
    batch.columns["pixels"] = np.zeros(2, np.int64)
    with pytest.raises(OptionError, match=r"pixels int64 \(2,\)"):
        write(tmp_path / "a.fgb", [batch], layout())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"columns": (("class", np.uint8),)},
            "column 'class' holds uint8: columns hold bool, int32",
        ),
        ({"columns": (("a", np.int32), ("A", np.int32)), "names": None}, "names differ"),
        ({"columns": (("FID", np.int32),), "names": None}, "none is name or fid"),
        ({"columns": (("pixels", np.int32),)}, "class names need a column 'class' of integers"),
        ({"geometry_type": "Point"}, "layers hold Polygon or MultiPolygon"),
        ({"columns": [(f"c{i}", bool) for i in range(61)], "names": None}, "at most 60"),
    ],
)
def test_layouts_that_no_format_holds(change, message) -> None:
    with pytest.raises(OptionError, match=message):
        layout(**change)


@pytest.mark.parametrize("name", ["a.shp", "a", "a.gpkg.gz"])
def test_other_suffixes(tmp_path, name) -> None:
    message = r"a.*: end it in \.gpkg \(GeoPackage\), \.fgb .*\.parquet .* or \.geojson"
    with pytest.raises(OptionError, match=message):
        check_suffix(tmp_path / name)
    with pytest.raises(OptionError, match=message):
        open_layer(tmp_path / name, layout())


def test_a_suffix_in_capitals(tmp_path) -> None:
    write(tmp_path / "a.GPKG", [given_polygons(3)], layout())
    assert len(geopandas.read_file(tmp_path / "a.GPKG")) == 3


def test_a_name_that_is_reserved(tmp_path) -> None:
    with pytest.raises(OutputError, match=r"a layer 'gpkg_x' cannot be made"):
        open_layer(tmp_path / "a.gpkg", layout(name="gpkg_x"))


def test_a_crs_that_is_none(path) -> None:
    with pytest.raises(OutputError, match="cannot be"):
        open_layer(path, layout(crs="LOCAL"))


@given(
    sizes=st.lists(st.integers(0, 9), max_size=12),
    limits=st.tuples(st.integers(1, 7), st.integers(1, 2000)),
)
def test_chunks_do_not_depend_on_batches(sizes, limits) -> None:
    whole = given_polygons(sum(sizes))
    parts = cut(whole, *np.cumsum(sizes).tolist()[:-1]) if sizes else [whole]

    def chunked(batches):
        chunks = Chunks(*limits)
        found = [chunk for batch in batches for chunk in chunks.add(batch)]
        return [*found, *chunks.rest()]

    one, many = chunked([whole]), chunked(parts)
    assert [c.wkb.tobytes() for c in one] == [c.wkb.tobytes() for c in many]
    assert [c.offsets.tolist() for c in one] == [c.offsets.tolist() for c in many]
    assert [i for c in many for i in c.columns["object"].tolist()] == list(range(sum(sizes)))
    assert all(0 < len(c) <= limits[0] for c in one)
    assert all(len(c) == 1 or len(c.wkb) <= limits[1] for c in one)


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
def test_boxes_are_those_of_shapely(kind) -> None:
    shapes = shapes_of(200, multi=kind == "MultiPolygon")
    found = boxes(batch_of(shapes, {}), kind)
    np.testing.assert_array_equal(found, shapely.bounds(shapes))
    single = outward(found).astype(float)
    assert (single[:, :2] <= found[:, :2]).all()
    assert (single[:, 2:] >= found[:, 2:]).all()
    assert sorted(shelves(found, 7)) == list(range(200))


class TestGeoPackage:
    """What is peculiar to GeoPackage."""

    @pytest.mark.parametrize("count", [1, 51, 52, 3000, 70_000])
    def test_sqlite_finds_it_sound(self, tmp_path, count) -> None:
        path = tmp_path / "a.gpkg"
        squares = shapely.box(*(np.arange(count) + k for k in (0, 0, 1, 1)))
        columns = {"class": np.ones(count, np.int32)}
        batch = batch_of(squares, columns)
        write(path, [batch], layout(columns=COLUMNS[:1], style="<qgis/>"))
        with contextlib.closing(sqlite3.connect(path)) as database:

            def rows(sql: str):
                return database.execute(sql).fetchall()

            assert rows("PRAGMA integrity_check") == [("ok",)]
            assert rows("SELECT rtreecheck('rtree_map_geom')") == [("ok",)]
            assert rows("PRAGMA foreign_key_check") == []
            assert rows("PRAGMA application_id") == [(0x47504B47,)]  # "GPKG"
            assert rows("PRAGMA user_version") == [(10300,)]
            assert rows("SELECT count(*) FROM rtree_map_geom") == [(count,)]
            assert rows("SELECT min_x, max_y FROM gpkg_contents WHERE data_type = 'features'") == [
                (0, count)
            ]
            assert rows("SELECT feature_count FROM gpkg_ogr_contents") == [(count,)]
            assert rows("SELECT f_table_name, styleQML FROM layer_styles") == [("map", "<qgis/>")]
            assert rows("SELECT table_name, data_type FROM gpkg_contents ORDER BY 1") == [
                ("layer_styles", "attributes"),
                ("map", "features"),
            ]

    def test_it_can_be_edited(self, tmp_path) -> None:
        path = tmp_path / "a.gpkg"
        write(path, [given_polygons(2000)], layout())
        frame = geopandas.read_file(path)
        pyogrio.write_dataframe(frame[:500], path, layer="map", append=True)
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("DELETE FROM rtree_map_geom WHERE id % 3 = 0")
            check = "SELECT max(fid), (SELECT rtreecheck('rtree_map_geom')) FROM map"
            assert database.execute(check).fetchall() == [(2500, "ok")]
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    @pytest.mark.parametrize("size", [1, 2, 3, 488, 489, 490, 4060, 4061, 4062, 4500, 8154, 90_000])
    def test_rows_of_any_size(self, tmp_path, size) -> None:
        path = tmp_path / "a.db"
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")
        file = PageFile(path)
        table = Table(file, 2)
        sizes = np.array([size, 100, size, size + 1, 0, size])
        data = np.random.default_rng(0).integers(0, 256, sizes.sum(), np.uint8)
        cells = np.split(data, np.cumsum(sizes)[:-1])

        def varint(value: int) -> bytes:
            out = [value & 127]
            while value := value >> 7:
                out.insert(0, value & 127 | 128)
            return bytes(out)

        kinds = [varint(12 + 2 * len(cell)) for cell in cells]
        records = [
            bytes([2 + len(kind), 0]) + kind + cell.tobytes()
            for kind, cell in zip(kinds, cells, strict=True)
        ]
        starts = np.cumsum([0, *map(len, records)])
        everything = np.frombuffer(b"".join(records), np.uint8)
        for start in range(1, 601, 6):
            table.add(everything, starts, start)
        table.finish()
        file.finish()
        with contextlib.closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = database.execute("SELECT n, data FROM t").fetchall()
            assert found == [(k + 1, cells[k % 6].tobytes()) for k in range(600)]
            assert database.execute("SELECT n FROM t WHERE n = 444").fetchall() == [(444,)]

    @pytest.mark.parametrize("counted", [(3, 2), (2, 3), (0, 0)])
    def test_polygons_that_got_lost_are_missed(self, tmp_path, monkeypatch, counted) -> None:
        monkeypatch.setattr(GeoPackage, "_counted", lambda _: counted)
        found, indexed = counted
        message = f"{found} of 3 polygons were written, {indexed} into the spatial index"
        with pytest.raises(OutputError, match=message):
            write(tmp_path / "a.gpkg", [given_polygons(3)], layout())

    @pytest.mark.slow
    def test_a_file_beyond_the_page_of_locks(self, tmp_path) -> None:
        path, count = tmp_path / "a.gpkg", 3000
        circle = shapely.buffer(shapely.Point(0, 0), 10, quad_segs=6250)
        batch = batch_of([circle] * count, {"class": np.ones(count, np.int32)})
        write(path, [batch], layout(columns=COLUMNS[:1]))
        assert path.stat().st_size > 1 << 30
        with contextlib.closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert pyogrio.raw.read(path, skip_features=count - 1)[2][0] == shapely.to_wkb(circle)


class TestGeoParquet:
    """What is peculiar to GeoParquet."""

    def test_metadata(self, tmp_path) -> None:
        path = tmp_path / "a.parquet"
        write(path, [given_polygons(100)], layout())
        geo = json.loads(pq.read_metadata(path).metadata[b"geo"])
        assert geo["version"] == "1.1.0"
        assert geo["primary_column"] == "geometry"
        column = geo["columns"]["geometry"]
        assert pyproj.CRS.from_json_dict(column["crs"]).to_epsg() == 32633
        assert column["geometry_types"] == ["Polygon"]
        assert column["orientation"] == "counterclockwise"
        assert column["bbox"] == list(shapely.total_bounds(shapes_of(100)))
        assert column["covering"]["bbox"]["xmax"] == ["bbox", "xmax"]
        box = pq.read_table(path)["bbox"].combine_chunks().flatten()
        bounds = shapely.bounds(shapes_of(100))
        assert (np.asarray(box[0]) <= bounds[:, 0]).all()
        assert (np.asarray(box[3]) >= bounds[:, 3]).all()

    def test_gdal_reads_it_too(self, tmp_path) -> None:
        path = tmp_path / "a.parquet"
        if pyogrio.list_drivers().get("Parquet") is None:
            pytest.skip("this GDAL has no Parquet")
        write(path, [given_polygons(100)], layout())
        assert pyogrio.read_info(path)["crs"] == "EPSG:32633"


class TestGeoJson:
    """What is peculiar to GeoJSON."""

    def test_coordinates_are_longitude_and_latitude(self, tmp_path) -> None:
        path = tmp_path / "a.geojson"
        write(path, [given_polygons(50)], layout())
        expected = geopandas.GeoSeries(shapes_of(50), crs=UTM).to_crs(4326).to_numpy()
        found = read(path)
        assert found.crs.to_epsg() == 4326
        assert shapely.equals_exact(found.geometry.to_numpy(), expected, 1e-9).all()
        assert shapely.is_ccw(shapely.get_exterior_ring(found.geometry.to_numpy())).all()

    def test_polygons_across_the_line_are_cut_there(self, tmp_path) -> None:
        path = tmp_path / "a.geojson"
        crs = pyproj.CRS("EPSG:32601")  # 180 W to 174 W
        line = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(180, 5)[0]
        shapes = np.array([shapely.box(line - 9e3 + k, 5e5, line + k, 5.1e5) for k in (-9e3, 5e3)])
        shapes = np.append(shapes, shapely.difference(shapes[1], shapes[1].buffer(-4e3)))
        shapes = [orient(shape) for shape in shapes]
        batch = batch_of(shapes, {"class": np.ones(3, np.int32)})
        write(path, [batch], layout(columns=COLUMNS[:1], crs=crs.to_wkt()))
        found = geopandas.read_file(path)
        assert found.geom_type.tolist() == ["Polygon", "MultiPolygon", "MultiPolygon"]
        assert found.geometry.is_valid.all()
        assert (found.geometry.bounds.loc[1, ["minx", "maxx"]] == [-180, 180]).all()
        east = found.geometry.intersection(shapely.box(0, 0, 180, 90))
        assert (shapely.bounds(east)[:, 0] > 179).all()
        areas = found.to_crs(6933).area  # equal-area
        np.testing.assert_allclose(areas[0], areas[1], rtol=1e-3)
        assert areas[2] < areas[1]

    def test_edges_around_the_world_are_no_crossing(self, tmp_path) -> None:
        path = tmp_path / "a.geojson"
        shape = shapely.box([-2e7], -1e6, 2e7, 1e6, ccw=True)
        batch = batch_of(shape, {"class": np.ones(1, np.int32)})
        write(path, [batch], layout(columns=COLUMNS[:1], crs=pyproj.CRS(3857).to_wkt()))
        (found,) = geopandas.read_file(path).geometry
        assert found.geom_type == "Polygon"
        assert found.bounds[2] - found.bounds[0] > 359

    def test_coordinates_that_are_nowhere_on_earth(self, tmp_path) -> None:
        far = shapely.box([1e12], 0, 1e12 + 1, 1)
        with pytest.raises(OutputError, match=r"has no longitude and latitude.*write \.gpkg"):
            write(
                tmp_path / "a.geojson",
                [batch_of(far, {"class": np.ones(1, np.int32)})],
                layout(columns=COLUMNS[:1], crs=pyproj.CRS("ESRI:54009").to_wkt()),
            )


MANY = """
import resource, sys
from pathlib import Path
import numpy as np, shapely
from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.layers import PolygonLayout, open_layer
path, count = Path(sys.argv[1]), int(sys.argv[2])
layer = open_layer(path, PolygonLayout(name="map", columns=(("class", np.int32),), names={1: "a"}))
for start in range(0, count, 1000):
    x, y = start % 50_000 + np.arange(1000.0), np.full(1000, -(start // 50_000.0))
    wkb = shapely.to_wkb(shapely.segmentize(shapely.box(x, y, x + 1, y + 1), 0.1))
    layer.write(PolygonBatch(wkb=np.frombuffer(b"".join(wkb), np.uint8),
        offsets=np.cumsum([0, *map(len, wkb)]), columns={"class": np.ones(1000, np.int32)}))
layer.finish()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_polygons(path) -> None:
    def peak(count: int) -> int:
        command = [sys.executable, "-c", MANY, str(path), str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return int(done.stdout) // 1024

    small, large = peak(50_000), peak(400_000)
    assert large < small + 60, (small, large)
