"""Rasters behind a web address."""

from __future__ import annotations

import numpy as np
import pytest
import rasters
from range_server import serve

from geounet.address import is_remote
from geounet.errors import SceneError
from geounet.scene import open_scene
from geounet.window import Window


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Proxies of the environment must not see the loopback."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


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
    with pytest.raises(SceneError, match=r"gone\.tif cannot be opened as a raster \(HTTP.* 404"):
        open_scene(f"{address}/gone.tif").info  # noqa: B018


def test_gone_in_the_middle(tmp_path, address):
    write(tmp_path / "a.tif")
    scene = open_scene(f"{address}/a.tif")
    window = scene.info.window
    (tmp_path / "a.tif").unlink()
    with pytest.raises(SceneError, match="lost connection, or a damaged file: try again"):
        scene.read(window, [1])
    scene.close()


def test_nobody_answers(tmp_path):
    with serve(tmp_path) as address:
        pass
    with pytest.raises(SceneError, match="cannot be opened as a raster"):
        open_scene(f"{address}/a.tif").info  # noqa: B018


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("https://x.org/a.tif", True),
        ("s3://bucket/a.tif", True),
        ("/vsicurl/https://x.org/a.tif", True),
        ("/vsizip/vsicurl/https://x.org/a.zip/a.tif", True),
        ("/vsizip/a.zip/a.tif", False),
        ("a.tif", False),
        ("zip+https://x.org/a.zip!b.tif", True),
        ("/data/http/a.tif", False),
    ],
)
def test_is_remote(path, remote):
    assert is_remote(path) is remote
