"""Rasters behind a web address."""

from __future__ import annotations

import numpy as np
import pytest
import rasters
from range_server import serve

from geounet.errors import SceneError, UnreachableError
from geounet.scene import open_scene
from geounet.window import Window


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Proxies of the environment must not see the loopback."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")


@pytest.fixture
def served():
    return []


@pytest.fixture
def address(tmp_path, served):
    with serve(tmp_path, served) as found:
        yield found


def write(path, side=512):
    data = np.random.default_rng(0).integers(0, 60_000, (1, side, side)).astype(np.uint16)
    rasters.write(path, data, tiled=True, blockxsize=128, blockysize=128, compress="deflate")
    return data


def test_only_what_is_needed_is_fetched(tmp_path, address, served):
    data = write(tmp_path / "a.tif", 2048)
    scene = open_scene(f"{address}/a.tif")
    assert scene.info.name == "a"
    window = Window(row_off=1024, col_off=1024, height=100, width=100)
    np.testing.assert_array_equal(scene.read(window, [1]).data[0], data[0, 1024:1124, 1024:1124])
    scene.close()
    assert served
    assert sum(served) < (tmp_path / "a.tif").stat().st_size / 10


def test_not_there(address):
    with pytest.raises(
        UnreachableError, match=r"gone\.tif cannot be opened .* answers 404\): check"
    ):
        open_scene(f"{address}/gone.tif").info  # noqa: B018


def test_gone_in_the_middle(tmp_path, address):
    write(tmp_path / "a.tif")
    scene = open_scene(f"{address}/a.tif")
    window = scene.info.window
    (tmp_path / "a.tif").unlink()
    with pytest.raises(
        SceneError, match=r"cannot be read \(rows 0 to 511: .* answers 404\): check"
    ):
        scene.read(window, [1])
    scene.close()


def test_nobody_answers(tmp_path):
    with serve(tmp_path) as address:
        pass
    with pytest.raises(SceneError, match="cannot be opened as a raster"):
        open_scene(f"{address}/a.tif").info  # noqa: B018
