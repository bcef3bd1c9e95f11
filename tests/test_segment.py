"""The whole way: a scene in, files or an array out, or nothing at all."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, fields

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import rasters
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from test_exactness import whole_scene_logits

import geounet
from geounet.bands import Normalizer
from geounet.bundle import load_bundle
from geounet.classes import NODATA
from geounet.engine.select import make_engine
from geounet.engine.torch import TorchEngine
from geounet.errors import GeounetError, OptionError, OutputError, SceneError
from geounet.polygonize import StripPolygonizer
from geounet.report import SegmentReport
from geounet.scene import MemoryScene
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet.writer import StripWriter

HEIGHT, WIDTH = 300, 260
GRID = GeoBox((HEIGHT, WIDTH), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
RNG = np.random.default_rng(8)
DATA = np.stack(
    [
        np.kron(RNG.normal(size=(38, 33)), np.ones((8, 8)))[:HEIGHT, :WIDTH]
        + 0.2 * RNG.normal(size=(HEIGHT, WIDTH))
        for _ in range(2)
    ]
).astype(np.float32)
VALID = np.ones((HEIGHT, WIDTH), bool)
VALID[250:, 100:180] = False
VALID[RNG.random(VALID.shape) < 0.01] = False


AFFINE_3 = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
"""odc-geo and rioxarray multiply affines with *, which affine 3 would like to be @."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("model") / "random.geounet"
    spec = random_spec(("red", "nir"), classes=4, width=4, depth=2)
    return str(random_bundle(path, spec, seed=3))


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> str:
    return str(write_scene(tmp_path_factory.mktemp("scene") / "valley.tif"))


def write_scene(path, crs="EPSG:32633", transform=GRID.affine):
    data = np.where(VALID, DATA, np.float32(np.nan))
    blocks = {"tiled": True, "blockxsize": 128, "blockysize": 128}
    place = {"crs": crs, "transform": transform}
    return rasters.write(path, data, names=("red", "nir"), nodata=np.nan, **blocks, **place)


def memory_scene() -> MemoryScene:
    return MemoryScene.of(DATA, valid=VALID, geobox=GRID, names=("red", "nir"))


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def drawn(path, layer):
    frame = pyogrio.read_dataframe(path, layer=layer)
    shapes = zip(frame.geometry, frame["class"], strict=True)
    return rasterio.features.rasterize(
        shapes, (HEIGHT, WIDTH), fill=NODATA, transform=GRID.affine, dtype=np.uint8
    )


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and t.name.startswith("geounet")]
    assert left == []


@pytest.fixture(scope="module")
def expected(model):
    """Labels of one pass over the whole scene, and where they are no tie."""
    bundle = load_bundle(model)
    normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
    engine = TorchEngine(bundle, normalizer, device="cpu", precision="fp32")
    logits = whole_scene_logits(engine, np.where(VALID, DATA, 0), VALID)
    ordered = np.sort(logits, axis=0)
    return np.where(VALID, logits.argmax(0), NODATA), ordered[-1] - ordered[-2] > 1e-4


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("tile", [64, 100, 256, 1000])
def test_labels_and_polygons_do_not_depend_on_the_tile(
    tmp_path, model, scene, expected, tile: int, engine: str
) -> None:
    report = geounet.segment(scene, model=model, out=tmp_path / "a.tif", tile=tile, engine=engine)
    assert report.engine == engine
    labels, clear = expected
    got = read(report.raster)
    assert np.array_equal(got[clear], labels[clear])
    assert clear.mean() > 0.999
    assert len(np.unique(got[VALID])) == 4
    assert np.array_equal(got == NODATA, ~VALID)
    assert np.array_equal(drawn(report.polygons, "a"), got)
    assert report.valid_pixels == VALID.sum()
    for code, total in enumerate(report.classes.values()):
        assert total.pixels == (got == code).sum()


@pytest.mark.parametrize(("name", "model"), [("flood_s1", "flood-s1"), ("river_ms", "water-ms")])
def test_bundled_models_give_the_same_labels_for_any_tile(
    tmp_path, samples, name: str, model: str
) -> None:
    if model not in geounet.bundled_models():
        pytest.skip(f"{model} is not bundled")
    with rasterio.open(samples / f"{name}.tif") as whole:
        data = whole.read(window=rasterio.windows.Window(500, 300, 260, 280))
        valid = whole.dataset_mask()[300:580, 500:760] > 0
        names, scales = whole.descriptions, whole.scales
    part = MemoryScene(
        raster=MemoryScene.of(
            data,
            valid=valid,
            geobox=GeoBox(valid.shape, Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633"),
        ).raster,
        names=names,
        scale=scales[0],
    )
    maps = []
    for tile in (64, 256, 1000):
        report = geounet.segment(
            part,
            model=model,
            out=tmp_path / f"{tile}.tif",
            tile=tile,
            polygons=False,
            precision="fp32",
        )
        maps.append(read(report.raster))
        assert report.precision == "fp32"
    assert np.array_equal(maps[0] == NODATA, ~valid)
    assert len(np.unique(maps[0][valid])) > 1
    # all but numerical ties
    assert (maps[0] != maps[2]).mean() < 1e-5
    assert (maps[1] != maps[2]).mean() < 1e-5


def test_confidence(tmp_path, model, scene) -> None:
    report = geounet.segment(scene, model=model, out=tmp_path / "a.tif", confidence=True, tile=64)
    percent, labels = read(report.confidence), read(report.raster)
    assert report.confidence == tmp_path / "a.confidence.tif"
    assert np.array_equal(percent == NODATA, ~VALID)
    assert percent[VALID].max() <= 100
    assert percent[VALID].min() >= 25  # the largest of four
    frame = pyogrio.read_dataframe(report.polygons, layer="a")
    weighted = (frame["confidence"] * frame["pixels"]).sum() / frame["pixels"].sum()
    assert weighted == pytest.approx(percent[VALID].mean(), abs=0.1)
    assert frame["pixels"].sum() == (labels != NODATA).sum()


def write_area(path, boxes, crs="EPSG:32633"):
    shapes = [shapely.box(*box) for box in boxes]
    geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:32633").to_crs(crs).to_file(path)
    return path


def test_area_of_interest(tmp_path, model, scene) -> None:
    whole = read(geounet.segment(scene, model=model, out=tmp_path / "all.tif").raster)
    # columns 40..80 and rows 150..170, its corners in the middle of pixels
    box = (500_395, 4_998_305, 500_805, 4_998_505)
    area = write_area(tmp_path / "area.gpkg", [box], crs="EPSG:4326")
    report = geounet.segment(scene, model=model, out=tmp_path / "part.tif", aoi=str(area), tile=32)
    part = read(report.raster)
    inside = np.zeros(part.shape, bool)
    inside[150:169, 40:80] = True
    assert np.array_equal(part[inside], whole[inside])
    outside = np.ones(part.shape, bool)
    outside[149:170, 39:81] = False
    assert (part[outside] == NODATA).all()
    assert report.valid_pixels == (part != NODATA).sum()
    assert np.array_equal(drawn(report.polygons, "part"), part)


def test_an_area_of_interest_reads_only_the_tiles_it_touches(tmp_path, model, monkeypatch) -> None:
    monkeypatch.setattr("geounet.choose.check_values", lambda *_, **__: None)  # takes samples
    area = write_area(tmp_path / "area.gpkg", [(500_400, 4_998_300, 500_800, 4_998_500)])
    source = memory_scene()
    geounet.segment(source, model=model, out=tmp_path / "a.tif", aoi=area, tile=32)
    rows = {row for w in source.reads for row in range(w.row_off, w.row_end)}
    halo = 24
    assert rows
    assert min(rows) >= 128 - halo
    assert max(rows) < 192 + halo
    stride = 4
    assert {(w.col_off, w.col_end) for w in source.reads} == {(32 - halo - stride, 96 + halo)}
    assert sum(w.height for w in source.reads) == len(rows)


def test_an_area_of_interest_without_a_valid_pixel(tmp_path, model, scene) -> None:
    area = write_area(tmp_path / "area.gpkg", [(501_200, 4_997_100, 501_700, 4_997_300)])
    with pytest.raises(SceneError, match="no valid pixel inside --aoi"):
        geounet.segment(scene, model=model, out=tmp_path / "a.tif", aoi=area)
    assert [p.name for p in tmp_path.iterdir()] == ["area.gpkg"]


@AFFINE_3
def test_without_a_crs(tmp_path, model) -> None:
    path = write_scene(tmp_path / "plain.tif", crs=None)
    with pytest.warns(UserWarning, match=r"plain.tif has no CRS, so the outputs have none either"):
        report = geounet.segment(path, model=model, out=tmp_path / "a.tif")
    assert {t.area_m2 for t in report.classes.values()} == {None}
    with rasterio.open(report.raster) as dataset:
        assert dataset.crs is None
        assert dataset.transform == GRID.affine
    assert pyogrio.read_info(report.polygons, layer="a")["crs"] is None
    assert np.array_equal(drawn(report.polygons, "a"), read(report.raster))


@AFFINE_3
def test_xarray_in_xarray_out(tmp_path, model, scene) -> None:
    array = open_array(scene)
    labels = geounet.segment(array, model=model)
    report = geounet.segment(scene, model=model, out=tmp_path / "a.tif")
    assert labels.dims == ("y", "x")
    assert labels.dtype == np.uint8
    assert np.array_equal(labels.values, read(report.raster))
    assert labels.rio.crs == array.rio.crs
    assert labels.rio.transform() == array.rio.transform()
    assert np.array_equal(labels.x, array.x)
    assert np.array_equal(labels.y, array.y)
    assert labels.attrs["model"] == "random"
    assert labels.attrs["flag_values"] == [0, 1, 2, 3]
    assert labels.odc.geobox == GRID


@AFFINE_3
def test_xarray_without_a_crs_keeps_its_coordinates(model) -> None:
    """And is told that there is none, at the line that calls."""
    array = array_without_crs()
    with pytest.warns(UserWarning, match="DataArray .* has no CRS, so the outputs") as caught:
        labels = geounet.segment(array, model=model)
    assert [w.filename for w in caught if w.category is UserWarning] == [__file__]
    assert np.array_equal(labels.values == NODATA, ~VALID)
    assert np.array_equal(labels.x, array.x)


def open_array(path):
    import rioxarray

    return rioxarray.open_rasterio(path)


def array_without_crs():
    import xarray as xr

    x, y = np.arange(WIDTH) * 10.0 + 5, 5000 - np.arange(HEIGHT) * 10.0
    return xr.DataArray(
        np.where(VALID, DATA, np.nan).astype(np.float32),
        dims=("band", "y", "x"),
        coords={"band": ["red", "nir"], "y": y, "x": x},
        name="valley",
    )


@AFFINE_3
def test_xarray_with_an_output_gives_files(tmp_path, model, scene) -> None:
    report = geounet.segment(open_array(scene), model=model, out=tmp_path / "a.tif")
    assert isinstance(report, SegmentReport)
    assert report.raster.exists()


def test_default_names_in_the_current_folder(tmp_path, model, scene, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = geounet.segment(scene, model=model)
    assert str(report.raster) == "valley.random.tif"
    assert str(report.polygons) == "valley.random.gpkg"
    assert report.confidence is None
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "valley.random.gpkg",
        "valley.random.qml",
        "valley.random.tif",
        "valley.random.tif.aux.xml",
    ]
    with pytest.raises(OutputError, match=r"valley.random.tif exists: pass --overwrite"):
        geounet.segment(scene, model=model)
    geounet.segment(scene, model=model, overwrite=True)


def test_the_report_is_its_json(tmp_path, model, scene) -> None:
    report = geounet.segment(scene, model=model, out=tmp_path / "a.tif", tile=64)
    told = json.loads(report.to_json())
    assert list(told) == [f.name for f in fields(report)]
    assert told["raster"] == str(report.raster)
    assert told["classes"] == {name: asdict(total) for name, total in report.classes.items()}
    assert told["pixels"] == HEIGHT * WIDTH
    assert told["tile"] == 64
    assert told["halo"] == 24
    assert told["engine"] == "openvino"
    assert told["device"] == "cpu"
    assert told["precision"] == "fp32"  # its agreement in bf16 is unknown
    assert told["model_sha256"] == load_bundle(model).sha256
    assert told["seconds"] > 0
    assert told["mpx_per_s"] == pytest.approx(0.078 / told["seconds"], rel=0.05)


def test_progress(tmp_path, model, scene) -> None:
    seen: list[tuple[int, int]] = []
    geounet.segment(
        scene,
        model=model,
        out=tmp_path / "a.tif",
        tile=64,
        progress=lambda done, total: seen.append((done, total)),
    )
    done = [d for d, _ in seen]
    assert done[0] == 0
    assert done == sorted(done)
    assert done[-1] == HEIGHT * WIDTH
    assert {total for _, total in seen} == {HEIGHT * WIDTH}
    assert len(seen) > 5


def test_several_devices_give_the_bytes_of_one(tmp_path, model, scene, monkeypatch) -> None:
    one = geounet.segment(scene, model=model, out=tmp_path / "a.tif", tile=64, confidence=True)
    monkeypatch.setattr(
        "geounet.engine.select.make_engines",
        lambda *args, **options: [make_engine(*args, **options) for _ in range(3)],
    )
    (tmp_path / "b").mkdir()
    seen = []
    several = geounet.segment(
        scene,
        model=model,
        out=tmp_path / "b" / "a.tif",
        tile=64,
        confidence=True,
        progress=lambda done, _total: seen.append(done),
    )
    assert several.device == "cpu,cpu,cpu"
    for what in ("raster", "polygons", "confidence"):
        assert getattr(one, what).read_bytes() == getattr(several, what).read_bytes()
    assert seen == sorted(seen)
    assert seen[-1] == HEIGHT * WIDTH


def test_several_devices_get_two_rows_of_tiles_each(tmp_path, model, monkeypatch) -> None:
    grid = GeoBox((4000, 8), GRID.affine, GRID.crs)
    tall = MemoryScene.of(np.zeros((2, 4000, 8), np.float32), geobox=grid, names=("red", "nir"))
    monkeypatch.setattr(
        "geounet.engine.select.make_engines",
        lambda *args, **options: [make_engine(*args, **options) for _ in range(3)],
    )
    report = geounet.segment(tall, model=model, out=tmp_path / "a.tif", polygons=False)
    assert report.tile == 668


class StageError(Exception):
    """Stands for anything that goes wrong in a stage."""


def fail(*_args, **_kwargs):
    raise StageError


def fail_late(method):
    """The method, which raises when it is called for the third time."""
    calls = []

    def wrapper(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise StageError
        return method(*args, **kwargs)

    return wrapper


STAGES = {
    "reader": (MemoryScene, "read"),
    "network": (TorchEngine, "predict"),
    "writer": (StripWriter, "write"),
    "polygoniser": (StripPolygonizer, "parts"),
}


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_fails_ends_the_run(
    tmp_path, model, monkeypatch, stage: str, late: bool
) -> None:
    monkeypatch.setattr("geounet.choose.check_values", lambda *_, **__: None)
    owner, name = STAGES[stage]
    monkeypatch.setattr(owner, name, fail_late(getattr(owner, name)) if late else fail)
    with pytest.raises(StageError):
        geounet.segment(
            memory_scene(), model=model, out=tmp_path / "a.tif", tile=32, engine="torch"
        )
    assert list(tmp_path.iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("geounet")]


def test_a_progress_callback_that_raises_ends_the_run(tmp_path, model, scene) -> None:
    with pytest.raises(StageError):
        geounet.segment(scene, model=model, out=tmp_path / "a.tif", progress=fail_late(fail_never))
    assert list(tmp_path.iterdir()) == []


def fail_never(*_args) -> None:
    """A method that does nothing."""


def test_a_failed_run_leaves_earlier_outputs_as_they_were(
    tmp_path, model, scene, monkeypatch
) -> None:
    geounet.segment(scene, model=model, out=tmp_path / "a.tif", confidence=True)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert len(before) == 5
    monkeypatch.setattr(TorchEngine, "predict", fail)
    with pytest.raises(StageError):
        geounet.segment(
            scene,
            model=model,
            out=tmp_path / "a.tif",
            confidence=True,
            overwrite=True,
            engine="torch",
        )
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_the_same_run_gives_the_same_pixels_and_polygons(tmp_path, model, scene) -> None:
    for name in ("a", "b"):
        geounet.segment(scene, model=model, out=tmp_path / f"{name}.tif", tile=96)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    one, other = (pyogrio.read_dataframe(tmp_path / f"{n}.gpkg", layer=n) for n in ("a", "b"))
    assert one.equals(other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "--tile 0: a tile has 1 to"),
        ({"out": "a.png"}, r"-o a.png: the class map is a GeoTIFF"),
        ({"polygons": "a.shp"}, r"--polygons a.shp: end it in .gpkg"),
        ({"precision": "fp8"}, "--precision fp8: choose auto"),
        ({"device": "tpu"}, "--device tpu: choose auto"),
        ({"engine": "onnx"}, "--engine onnx: choose auto"),
    ],
)
def test_options_outside_their_limits(tmp_path, model, scene, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=message):
        geounet.segment(scene, model=model, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_option_that_does_not_exist(scene, model) -> None:
    with pytest.raises((TypeError, GeounetError), match="polygon"):
        geounet.segment(scene, model=model, polygon=True)
