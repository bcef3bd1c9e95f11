"""An array that knows its validity and its place, and GDAL options that end with their scope."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.env import getenv, hasenv

from geounet.errors import OptionError
from geounet.gdalenv import CACHE_BYTES, read_env, write_env
from geounet.raster import Raster

GRID = GeoBox((2, 3), Affine.identity(), None)


def test_raster():
    valid = np.array([[True, False, True], [True, True, True]])
    raster = Raster(data=np.zeros((4, 2, 3), np.uint8), valid=valid, geobox=GRID)
    assert str(raster) == "4 x 2 x 3 uint8, 83.3% valid"


@pytest.mark.parametrize(
    ("data", "valid"),
    [((2, 3), (2, 3)), ((1, 3, 2), (2, 3)), ((1, 2, 3), (3, 2)), ((1, 2, 3), (6,))],
)
def test_shapes_that_do_not_agree(data, valid):
    with pytest.raises(OptionError, match=r"must be \(bands, height, width\).* grid of \(2, 3\)"):
        Raster(data=np.zeros(data), valid=np.ones(valid, bool), geobox=GRID)


@pytest.mark.parametrize("env", [lambda: read_env("a.tif"), write_env])
def test_options_end_with_their_scope(env):
    before = hasenv()
    with env():
        assert getenv()["GDAL_CACHEMAX"] == CACHE_BYTES  # bytes, not megabytes
    assert hasenv() == before


def test_sidecars_are_looked_for_beside_local_files_only():
    with read_env("a.tif"):
        assert "GDAL_DISABLE_READDIR_ON_OPEN" not in getenv()
    with read_env("https://x.org/a.tif"):
        assert getenv()["GDAL_DISABLE_READDIR_ON_OPEN"] == "EMPTY_DIR"
