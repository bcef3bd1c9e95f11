"""geounet.segment of a Dask array: the labels of the array in memory, and nothing too early."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dask
import dask.array as da
import geopandas
import numpy as np
import onnx_models
import pytest
import rioxarray
import shapely
import xarray as xr
from affine import Affine
from blocks import splits
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import geounet
from geounet.bundle import load_bundle
from geounet.classes import NODATA
from geounet.engine.torch import TorchEngine
from geounet.errors import ModelError, OptionError, SceneError, ValueRangeError
from geounet.models import load_model
from geounet.pool import _at_once, _engines, _everywhere
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec

pytestmark = [
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # affine 3, see test_segment
    pytest.mark.filterwarnings("ignore:chunks of .* waste:UserWarning"),  # scenes here are small
]

HEIGHT, WIDTH = 150, 131
GRID = GeoBox((HEIGHT, WIDTH), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
RNG = np.random.default_rng(5)


def scene(height=HEIGHT, width=WIDTH, *, seed=5, grid=None) -> xr.DataArray:
    """In memory: coarse and fine noise, holes of NaN in either band, and a corner without data."""
    rng = np.random.default_rng(seed)
    shape = (2, height, width)
    coarse = rng.normal(size=(2, height // 8 + 1, width // 8 + 1))
    data = np.kron(coarse, np.ones((8, 8)))[:, :height, :width] + 0.2 * rng.normal(size=shape)
    data[rng.random(shape) < 0.01] = np.nan
    data[:, height - height // 5 :, : width // 4] = np.nan
    grid = GRID[:height, :width] if grid is None else grid
    return xr.DataArray(
        data.astype(np.float32),
        dims=("band", "y", "x"),
        coords={"band": ["red", "nir"], **xr_coords(grid, always_yx=True)},
        name="valley",
    )


def chunked(array, *, band=2, y=64, x=48):
    return array.chunk({"band": band, "y": y, "x": x})


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("model") / "exact.geounet"
    return str(random_bundle(path, random_spec(("red", "nir"), classes=4), seed=3))


@pytest.fixture(scope="module")
def blended(tmp_path_factory) -> str:
    """A U-Net of which it is said that it looks too far for exact tiles."""
    spec = replace(random_spec(("red", "nir"), classes=4), seam="blend")
    return str(random_bundle(tmp_path_factory.mktemp("model") / "blended.geounet", spec, seed=3))


@given(
    data=st.data(),
    size=st.tuples(st.integers(1, 140), st.integers(1, 120)),
    seed=st.integers(0, 99),
    band=st.sampled_from([1, 2]),
)
def test_labels_are_those_of_the_array_in_memory(model, data, size, seed, band) -> None:
    array = scene(*size, seed=seed)
    if not np.isfinite(array).all("band").any():
        return  # refused in memory
    chunks = {"band": band, "y": data.draw(splits(size[0])), "x": data.draw(splits(size[1]))}
    eager = geounet.segment(array, model=model, engine="torch")  # compiles nothing for new shapes
    lazy = geounet.segment(array.chunk(chunks), model=model, engine="torch")
    # numerical ties apart, which other tiles may decide otherwise
    assert (lazy.values != eager.values).mean() < 1e-4 + 1 / eager.size
    assert np.array_equal(lazy.values == NODATA, eager.values == NODATA)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("chunks", [(2, 64, 48), (1, 150, 131), (1, 7, 131), (2, 150, 11)])
@pytest.mark.parametrize("kind", ["model", "blended"])
def test_engines_and_seams(request, kind, chunks, engine) -> None:
    path = request.getfixturevalue(kind)
    array = scene()
    options = {"model": path, "engine": engine, "tile": 32, "precision": "fp32"}
    eager = geounet.segment(array, **options)
    lazy = geounet.segment(array.chunk(dict(zip(array.dims, chunks, strict=True))), **options)
    assert lazy.chunks == array.chunk({"y": chunks[1], "x": chunks[2]}).chunks[1:]
    assert np.array_equal(lazy.values, eager.values)
    assert len(np.unique(eager)) == 5


def test_it_is_labelled_as_the_eager_result(model) -> None:
    array = scene()
    eager = geounet.segment(array, model=model)
    lazy = geounet.segment(chunked(array), model=model)
    xr.testing.assert_identical(lazy.compute(), eager)
    assert lazy.attrs["flag_values"] == [0, 1, 2, 3]
    assert lazy.attrs["flag_meanings"] == "class_0 class_1 class_2 class_3"
    assert lazy.attrs["flag_colors"].split()[0] == "#c8b48c"
    assert lazy.odc.geobox == GRID
    assert lazy.rio.crs == array.rio.crs
    assert lazy.rio.nodata == NODATA
    assert lazy.dtype == np.uint8
    assert isinstance(lazy.data, da.Array)


@pytest.mark.parametrize("is_lazy", [False, True])
def test_it_aligns_with_the_scene_to_the_last_bit(model, is_lazy) -> None:
    """In degrees under the names y and x, and with coordinates that another program has rounded."""
    degrees = GeoBox((HEIGHT, WIDTH), Affine(0.0001, 0, 7.1, 0, -0.0001, 46.3), "EPSG:4326")
    array = scene(grid=degrees)
    array = array.assign_coords(x=7.1 + (np.arange(WIDTH) + 0.5) / 10_000)
    labels = geounet.segment(chunked(array) if is_lazy else array, model=model)
    assert labels.dims == ("y", "x")
    assert array.where(labels == 1).shape == array.shape
    assert np.array_equal(labels.x, array.x)
    assert labels.odc.geobox.crs == degrees.crs


def counting(array, seen) -> xr.DataArray:
    """The array in chunks that tell when they are computed."""
    values = array.values

    def block(block_info=None):
        where = block_info[None]["array-location"]
        seen.append(where)
        return values[tuple(slice(*span) for span in where)]

    chunks = chunked(array).chunks
    lazy = da.map_blocks(block, chunks=chunks, dtype=values.dtype, meta=np.empty((0, 0, 0)))
    return array.copy(data=lazy)


def test_nothing_is_read_before_it_is_asked_for_and_then_only_what_is_needed(model) -> None:
    seen = []
    labels = geounet.segment(counting(scene(), seen), model=model)
    assert labels.shape == (HEIGHT, WIDTH)
    assert seen == []
    corner = labels[:10, :10].compute(scheduler="sync")
    assert sorted(seen) == [
        [(0, 2), rows, cols] for rows in [(0, 64), (64, 128)] for cols in [(0, 48), (48, 96)]
    ]
    assert np.array_equal(corner, geounet.segment(scene(), model=model)[:10, :10])


def test_each_chunk_is_read_once(model) -> None:
    seen = []
    geounet.segment(counting(scene(), seen), model=model).compute(scheduler="sync")
    assert len(seen) == len({str(where) for where in seen}) == 9


def test_keys_are_those_of_scene_model_and_options(model, blended, tmp_path) -> None:
    array = chunked(scene())
    name = geounet.segment(array, model=model).data.name
    assert geounet.segment(array, model=model).data.name == name
    assert geounet.segment(chunked(scene()), model=model).data.name == name
    elsewhere = tmp_path / "same.geounet"
    elsewhere.write_bytes(Path(model).read_bytes())
    assert geounet.segment(array, model=elsewhere).data.name == name
    others = [
        geounet.segment(array, model=blended),
        geounet.segment(array, model=blended, tile=64),
        geounet.segment(array, model=model, tile=64),
        geounet.segment(array, model=model, engine="torch"),
        geounet.segment(array, model=model, scale=2.0),
        geounet.segment(array, model=model, bands="red=2,nir=1"),
        geounet.segment(array + 1, model=model),
        geounet.segment(chunked(scene(), y=50), model=model),
    ]
    assert len({name, *(labels.data.name for labels in others)}) == 9
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        assert geounet.segment(array, model=model).data.name == name


def test_keys_are_the_same_in_another_process(model) -> None:
    code = f"""
import warnings
warnings.simplefilter("ignore")
import dask.array as da, xarray as xr, geounet
data = da.zeros((2, 90, 80), chunks=(2, 50, 80), dtype="float32")
array = xr.DataArray(data, dims=("band", "y", "x"), coords={{"band": ["red", "nir"]}})
print(geounet.segment(array, model={model!r}).data.name)
"""
    names = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    }
    assert len(names) == 1


def test_the_recipe_travels_and_not_the_model(model) -> None:
    labels = geounet.segment(chunked(scene()).astype("float64"), model=model)
    tasks = [v for k, v in dict(labels.__dask_graph__()).items() if k[0] == labels.data.name]
    assert len(tasks) == 9
    assert max(len(pickle.dumps(task)) for task in tasks) < 4000
    assert Path(model).stat().st_size > 10_000


def test_a_model_is_loaded_once_whatever_the_number_of_tasks(model, monkeypatch) -> None:
    loads, engines = [], []
    load, build = geounet.pool.load_model, geounet.pool.make_engine
    monkeypatch.setattr("geounet.pool.load_model", lambda m: loads.append(m) or load(m))
    monkeypatch.setattr(
        "geounet.pool.make_engine",
        lambda *a, **k: engines.append(a) or build(*a, **k),
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    _engines.cache_clear()
    labels = geounet.segment(chunked(scene(), y=32, x=32), model=model)
    labels.compute(scheduler="threads", num_workers=4)
    labels.compute(scheduler="threads", num_workers=4)
    assert loads == [model]
    assert len(engines) == 1


def test_a_large_block_is_many_tiles(model, monkeypatch) -> None:
    shapes = []
    predict = TorchEngine.predict

    def watched(self, tiles, valid, **options):
        shapes.append(tiles.shape)
        return predict(self, tiles, valid, **options)

    monkeypatch.setattr(TorchEngine, "predict", watched)
    array = chunked(scene(), y=-1, x=-1)
    geounet.segment(array, model=model, tile=48, engine="torch").compute(scheduler="sync")
    halo = 24
    assert len(shapes) > 9 - 2  # some have no valid pixel
    assert max(shape[2] for shape in shapes) == 48 + 2 * halo


def test_a_dataset_is_lazy_with_a_chunk_a_band(model) -> None:
    array = scene()
    bands = {n: array.sel(band=n, drop=True).chunk(y=64, x=48) for n in ("nir", "red")}
    lazy = geounet.segment(xr.Dataset(bands), model=model)
    assert lazy.chunks == ((64, 64, 22), (48, 48, 35))
    assert np.array_equal(lazy, geounet.segment(array, model=model))


def test_whole_numbers_with_nodata_and_a_scale(model) -> None:
    array = (scene() * 1000).fillna(-9999).round().astype(np.int16).assign_attrs(_FillValue=-9999)
    eager = geounet.segment(array, model=model, scale=0.001)
    assert (eager == NODATA).any()
    swapped = chunked(array.astype(">i2").assign_attrs(array.attrs))
    for lazy in (chunked(array), swapped):
        assert np.array_equal(geounet.segment(lazy, model=model, scale=0.001), eager)


def test_dimensions_in_another_order(model) -> None:
    array = scene()
    lazy = geounet.segment(chunked(array).transpose("x", "band", "y"), model=model)
    assert lazy.dims == ("y", "x")
    assert np.array_equal(lazy, geounet.segment(array, model=model))


@pytest.mark.parametrize("kind", ["model", "blended"])
def test_an_area_of_interest(request, tmp_path, kind) -> None:
    path = request.getfixturevalue(kind)
    box = shapely.box(500_100, 4_999_500, 500_300, 4_999_800)
    area = tmp_path / "area.gpkg"
    geopandas.GeoDataFrame(geometry=[box], crs="EPSG:32633").to_file(area)
    eager = geounet.segment(scene(), model=path, aoi=area)
    seen = []
    lazy = geounet.segment(counting(scene(), seen), model=path, aoi=area)
    other = geounet.segment(counting(scene(), []), model=path)
    assert lazy.data.name != other.data.name
    assert np.array_equal(lazy.compute(scheduler="sync"), eager)
    assert 0 < (eager != NODATA).sum() < 700
    if kind == "model":
        assert max(rows[1] for _, rows, _ in seen) == 128


def test_a_warning_names_chunks_that_waste_less(model) -> None:
    array = xr.DataArray(
        da.zeros((2, 9000, 8000), chunks=(2, 100, 8000), dtype=np.float32),
        dims=("band", "lat", "lon"),
        coords={"band": ["red", "nir"]},
    )
    waste = r"chunks of 100 x 8000 pixels waste 3[0-9]% of the work on halos \(24 pixels on each"
    better = r" side\): array\.chunk\(lat=512, lon=512\) wastes 1[0-9]%"
    with (
        pytest.warns(UserWarning, match=waste + better) as caught,
        pytest.warns(UserWarning, match="has no CRS, so the outputs have none either"),
    ):
        geounet.segment(array, model=model)
    assert {w.filename for w in caught if w.category is UserWarning} == {__file__}


@pytest.mark.filterwarnings("error:chunks of .* waste:UserWarning")
def test_good_chunks_are_not_warned_of(model) -> None:
    data = da.zeros((2, 900, 800), chunks=(2, 450, 800), dtype=np.float32)
    geounet.segment(scene(grid=GRID).isel(y=slice(1)).chunk(), model=model)
    array = xr.DataArray(
        data, dims=("band", "y", "x"),
        coords={"band": ["red", "nir"], **xr_coords(GRID.pad_wh(900)[:900, :800])},
    )  # fmt: skip
    geounet.segment(array, model=model)


@pytest.mark.parametrize(
    "options",
    [
        {"polygons": "a.gpkg"},
        {"simplify": 2},
        {"smooth": True},
        {"confidence": True},
        {"overwrite": True},
        {"progress": lambda _done, _total: None},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_files_are_refused(model, options) -> None:
    named = f"^{next(iter(options))}: a Dask array becomes .* out='labels.tif'$"
    with pytest.raises(OptionError, match=named):
        geounet.segment(chunked(scene()), model=model, **options)


def test_no_polygons_is_what_there_is(model) -> None:
    geounet.segment(chunked(scene()), model=model, polygons=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onnx"}, "--engine onnx: choose auto"),
        ({"device": "tpu"}, "--device tpu: choose auto"),
        ({"device": "cuda:0,cuda:1"}, "--device cuda:0,cuda:1: choose auto"),
        ({"tile": 0}, "--tile 0: a tile has 1 to"),
        ({"bands": "red=7"}, "red"),
        ({"model": "nowhere.geounet"}, "nowhere"),
    ],
)
def test_what_is_wrong_is_said_at_once(model, options, message) -> None:
    with pytest.raises(geounet.GeounetError, match=message):
        geounet.segment(chunked(scene()), **{"model": model, **options})


def test_a_device_that_only_a_worker_has(model) -> None:
    """Is asked for when labels are."""
    labels = geounet.segment(chunked(scene()), model=model, device="cuda:7")
    with pytest.raises(geounet.GeounetError, match="cuda"):
        labels.compute(scheduler="sync")


def test_with_an_output_it_is_files(tmp_path, model) -> None:
    report = geounet.segment(chunked(scene()), model=model, out=tmp_path / "a.tif")
    labels = rioxarray.open_rasterio(report.raster)[0]
    assert np.array_equal(labels, geounet.segment(chunked(scene()), model=model))


def unit(tmp_path, unit, plausible):
    spec = replace(random_spec(("red", "nir"), unit=unit), plausible=plausible)
    return random_bundle(tmp_path / "unit.geounet", spec)


def test_values_in_another_unit_are_refused_in_their_block(tmp_path) -> None:
    path = unit(tmp_path, "reflectance", (-0.05, 1.2))
    array = abs(scene()) * 1000
    with pytest.raises(ValueRangeError) as eager:
        geounet.segment(array, model=path)
    labels = geounet.segment(chunked(array), model=path)
    with pytest.raises(ValueRangeError) as lazy:
        labels.compute(scheduler="sync")
    shape = (
        r"DataArray valley: band red has a median of \d+.*; random expects reflectance, .* --scale"
    )
    for caught in (eager, lazy):
        assert caught.match(shape)
        assert "\n" not in str(caught.value)


def test_linear_backscatter_is_refused_in_its_block(tmp_path) -> None:
    path = unit(tmp_path, "dB", (-45, 3))
    labels = geounet.segment(chunked(abs(scene()) / 10), model=path)
    with pytest.raises(ValueRangeError, match=r"are linear power; .* decibels: convert with 10"):
        labels.compute(scheduler="sync")


def test_whole_numbers_without_a_scale_are_refused_at_once(tmp_path) -> None:
    path = unit(tmp_path, "reflectance", (-0.05, 1.2))
    array = chunked((abs(scene()) * 1000).fillna(0).astype(np.uint16))
    with pytest.raises(ValueRangeError, match="stores uint16 without a scale tag"):
        geounet.segment(array, model=path)


def test_a_block_of_cloud_is_no_error(tmp_path) -> None:
    """Nor a few bright pixels: what the whole scene may not be, a part of it may."""
    path = unit(tmp_path, "reflectance", (-0.05, 1.2))
    array = abs(scene()).clip(0, 1) / 3
    array[:, :40, :] = 1.9
    eager = geounet.segment(array, model=path)
    lazy = geounet.segment(chunked(array, y=20, x=131), model=path)
    assert np.array_equal(lazy, eager)


def test_a_scene_without_a_valid_pixel_is_nodata(model) -> None:
    array = scene() * np.nan
    with pytest.raises(SceneError, match="no valid pixel"):
        geounet.segment(array, model=model)
    assert (geounet.segment(chunked(array), model=model) == NODATA).all()


def test_a_model_that_was_replaced_is_noticed(tmp_path, model) -> None:
    path = tmp_path / "m.geounet"
    path.write_bytes(Path(model).read_bytes())
    labels = geounet.segment(chunked(scene()), model=path)
    random_bundle(path, random_spec(("red", "nir"), classes=4), seed=8)
    _engines.cache_clear()  # as in a worker that has not seen it yet
    with pytest.raises(ModelError, match=r"m.geounet is another model here than the one that"):
        labels.compute(scheduler="sync")


def test_another_halo_on_a_worker_is_noticed(model, monkeypatch) -> None:
    labels = geounet.segment(chunked(scene()), model=model, engine="torch")
    monkeypatch.setattr(TorchEngine, "halo", 8)
    with pytest.raises(
        geounet.GeounetError, match="halo of 8 and a stride of 4 here, and 24 and 4"
    ):
        labels.compute(scheduler="sync")


def test_engines_are_as_many_as_have_a_processor(monkeypatch) -> None:
    monkeypatch.setattr("geounet.pool.usable_cores", lambda: 8)
    for threads, number in (("1", 8), ("3", 2), ("16", 1), ("", 1), ("none", 1), ("0", 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert _at_once("cpu") == number
        assert _at_once("cuda:0") == 1


def test_bundled_models_are_found_by_name_and_others_by_their_path(model, monkeypatch) -> None:
    shipped = load_model("water-ms")
    assert _everywhere("water-ms", shipped) == _everywhere(None, shipped) == "water-ms"
    monkeypatch.chdir(Path(model).parent)
    assert _everywhere("exact.geounet", load_bundle(model)) == model
    copied = replace(shipped, path="water-ms.geounet")
    assert _everywhere("water-ms.geounet", copied) == f"{Path(model).parent}/water-ms.geounet"


@pytest.mark.parametrize("more", [{}, {"radius": 3, "stride": 2}, {"overlap": 8}], ids=str)
@pytest.mark.parametrize("size", [("height", "width"), (32, 32)], ids=["free", "fixed"])
def test_an_onnx_file_and_what_is_said_elsewhere(tmp_path, size, more) -> None:
    onnx_models.write(tmp_path / "net.onnx", onnx_models.Net(bands=2, size=size, deep=True))
    said = {"file": "net.onnx", "bands": ["red", "nir"], "classes": ["a", "b", "c"], **more}
    path = tmp_path / "said.json"
    path.write_text(json.dumps(said))
    eager = geounet.segment(scene(), model=path)
    lazy = geounet.segment(chunked(scene()), model=path)
    assert np.array_equal(lazy, eager)
    assert len(np.unique(eager)) > 2
    if size == (32, 32):
        with pytest.raises(OptionError, match=r"--tile 64: .* takes 32 x 32 pixels alone"):
            geounet.segment(chunked(scene()), model=path, tile=64)


# what comes after


@pytest.mark.filterwarnings("ignore:Consolidated metadata is")
def test_to_zarr(tmp_path, model) -> None:
    lazy = geounet.segment(chunked(scene()), model=model)
    lazy.to_zarr(tmp_path / "labels.zarr")
    back = xr.open_dataarray(tmp_path / "labels.zarr", engine="zarr", decode_coords="all")
    assert np.array_equal(back, lazy)
    assert back.rio.crs == lazy.rio.crs


def test_to_raster_and_to_a_cog(tmp_path, model) -> None:
    lazy = geounet.segment(chunked(scene()), model=model)
    lazy.rio.to_raster(tmp_path / "a.tif")
    lazy.odc.write_cog(tmp_path / "b.tif")
    for name in ("a.tif", "b.tif"):
        back = rioxarray.open_rasterio(tmp_path / name)
        assert np.array_equal(back[0], lazy)
        assert back.rio.nodata == NODATA
        assert back.odc.geobox == GRID


def test_arithmetic_stays_lazy(model) -> None:
    seen = []
    array = counting(scene(), seen)
    water = array.where(geounet.segment(array, model=model) == 1).mean()
    assert seen == []
    eager = scene().where(geounet.segment(scene(), model=model) == 1).mean()
    np.testing.assert_allclose(water.compute(scheduler="sync"), eager, rtol=1e-5)
