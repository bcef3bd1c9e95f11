"""A model of INT8, made once."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from blobs import BANDS, write_scene

from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec


@pytest.fixture(scope="session")
def nncf():
    """Skips what quantises where the packages for it are not installed."""
    absent = [name for name in ("nncf", "onnxruntime") if find_spec(name) is None]
    if absent:
        pytest.skip(f"{' and '.join(absent)} not installed: pip install '.[quantize]'")


@pytest.fixture(scope="session")
def floating(tmp_path_factory):
    """A model in float32 with random weights."""
    spec = random_spec(BANDS, classes=3, width=8)
    return random_bundle(tmp_path_factory.mktemp("model") / "m.geounet", spec, seed=3)


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """Smooth blobs and noise, with a hole, of 600 x 520 pixels."""
    return write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", seed=0)
