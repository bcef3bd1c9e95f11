"""``geounet polygonize``: from a class map on disk to a layer on disk."""

from __future__ import annotations

import json
import re
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from range_server import serve
from rasterio.transform import Affine

from geounet.errors import GeounetError, OptionError, OutputError, SceneError
from geounet.legend import TAG
from geounet.polygonization import PolygonizeOptions, polygonize_raster
from geounet_cli.main import main

TRANSFORM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
NAMES = [
    {"code": 0, "name": "land", "color": "#d9d2c3"},
    {"code": 1, "name": "open water", "color": "#1f78b4"},
    {"code": 2, "name": "forest", "color": "#33a02c"},
]


def labels_of(shape=(90, 70), seed=0) -> np.ndarray:
    """Patches of three classes, a corner without data."""
    coarse = np.random.default_rng(seed).integers(0, 3, (shape[0] // 6 + 1, shape[1] // 6 + 1))
    labels = np.kron(coarse, np.ones((6, 6), int))[: shape[0], : shape[1]].astype(np.uint8)
    labels[:8, :9] = 255
    return labels


def write(path: Path, labels: np.ndarray, *, nodata=255, names=True, **profile) -> Path:
    kind = {"crs": "EPSG:32633", "transform": TRANSFORM} | profile
    kind = {key: value for key, value in kind.items() if value is not None}
    bands = labels if labels.ndim == 3 else labels[None]
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), dtype=labels.dtype, nodata=nodata,
        height=bands.shape[1], width=bands.shape[2], **kind,
    ) as dataset:  # fmt: skip
        dataset.write(bands)
        if names:
            dataset.update_tags(**{TAG: json.dumps(NAMES)})
    return path


@pytest.fixture
def raster(tmp_path) -> Path:
    return write(tmp_path / "classes.tif", labels_of())


def test_a_raster_in_an_archive_and_one_behind_an_address(tmp_path, raster, monkeypatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    for folder in ("zip", "web"):
        (tmp_path / folder).mkdir()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(raster, "deep/classes.tif")
    polygonize_raster(raster, tmp_path / "map.fgb")
    polygonize_raster(f"/vsizip/{tmp_path}/a.zip/deep/classes.tif", tmp_path / "zip" / "map.fgb")
    with serve(tmp_path) as address:
        polygonize_raster(f"{address}/classes.tif", tmp_path / "web" / "map.fgb")
    wanted = (tmp_path / "map.fgb").read_bytes()
    assert (tmp_path / "zip" / "map.fgb").read_bytes() == wanted
    assert (tmp_path / "web" / "map.fgb").read_bytes() == wanted


def rasterized(frame: geopandas.GeoDataFrame, shape: tuple[int, int]) -> np.ndarray:
    pairs = zip(frame.geometry, frame["class"], strict=True)
    return rasterio.features.rasterize(pairs, shape, fill=255, transform=TRANSFORM)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet"])
def test_rasterizing_the_layer_gives_the_map_back(tmp_path, raster, suffix: str) -> None:
    out = tmp_path / f"map{suffix}"
    report = polygonize_raster(raster, out)
    if suffix == ".parquet":
        frame = geopandas.read_parquet(out)
    else:
        frame = geopandas.read_file(out, layer="map")
    assert np.array_equal(rasterized(frame, (90, 70)), labels_of())
    assert frame.crs == "EPSG:32633"
    assert set(frame["name"]) == {"land", "open water", "forest"}
    assert report.polygons == len(frame)
    assert report.classes["forest"].pixels == (labels_of() == 2).sum()
    assert sum(t.polygons for t in report.classes.values()) == len(frame)


def test_geojson_is_in_degrees(tmp_path, raster) -> None:
    polygonize_raster(raster, tmp_path / "map.geojson")
    frame = geopandas.read_file(tmp_path / "map.geojson")
    assert frame.crs == "EPSG:4326"
    assert frame.to_crs("EPSG:32633").area.sum() == pytest.approx(
        100 * (labels_of() != 255).sum(), rel=1e-6
    )


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64"])
def test_any_whole_numbers(tmp_path, dtype: str) -> None:
    labels = labels_of()
    labels[labels == 255] = 7
    path = write(tmp_path / "a.tif", labels.astype(dtype), nodata=None, names=False)
    polygonize_raster(path, tmp_path / "a.gpkg")
    frame = geopandas.read_file(tmp_path / "a.gpkg", layer="a")
    assert np.array_equal(rasterized(frame, labels.shape), labels)
    assert "name" not in frame


def test_numbers_beyond_32_bits_are_refused(tmp_path) -> None:
    labels = labels_of().astype(np.int64) + (1 << 40)
    path = write(tmp_path / "a.tif", labels, nodata=None)
    with pytest.raises(SceneError, match=r"holds values from 1099511627776 to .* class codes are"):
        polygonize_raster(path, tmp_path / "a.gpkg")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_only_the_classes_asked_for(tmp_path, raster) -> None:
    options = PolygonizeOptions(classes=["open water", "2"])
    report = polygonize_raster(raster, tmp_path / "a.gpkg", options)
    frame = geopandas.read_file(tmp_path / "a.gpkg", layer="a")
    wanted = np.where(np.isin(labels_of(), [1, 2]), labels_of(), 255)
    assert np.array_equal(rasterized(frame, (90, 70)), wanted)
    assert list(report.classes) == ["open water", "forest"]


def test_simplified_polygons_leave_no_gap(tmp_path) -> None:
    row, col = np.indices((90, 70))
    labels = (np.hypot(row - 40, 2 * col - 60) // 17 % 3).astype(np.uint8)
    path = write(tmp_path / "a.tif", labels, nodata=None)
    polygonize_raster(path, tmp_path / "a.gpkg", PolygonizeOptions(simplify="15m"))
    frame = geopandas.read_file(tmp_path / "a.gpkg", layer="a")
    assert frame.is_valid.all()
    assert shapely.coverage_is_valid(frame.geometry.to_numpy())
    assert frame.area.sum() == pytest.approx(labels.size * 100)
    exact = polygonize_raster(path, tmp_path / "b.gpkg")
    assert exact.polygons == len(frame)
    corners = shapely.get_num_coordinates(frame.geometry).sum()
    whole = geopandas.read_file(tmp_path / "b.gpkg", layer="b").geometry
    assert corners < shapely.get_num_coordinates(whole).sum()


@pytest.mark.parametrize("more", [[], ["--simplify", "1.5"], ["--connectivity", "8"]])
def test_smoothed_polygons_leave_no_gap(tmp_path, monkeypatch, more) -> None:
    monkeypatch.chdir(tmp_path)
    row, col = np.indices((300, 70))
    labels = (np.hypot(row - 40, 2 * col - 60) // 17 % 3).astype(np.uint8)
    write(Path("a.tif"), labels, nodata=None)
    assert main(["polygonize", "a.tif", "a.gpkg", "--smooth", *more]) == 0
    frame = geopandas.read_file("a.gpkg", layer="a")
    assert frame.is_valid.all()
    assert shapely.coverage_is_valid(frame.geometry.to_numpy())
    assert frame.area.sum() == pytest.approx(labels.size * 100)
    if not more:
        assert np.array_equal(rasterized(frame, labels.shape), labels)
        classes = frame.area.groupby(frame["class"]).sum()
        np.testing.assert_allclose(classes, np.bincount(labels.ravel()) * 100, rtol=1e-3)
    np.testing.assert_allclose(frame["perimeter_m"], frame.length)
    shapes = shapely.get_coordinates(frame.geometry.to_numpy())
    assert (shapes % 10 != 0).any()


def test_small_ones_are_merged_and_holes_filled(tmp_path) -> None:
    labels = np.zeros((80, 60), np.uint8)
    labels[10:40, 10:40] = 1
    labels[20:23, 20:23] = 2  # a hole of 900 m2 in the square
    labels[50:52, 30] = 2  # two pixels in the land
    path = write(tmp_path / "a.tif", labels, nodata=None)
    whole = polygonize_raster(path, tmp_path / "a.gpkg")
    assert whole.polygons == 4
    clean = polygonize_raster(path, tmp_path / "b.gpkg", PolygonizeOptions(min_area=500))
    assert clean.polygons == 3
    assert clean.classes["land"].pixels == 80 * 60 - 900
    full = PolygonizeOptions(min_area=500, max_hole=1000)
    report = polygonize_raster(path, tmp_path / "c.gpkg", full)
    assert report.polygons == 2
    assert report.classes["open water"].pixels == 900
    with pytest.raises(OptionError, match="--min-area -1: give square metres, 0 or more"):
        PolygonizeOptions(min_area=-1)


def test_objects_are_numbered_and_placed(tmp_path, raster) -> None:
    polygonize_raster(raster, tmp_path / "a.gpkg", PolygonizeOptions(objects=True))
    frame = geopandas.read_file(tmp_path / "a.gpkg", layer="a")
    assert sorted(frame["object"]) == list(range(1, len(frame) + 1))
    centre = frame.geometry.centroid
    assert np.allclose(frame[["centroid_x", "centroid_y"]], np.stack([centre.x, centre.y], 1))
    assert np.allclose(frame[["xmin", "ymin", "xmax", "ymax"]], frame.bounds)


def test_confidence_becomes_columns(tmp_path, raster) -> None:
    scores = np.random.default_rng(1).integers(0, 101, (90, 70)).astype(np.uint8)
    write(tmp_path / "c.tif", scores, nodata=255, names=False)
    options = PolygonizeOptions(confidence=tmp_path / "c.tif")
    polygonize_raster(raster, tmp_path / "a.gpkg", options)
    frame = geopandas.read_file(tmp_path / "a.gpkg", layer="a")
    one = frame.iloc[int(np.argmax(frame["pixels"]))]
    inside = rasterio.features.geometry_mask([one.geometry], (90, 70), TRANSFORM, invert=True)
    assert one["confidence"] == pytest.approx(scores[inside].mean(), abs=0.06)
    assert one["confidence_min"] == scores[inside].min()


@pytest.mark.parametrize("scores", [np.float32(0.5), np.int16(300)])
def test_a_confidence_that_is_none_is_refused(tmp_path, raster, scores) -> None:
    write(tmp_path / "c.tif", np.full((90, 70), scores), nodata=None, names=False)
    options = PolygonizeOptions(confidence=tmp_path / "c.tif")
    with pytest.raises(SceneError, match="is no confidence in percent: give whole numbers from 0"):
        polygonize_raster(raster, tmp_path / "a.gpkg", options)
    assert not (tmp_path / "a.gpkg").exists()


def test_corners_join_where_asked(tmp_path) -> None:
    path = write(tmp_path / "a.tif", np.eye(6, dtype=np.uint8), nodata=0)
    report = polygonize_raster(path, tmp_path / "a.gpkg", PolygonizeOptions(diagonal=True))
    assert report.polygons == 1
    (shape,) = geopandas.read_file(tmp_path / "a.gpkg", layer="a").geometry
    assert shape.geom_type == "MultiPolygon"
    assert shape.is_valid
    assert polygonize_raster(path, tmp_path / "b.gpkg").polygons == 6


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_without_a_crs_there_are_no_areas(tmp_path) -> None:
    path = write(tmp_path / "a.tif", labels_of(), crs=None, transform=None)
    heard: list[str] = []
    polygonize_raster(path, tmp_path / "a.gpkg", warn=heard.append)
    assert heard == [f"{path} has no CRS, so the layer has none either, nor areas"]
    frame = geopandas.read_file(tmp_path / "a.gpkg", layer="a")
    assert "area_m2" not in frame
    assert frame.total_bounds.tolist() == [0, -90, 70, 0]


def test_an_empty_map_gives_an_empty_layer(tmp_path) -> None:
    path = write(tmp_path / "a.tif", np.full((5, 5), 255, np.uint8))
    heard: list[str] = []
    report = polygonize_raster(path, tmp_path / "a.gpkg", say=heard.append)
    assert report.polygons == 0
    assert "the layer is empty" in heard[0]
    assert len(geopandas.read_file(tmp_path / "a.gpkg", layer="a")) == 0


def test_threads_change_nothing(tmp_path) -> None:
    path = write(tmp_path / "a.tif", labels_of((400, 50), 3))
    for threads in (1, 3):
        options = PolygonizeOptions(threads=threads, overwrite=True)
        (tmp_path / str(threads)).mkdir()
        polygonize_raster(path, tmp_path / f"{threads}/a.gpkg", options)
    assert (tmp_path / "1/a.gpkg").read_bytes() == (tmp_path / "3/a.gpkg").read_bytes()


REFUSED = {
    "suffix": ("a.shp", {}, OptionError, r"the layer .*a\.shp: end it in \.gpkg"),
    "folder": ("no/a.gpkg", {}, OutputError, "does not exist: make it first"),
    "class": ("a.gpkg", {"classes": ["watr"]}, OptionError, "it names land, open water, forest"),
    "band": ("a.gpkg", {"band": 2}, OptionError, "--band 2: .* has 1 bands, from 1 on"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(tmp_path, raster, case: str) -> None:
    name, options, kind, match = REFUSED[case]
    with pytest.raises(kind, match=match):
        polygonize_raster(raster, tmp_path / name, PolygonizeOptions(**options))
    assert [p.name for p in tmp_path.iterdir()] == ["classes.tif"]


def test_rasters_that_hold_no_codes(tmp_path) -> None:
    write(tmp_path / "f.tif", labels_of().astype(np.float32), nodata=None)
    with pytest.raises(SceneError, match="holds float32; class codes are whole numbers"):
        polygonize_raster(tmp_path / "f.tif", tmp_path / "a.gpkg")
    write(tmp_path / "m.tif", np.stack([labels_of()] * 2), nodata=None)
    with pytest.raises(OptionError, match="has 2 bands: say which has the codes with --band N"):
        polygonize_raster(tmp_path / "m.tif", tmp_path / "a.gpkg")
    assert polygonize_raster(
        tmp_path / "m.tif", tmp_path / "a.gpkg", PolygonizeOptions(band=2)
    ).polygons


def test_the_label_that_means_nothing_inside_is_refused(tmp_path) -> None:
    labels = labels_of().astype(np.int32)
    labels[3, 3] = -(2**31)
    path = write(tmp_path / "a.tif", labels, nodata=None)
    with pytest.raises(SceneError, match="holds values from -2147483648 to 255; class codes are"):
        polygonize_raster(path, tmp_path / "a.gpkg")
    path = write(tmp_path / "b.tif", labels, nodata=-(2**31))
    pixels = polygonize_raster(path, tmp_path / "b.gpkg").classes.values()
    assert sum(total.pixels for total in pixels) == labels.size - 1


def test_a_colour_table_without_names_is_a_style(tmp_path) -> None:
    """As the land-cover maps of the web have it, and of the band that was asked for."""
    labels = np.stack([labels_of(seed=1), labels_of(seed=2)])
    path = write(tmp_path / "a.tif", labels, nodata=None, names=False)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (9, 8, 7, 255), 2: (255, 0, 0, 255)})
    for band, styled in ((1, ["0", "2"]), (2, None)):
        out = tmp_path / f"{band}.gpkg"
        polygonize_raster(path, out, PolygonizeOptions(band=band))
        assert "name" not in geopandas.read_file(out, layer=str(band), rows=1).columns
        with closing(sqlite3.connect(out)) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master")]
            assert ("layer_styles" in tables) is (styled is not None)
            if styled is not None:
                ((qml,),) = database.execute("SELECT styleQML FROM layer_styles")
                assert re.findall('value="([^"]*)" type="long"', qml) == styled
                assert '<category value="" type="string" symbol="2" label="other"' in qml
                assert "9,8,7" in qml


def test_names_of_another_band_are_not_taken(tmp_path) -> None:
    path = write(tmp_path / "a.tif", np.stack([labels_of(), labels_of()]), nodata=None)
    assert "land" in polygonize_raster(path, tmp_path / "1.fgb", PolygonizeOptions(band=1)).classes
    assert "0" in polygonize_raster(path, tmp_path / "2.fgb", PolygonizeOptions(band=2)).classes


@pytest.mark.parametrize("text", ["0", "-1", "two", "5km"])
def test_tolerances_that_cannot_be(text: str) -> None:
    with pytest.raises(OptionError, match=f"--simplify {text}: give pixels, as in 1.5, or metres"):
        PolygonizeOptions(simplify=text)


def test_metres_need_a_crs(tmp_path) -> None:
    path = write(tmp_path / "a.tif", labels_of(), crs=None)
    with pytest.raises(OptionError, match="no CRS that says how long a metre is"):
        polygonize_raster(
            path, tmp_path / "a.gpkg", PolygonizeOptions(simplify="20m"), warn=lambda _: None
        )


def test_an_existing_layer_is_kept_until_the_new_one_is_complete(
    tmp_path, raster, monkeypatch
) -> None:
    out = tmp_path / "a.gpkg"
    out.write_bytes(b"yesterday's")
    with pytest.raises(OutputError, match="exists: pass --overwrite"):
        polygonize_raster(raster, out)

    def broken(*_args: object) -> None:
        raise SceneError("a block is broken")

    monkeypatch.setattr("geounet.codes.Codes.strips", broken)
    with pytest.raises(GeounetError, match="a block is broken"):
        polygonize_raster(raster, out, PolygonizeOptions(overwrite=True))
    assert out.read_bytes() == b"yesterday's"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "classes.tif"]


@pytest.mark.usefixtures("raster")
def test_the_command(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["polygonize", "classes.tif", "a.gpkg", "--simplify", "1.5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["layer"] == "a.gpkg"
    assert told["polygons"] == sum(c["polygons"] for c in told["classes"].values())
    assert main(["polygonize", "classes.tif", "a.gpkg"]) == 2
    assert "a.gpkg exists: pass --overwrite" in capsys.readouterr().err
    assert main(["polygonize", "classes.tif", "b.fgb", "--connectivity", "8"]) == 0
    assert "open water" in capsys.readouterr().out
