from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import rasters
from batches import HEIGHT, NAMES, noise

from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec


@pytest.fixture(scope="session")
def batch_scenes(tmp_path_factory) -> list[Path]:
    """Two, of two heights."""
    folder = tmp_path_factory.mktemp("scenes")
    return [
        rasters.write(folder / f"{name}.tif", noise(seed, height), names=NAMES)
        for seed, (name, height) in enumerate({"valley": HEIGHT, "hill": 200}.items())
    ]


@pytest.fixture(scope="session")
def batch_models(tmp_path_factory) -> dict[str, Path]:
    """By how tiles are joined."""
    folder = tmp_path_factory.mktemp("models")
    spec = random_spec(NAMES, classes=4, width=4, depth=2)
    return {
        seam: random_bundle(folder / f"{seam}.geounet", replace(spec, seam=seam), seed=3)
        for seam in ("exact", "blend")
    }


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """The address of one with two workers, which are processes."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options, silence_logs=50) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def small_bands(monkeypatch) -> None:
    """Whatever the size of a scene, it is worth bands."""
    monkeypatch.setattr("geounet.batch.bands._SMALL", 0)
