"""Law 9: threads, processes and workers give one result, and each loads a model once."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

import geounet
from geounet.classes import NODATA
from geounet.errors import ValueRangeError
from geounet.pool import _engines
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec

pytestmark = [
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:DataArray .* has no CRS:UserWarning"),
    pytest.mark.filterwarnings("ignore:chunks of .* waste:UserWarning"),
]


def scene() -> xr.DataArray:
    data = np.random.default_rng(2).normal(size=(2, 200, 180)).astype(np.float32)
    data[:, 90:130, 20:60] = np.nan
    return xr.DataArray(data, dims=("band", "y", "x"), coords={"band": ["red", "nir"]})


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("model") / "m.geounet"
    return str(random_bundle(path, random_spec(("red", "nir"), classes=4), seed=3))


@pytest.fixture(scope="module")
def eager(model) -> xr.DataArray:
    with pytest.warns(UserWarning, match="has no CRS"):
        return geounet.segment(scene(), model=model)


@pytest.fixture
def lazy(model) -> xr.DataArray:
    return geounet.segment(scene().chunk(y=80, x=90), model=model)


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("number", [1, 4])
def test_threads(lazy, eager, number) -> None:
    assert np.array_equal(lazy.compute(scheduler="threads", num_workers=number), eager)


def test_processes(lazy, eager) -> None:
    assert np.array_equal(lazy.compute(scheduler="processes", num_workers=2), eager)


def test_an_error_comes_out_of_a_process(tmp_path) -> None:
    path = random_bundle(tmp_path / "db.geounet", random_spec(("red", "nir"), unit="dB"))
    labels = geounet.segment(abs(scene()).chunk(y=80, x=90), model=path)
    with pytest.raises(
        ValueRangeError, match="are linear power; random expects decibels"
    ) as caught:
        labels.compute(scheduler="processes", num_workers=1)
    assert "\n" not in str(caught.value).partition("\n\nTraceback")[0]


def loaded() -> tuple[int, int]:
    """Models that this worker has loaded, and how often one was there already."""
    told = _engines.cache_info()
    return told.misses, told.hits


def test_workers(client, lazy, eager) -> None:
    assert np.array_equal(lazy.compute(scheduler=client), eager)
    told = client.run(loaded)
    assert [misses for misses, _ in told.values()] == [1] * len(told)
    assert sum(misses + hits for misses, hits in told.values()) == 6


def test_workers_that_keep_the_scene(client, model, eager) -> None:
    """As after ``persist``."""
    array = scene().chunk(band=1, y=33, x=180)
    with dask.config.set(scheduler=client):
        labels = geounet.segment(array.persist(), model=model).persist()
        assert np.array_equal(labels, eager)
        assert int((labels == NODATA).sum()) == 40 * 40
