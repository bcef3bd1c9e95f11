"""All files of a run: complete under their names, or as if there had been no run."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geounet import layer as layer_module
from geounet import writer as writer_module
from geounet.bundle import load_bundle
from geounet.classes import NODATA
from geounet.cog import BlockStore
from geounet.errors import OutputError
from geounet.legend import read_legend
from geounet.options import SegmentOptions
from geounet.outputs import MapKind, OutputPaths, Outputs, classes_json, provenance
from geounet.polygonize import StripPolygonizer, layer_name
from geounet.polygonize.areas import ArcAreas
from geounet.polygonize.layers.gpkg import GeoPackage
from geounet.polygonize.layers.writer import ThreadedWriter
from geounet.scene import MemoryScene
from geounet.staging import Staging, refuse_inputs
from geounet.stitch import Strip
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet.window import Window
from geounet.writer import StripWriter

SHAPE = (90, 70)
GRID = GeoBox(SHAPE, Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
LABELS = np.random.default_rng(3).choice(np.array([0, 1, 2, NODATA], np.uint8), SHAPE)
PERCENT = np.where(LABELS == NODATA, NODATA, 10 * LABELS + 50).astype(np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "random.geounet"
    return load_bundle(random_bundle(path, random_spec(classes=3)))


def info_of(grid=GRID):
    return MemoryScene.of(np.zeros((1, *SHAPE), np.uint8), geobox=grid).info


def paths_in(folder, stem="map", *, polygons=True, confidence=True) -> OutputPaths:
    return OutputPaths.of(
        info_of(),
        "random",
        SegmentOptions(out=folder / f"{stem}.tif", polygons=polygons, confidence=confidence),
    )


def strips(step: int = 32):
    for start in range(0, SHAPE[0], step):
        window = Window.between(start, 0, min(start + step, SHAPE[0]), SHAPE[1])
        rows = window.slices[0]
        yield Strip(window=window, labels=LABELS[rows], confidence=PERCENT[rows])


def run(paths, bundle, info=None, step: int = 32, **options) -> None:
    with Staging() as staging:
        kind = MapKind.of_model(bundle)
        with Outputs(paths, staging, info or info_of(), kind, **options) as outputs:
            for strip in strips(step):
                outputs.write(strip)
            outputs.finish()
        staging.commit()


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_default_names_lie_in_the_current_folder() -> None:
    paths = OutputPaths.of(info_of(), "flood-s1", SegmentOptions(confidence=True))
    assert [str(p) for p in paths.all] == [
        "array.flood-s1.qml",
        "array.flood-s1.tif.aux.xml",
        "array.flood-s1.confidence.tif",
        "array.flood-s1.gpkg",
        "array.flood-s1.tif",
    ]
    none = OutputPaths.of(info_of(), "flood-s1", SegmentOptions(polygons=False))
    assert none.polygons is none.confidence is None


def test_polygons_can_go_elsewhere(tmp_path, bundle) -> None:
    paths = paths_in(tmp_path, polygons=tmp_path / "gpkg_other.gpkg")
    run(paths, bundle)
    assert pyogrio.list_layers(paths.polygons)[0, 0] == "classes_gpkg_other"


def test_polygons_can_be_smoothed(tmp_path, bundle) -> None:
    paths = paths_in(tmp_path)
    run(paths, bundle, smooth=True)
    frame = pyogrio.read_dataframe(paths.polygons, layer="map")
    assert frame.is_valid.all()
    assert (shapely.get_coordinates(frame.geometry) % 10 != 0).any()
    found = rasterio.features.rasterize(
        zip(frame.geometry, frame["class"], strict=True), SHAPE, fill=NODATA, transform=GRID.affine
    )
    assert np.array_equal(found, LABELS)


def test_a_scene_over_the_antimeridian_has_polygons_on_both_sides(tmp_path, bundle) -> None:
    paths = paths_in(tmp_path)
    run(paths, bundle, info_of(GeoBox(SHAPE, Affine(0.1, 0, 177, 0, -0.1, 5), "EPSG:4326")))
    frame = pyogrio.read_dataframe(paths.polygons, layer="map")
    assert frame.is_valid.all()
    assert set(frame.geom_type) == {"MultiPolygon"}
    west, _, east, _ = frame.total_bounds
    assert (west, east) == (-180, 180)
    assert frame["pixels"].sum() == np.count_nonzero(LABELS != NODATA)


def test_every_file_says_the_same(tmp_path, bundle) -> None:
    paths = paths_in(tmp_path)
    run(paths, bundle)
    assert sorted(content(tmp_path)) == sorted(p.name for p in paths.all)
    with rasterio.open(paths.raster) as dataset:
        assert np.array_equal(dataset.read(1), LABELS)
        assert dataset.descriptions == ("class",)
        tags = dataset.tags()
    with rasterio.open(paths.confidence) as dataset:
        assert np.array_equal(dataset.read(1), PERCENT)
        assert dataset.descriptions == ("confidence (percent)",)
        assert dataset.nodata == NODATA
    frame = pyogrio.read_dataframe(paths.polygons, layer="map")
    shapes = zip(frame.geometry, frame["class"], strict=True)
    drawn = rasterio.features.rasterize(
        shapes, SHAPE, fill=NODATA, transform=GRID.affine, dtype=np.uint8
    )
    assert np.array_equal(drawn, LABELS)
    for code in (0, 1, 2):
        rows = frame[frame["class"] == code]
        assert set(rows["name"]) == {f"class {code}"}
        assert set(rows["confidence"]) == {50.0 + 10 * code}
        assert rows["pixels"].sum() == (code == LABELS).sum()
    assert frame["area_m2"].sum() == pytest.approx(100 * frame["pixels"].sum(), rel=1e-3)
    assert tags["GEOUNET_MODEL"] == "random 0"
    assert tags["GEOUNET_MODEL_SHA256"] == bundle.sha256
    assert json.loads(tags["GEOUNET_CLASSES"])[1] == {
        "code": 1,
        "name": "class 1",
        "color": "#2166ac",
    }
    assert [c.name for c in read_legend(paths.raster).values()] == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize("step", [1, 7, 90])
def test_the_height_of_strips_does_not_matter(tmp_path, bundle, step: int) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    run(paths_in(one), bundle)
    run(paths_in(other), bundle, step=step)
    assert content(one)["map.tif"] == content(other)["map.tif"]
    a, b = (
        pyogrio.read_dataframe(f / "map.gpkg", layer="map").drop(columns="area_m2")
        for f in (one, other)
    )
    assert a.equals(b)


@pytest.mark.parametrize("stem", ["[crop] a'b\" ü#1", "gpkg 100%", "-x", "a?b&c=1,d", "x" * 200])
def test_any_file_name(tmp_path, bundle, stem: str) -> None:
    paths = paths_in(tmp_path, stem)
    run(paths, bundle)
    assert sorted(content(tmp_path)) == sorted(p.name for p in paths.all)
    with rasterio.open(paths.raster) as dataset:
        assert np.array_equal(dataset.read(1), LABELS)
    name = layer_name(stem)
    assert pyogrio.read_info(paths.polygons, layer=name)["features"] > 0


def test_without_a_crs_there_is_no_area(tmp_path, bundle) -> None:
    scene = MemoryScene.of(np.zeros((1, *SHAPE), np.uint8))
    run(paths_in(tmp_path), bundle, scene.info)
    frame = pyogrio.read_dataframe(tmp_path / "map.gpkg", layer="map")
    assert "area_m2" not in frame
    assert frame.crs is None
    # as QGIS shows a raster without a place: rows grow downwards from 0
    assert frame.total_bounds.tolist() == [0, -90, 70, 0]


def test_a_crs_that_geotiff_cannot_hold(tmp_path, bundle) -> None:
    wkt = pyproj.CRS("+proj=ob_tran +o_proj=longlat +o_lat_p=40 +lon_0=10").to_wkt()
    grid = GeoBox(SHAPE, Affine(0.1, 0, 5, 0, -0.1, 7), wkt)
    run(paths_in(tmp_path), bundle, info_of(grid))
    for name in ("map.tif", "map.confidence.tif"):
        with rasterio.open(tmp_path / name) as dataset:
            assert dataset.crs == rasterio.CRS.from_wkt(wkt)


def broken(message: str):
    def fail(*_args, **_kwargs):
        raise OutputError(message)

    return fail


class StyleError(RuntimeError):
    """Stands for a bug."""


def bug(*_args, **_kwargs):
    raise StyleError


FAILURES = {
    "opening the raster": (BlockStore, "__init__", broken("x"), OutputError),
    "writing rows": (BlockStore, "put", broken("x"), OutputError),
    "making the COG": (writer_module, "assemble", broken("x"), OutputError),
    "a bug in the writer": (StripWriter, "write", bug, StyleError),
    "opening the layer": (layer_module, "open_layer", broken("x"), OutputError),
    "polygons": (ThreadedWriter, "write", broken("x"), OutputError),
    "the layer's chunk": (GeoPackage, "write", broken("x"), OutputError),
    "the layer's tables": (GeoPackage, "finish", broken("x"), OutputError),
    "the tracer": (StripPolygonizer, "parts", bug, StyleError),
    "the last polygons": (StripPolygonizer, "last_parts", bug, StyleError),
    "areas": (ArcAreas, "__call__", bug, StyleError),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("existing", [True, False])
def test_a_failure_at_any_point_leaves_everything_as_it_was(
    tmp_path, bundle, monkeypatch, case: str, existing: bool
) -> None:
    if existing:
        for path in paths_in(tmp_path).all:
            path.write_bytes(f"yesterday's {path.name}".encode())
    before = content(tmp_path)
    owner, name, failure, expected = FAILURES[case]
    monkeypatch.setattr(owner, name, failure)
    with pytest.raises(expected):
        run(paths_in(tmp_path), bundle)
    assert content(tmp_path) == before


def test_a_sidecar_that_cannot_be_written(tmp_path, bundle, monkeypatch) -> None:
    from pathlib import Path

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
        run(paths_in(tmp_path), bundle)
    assert content(tmp_path) == {}


def test_overwriting_replaces_every_file(tmp_path, bundle) -> None:
    for path in paths_in(tmp_path).all:
        path.write_bytes(b"yesterday's")
    run(paths_in(tmp_path), bundle)
    assert all(data != b"yesterday's" for data in content(tmp_path).values())
    assert pyogrio.read_info(tmp_path / "map.gpkg", layer="map")["features"] > 0


def test_overwriting_a_geopackage_that_qgis_has_open(tmp_path, bundle) -> None:
    """QGIS reads in write-ahead mode: the log of the old file must not meet the new one."""
    run(paths_in(tmp_path), bundle)
    with contextlib.closing(sqlite3.connect(tmp_path / "map.gpkg")) as reader:
        reader.execute("PRAGMA journal_mode=wal")
        reader.execute("CREATE TABLE edited (x)")
        reader.commit()
        assert (tmp_path / "map.gpkg-wal").stat().st_size > 0
        run(paths_in(tmp_path), bundle)
        names = sorted(content(tmp_path))
        assert names == sorted(p.name for p in paths_in(tmp_path).all)
        shutil.copy(tmp_path / "map.gpkg", tmp_path / "copy.gpkg")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.gpkg")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    assert "map" in tables
    assert "edited" not in tables


@pytest.mark.parametrize("name", ["map.tif", "map.gpkg", "map.confidence.tif"])
def test_the_scene_itself_is_never_replaced(tmp_path, name: str) -> None:
    scene = tmp_path / name
    scene.write_bytes(b"precious")
    with pytest.raises(OutputError, match=f"{name} is the scene itself: choose another name"):
        refuse_inputs(paths_in(tmp_path).all, [str(scene)], "the scene")
    refuse_inputs(paths_in(tmp_path, "other").all, [str(scene)], "the scene")
    urls = ["https://example.org/map.tif", f"/vsicurl/https://example.org/{'x' * 300}.tif"]
    refuse_inputs(paths_in(tmp_path).all, urls, "the scene")


def test_provenance_names_version_model_and_hash(bundle) -> None:
    tags = provenance(bundle)
    assert sorted(tags) == [
        "GEOUNET_CLASSES",
        "GEOUNET_MODEL",
        "GEOUNET_MODEL_SHA256",
        "GEOUNET_VERSION",
    ]
    assert tags["GEOUNET_CLASSES"] == classes_json(bundle.spec.classes)
