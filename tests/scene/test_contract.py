"""What every scene adapter owes: pixels, validity, grid, pickling, threads, reopening."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from encoders import ENCODERS, geotiff_internal_mask, geotiff_tiled_deflate_bigtiff, truth
from hypothesis import given
from hypothesis import strategies as st
from range_server import serve

from geounet.scene import SceneReader, open_scene
from geounet.window import Window


def http(folder, t):
    geotiff_tiled_deflate_bigtiff(folder, t)
    return "a.tif"


def http_mask(folder, t):
    geotiff_internal_mask(folder, t)
    return "a.tif"


REMOTE = {"http": http, "http_mask": http_mask}


@pytest.fixture(scope="module", params=[*ENCODERS, *REMOTE])
def case(request, tmp_path_factory):
    """The truth, and a source that holds it."""
    folder, expected = tmp_path_factory.mktemp(request.param), truth()
    if request.param in ENCODERS:
        yield expected, ENCODERS[request.param](folder, expected)
        return
    name = REMOTE[request.param](folder, expected)
    with pytest.MonkeyPatch.context() as patch, serve(folder) as address:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield expected, f"{address}/{name}"


@pytest.fixture
def scene(case):
    reader = open_scene(case[1])
    yield reader
    reader.close()


def check(expected, raster, window=None, bands=(1, 2, 3)):
    window = window or Window(row_off=0, col_off=0, height=len(expected.valid), width=93)
    rows, cols = window.slices
    valid = expected.valid_in(bands)[rows, cols]
    np.testing.assert_array_equal(raster.valid, valid)
    assert raster.data.shape == (len(bands), *valid.shape)
    assert raster.data.dtype.isnative
    wanted = expected.data[[b - 1 for b in bands], rows, cols]
    np.testing.assert_array_equal(raster.data[:, valid], wanted[:, valid])
    assert_grid(raster.geobox, expected.geobox[rows, cols])


def assert_grid(grid, wanted):
    assert tuple(grid.shape) == tuple(wanted.shape)
    assert grid.crs.epsg == wanted.crs.epsg
    assert grid.affine.almost_equals(wanted.affine, 1e-6)


def test_it_is_a_reader(scene):
    assert isinstance(scene, SceneReader)
    assert open_scene(scene) is scene


def test_header(case, scene):
    assert_grid(scene.info.geobox, case[0].geobox)
    assert scene.info.georeferenced
    assert len([band for band in scene.info.bands if not band.is_alpha]) == 3
    assert min(scene.info.block) >= 1


def test_whole(case, scene):
    check(case[0], scene.read(scene.info.window, [1, 2, 3]))


def test_any_window_and_band_order(case):
    expected, source = case
    reader = open_scene(source)

    @given(
        st.integers(0, 66),
        st.integers(0, 92),
        st.integers(1, 67),
        st.integers(1, 93),
        st.permutations([1, 2, 3]),
    )
    def law(row, col, height, width, bands):
        window = Window(row_off=row, col_off=col, height=height, width=width)
        window = window.intersect(reader.info.window)
        check(expected, reader.read(window, bands), window, bands)

    law()
    reader.close()


def test_pickle_holds_the_recipe_only(case, scene):
    scene.read(scene.info.window, [1])  # something is open now
    copied = pickle.loads(pickle.dumps(scene))
    check(case[0], copied.read(scene.info.window, [1, 2, 3]))
    copied.close()


def test_threads(case, scene):
    windows = [
        Window(row_off=r, col_off=c, height=13, width=17)
        for r in range(0, 54, 6)
        for c in range(0, 70, 9)
    ]
    with ThreadPoolExecutor(4) as pool:
        rasters = pool.map(lambda w: scene.read(w, [3, 1]), windows)
        for window, raster in zip(windows, rasters, strict=True):
            check(case[0], raster, window, [3, 1])


def test_close_and_reopen(case, scene):
    before = scene.read(scene.info.window, [2])
    scene.close()
    scene.close()
    after = scene.read(scene.info.window, [2])
    np.testing.assert_array_equal(before.data, after.data)
    check(case[0], after, bands=[2])


def test_preview(case, scene):
    raster = scene.preview(31, [1, 3])
    assert max(raster.valid.shape) <= 31
    assert raster.data.shape == (2, *raster.valid.shape)
    extent, whole = raster.geobox.extent, case[0].geobox.extent
    assert extent.intersection(whole).area > 0.9 * whole.area
    assert raster.valid.any()


def test_a_band_twice(case, scene):
    check(case[0], scene.read(scene.info.window, [2, 2]), bands=[2, 2])
