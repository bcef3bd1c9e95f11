"""xarray objects and the files that xarray reads: dimensions, names, nodata, grids, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from geounet.errors import DependencyError, SceneError
from geounet.scene import XarrayFileScene, XarrayScene, open_scene

GRID = GeoBox((6, 8), Affine(10, 0, 3e5, 0, -10, 5e6), "EPSG:32633")


def array(data=None, dims=("band", "y", "x"), **options):
    data = np.arange(96, dtype=np.int16).reshape(2, 6, 8) if data is None else data
    return xr.DataArray(data, dims=dims, coords=xr_coords(GRID), **options)


def whole(scene, bands=(1,)):
    return scene.read(scene.info.window, bands)


@pytest.mark.parametrize(
    ("shape", "dims", "bands"),
    [
        ((6, 8), ("y", "x"), 1),
        ((1, 6, 8), ("time", "y", "x"), 1),
        ((3, 6, 8), ("band", "y", "x"), 3),
        ((3, 6, 8), ("variable", "y", "x"), 3),
        ((6, 8, 3), ("y", "x", "channel"), 3),
        ((8, 3, 6), ("x", "band", "y"), 3),
        ((1, 3, 6, 8), ("time", "band", "y", "x"), 3),
        ((1, 1, 6, 8), ("time", "band", "y", "x"), 1),
        ((1, 1, 6, 8), ("a", "b", "y", "x"), 1),
    ],
)
def test_dimensions_in_any_order(shape, dims, bands):
    numbers = np.arange(np.prod(shape)).reshape(shape)
    scene = open_scene(array(numbers, dims))
    wanted = scene._array.transpose(..., "y", "x").values.reshape(bands, 6, 8)
    assert len(scene.info.bands) == bands
    np.testing.assert_array_equal(whole(scene, range(1, bands + 1)).data, wanted)
    assert sorted(wanted.ravel()) == sorted(numbers.ravel())


@pytest.mark.parametrize("names", [("lat", "lon"), ("latitude", "longitude"), ("row", "col")])
def test_other_names_of_the_spatial_dimensions(names):
    data = xr.DataArray(np.zeros((8, 3, 6)), dims=(names[1], "band", names[0]))
    assert (open_scene(data).info.height, open_scene(data).info.width) == (6, 8)


def test_band_names():
    cases = {
        ("red", "nir"): array().assign_coords(band=["red", "nir"]),
        ("VV", "VH"): array(attrs={"long_name": ("VV", "VH")}),
        ("", ""): array().assign_coords(band=[1, 2]),
    }
    for names, data in cases.items():
        assert tuple(band.name for band in open_scene(data).info.bands) == names
    single = array(np.zeros((6, 8)), ("y", "x"), name="VV")
    assert [band.name for band in open_scene(single).info.bands] == ["VV"]


@pytest.mark.parametrize("key", ["_FillValue", "missing_value", "nodata", "nodatavals"])
def test_nodata_in_attributes(key):
    value = (5, 5) if key == "nodatavals" else 5
    scene = open_scene(array(attrs={key: value}))
    assert scene.info.bands[0].nodata == 5
    assert np.argwhere(~whole(scene).valid).tolist() == [[0, 5]]


def test_fill_value_that_xarray_has_decoded_hides_nothing():
    """In encoding it is in stored units, and its pixels are NaN already."""
    data = array(np.arange(96.0).reshape(2, 6, 8))
    data.encoding["_FillValue"] = 5
    assert whole(open_scene(data)).valid.all()
    numbers = array()
    numbers.encoding["_FillValue"] = 5
    assert not whole(open_scene(numbers)).valid[0, 5]


def test_nodata_that_the_type_cannot_hold():
    scene = open_scene(array(np.full((2, 6, 8), 241, np.uint8), attrs={"nodata": -9999}))
    assert whole(scene).valid.all()  # -9999 is 241 in eight bits


def test_scale_one_for_all_and_one_each():
    one = open_scene(array(attrs={"scale_factor": 0.5, "add_offset": -1})).info.bands
    assert [(b.scale, b.offset) for b in one] == [(0.5, -1), (0.5, -1)]
    each = open_scene(array(attrs={"scales": (0.5, 2.0), "offsets": (0, 7)})).info.bands
    assert [(b.scale, b.offset) for b in each] == [(0.5, 0), (2, 7)]


def test_sensor_in_attributes():
    scene = open_scene(array(attrs={"platform": "sentinel-2b"}))
    assert "sentinel-2b" in scene.info.hint


def test_dask_is_read_in_its_chunks_and_only_where_asked():
    seen = []

    def block(block_info=None):
        where = block_info[None]["array-location"]
        seen.append(where)
        return np.zeros([stop - start for start, stop in where], np.float32)

    import dask.array as da

    lazy = da.map_blocks(block, chunks=((1, 1), (3, 3), (4, 4)), dtype=np.float32, meta=np.empty(0))
    scene = open_scene(array(lazy))
    assert scene.info.block == (3, 4)
    assert scene.info.height == 6
    seen.clear()
    from geounet.window import Window

    scene.read(Window(row_off=0, col_off=0, height=2, width=3), [2])
    assert seen == [[(1, 2), (0, 3), (0, 4)]]


def test_no_coordinates_is_no_place():
    info = open_scene(xr.DataArray(np.zeros((2, 6, 8)), dims=("band", "y", "x"))).info
    assert not info.georeferenced
    assert info.geobox.crs is None
    assert info.geobox.affine == Affine.identity()


def test_dataset_of_variables():
    names = {"red": array()[0], "nir": array()[1]}
    scene = open_scene(xr.Dataset(names))
    assert [band.name for band in scene.info.bands] == ["red", "nir"]
    np.testing.assert_array_equal(whole(scene, (1, 2)).data, array().values)


def test_preview():
    raster = open_scene(array()).preview(4, [2])
    assert raster.data.shape == (1, 3, 4)
    np.testing.assert_array_equal(raster.data[0], array().values[1, ::2, ::2])


# refusals


def refused(source, match):
    with pytest.raises(SceneError, match=match) as caught:
        open_scene(source).info  # noqa: B018
    assert "\n" not in str(caught.value)


def test_dates():
    data = np.zeros((3, 2, 6, 8))
    refused(array(data, ("time", "band", "y", "x")), r"has 3 time, 2 band .*array\.isel\(time=0\)")
    refused(array(data[:, 0], ("time", "y", "x")), r"has 3 time beside y and x: pick one")


def test_other_shapes():
    refused(xr.DataArray(np.zeros(4), dims="x"), r"are no raster \(band, y, x\)")
    refused(
        xr.DataArray(np.zeros((2, 3, 4)), dims=("a", "b", "c")),
        r"has dimensions a, b, c: name the spatial ones y and x, .*rename\(b='y', c='x'\)",
    )


def test_complex_and_text():
    refused(array(np.zeros((2, 6, 8), complex)), "holds complex128: only real numbers")
    refused(array(np.full((2, 6, 8), "a")), "only real numbers")


@pytest.mark.parametrize("moved", [1, 3, 7])
def test_irregular_coordinates(moved):
    """One column is missing: whatever lies beyond would be in the wrong place."""
    x = GRID.coordinates["x"].values.copy()
    x[moved:] += 10
    refused(array().assign_coords(x=x), "its coordinates are no regular grid: resample it first")


def test_coordinates_in_float32():
    """Rounded to hundredths of a pixel: the far end must not drift away."""
    degrees = GeoBox((50, 9000), Affine(0.01, 0, -20, 0, -0.01, 60), "EPSG:4326")
    coords = {
        name: (name, degrees.coordinates[key].values.astype(np.float32))
        for name, key in (("lat", "latitude"), ("lon", "longitude"))
    }
    data = xr.DataArray(np.zeros((50, 9000), np.uint8), dims=("lat", "lon"), coords=coords)
    found = open_scene(data).info.geobox
    np.testing.assert_allclose(found.boundingbox, degrees.boundingbox, atol=2e-5)


def test_part_of_an_array_is_where_it_is():
    """rioxarray's GeoTransform still tells the place of the whole."""
    part = array()[:, 2:5, 3:8]
    assert open_scene(part).info.geobox == GRID[2:5, 3:8]


def test_one_row():
    bare = xr.DataArray(
        np.zeros((1, 8)), dims=("y", "x"), coords={"y": [5e6], "x": 3e5 + 10.0 * np.arange(8)}
    )
    refused(bare, "a single row or column does not tell its pixel size: write it")
    assert open_scene(array().isel(y=slice(1))).info.geobox == GRID[:1]


def test_dataset_of_two_grids():
    coarse = array()[0, ::2, ::2].rename(y="y2", x="x2").drop_vars(["y2", "x2"])
    refused(xr.Dataset({"a": array()[0], "b": coarse}), r"variables of different shapes \(a, b\)")
    refused(xr.Dataset({"t": 3.0}), "holds no two-dimensional variable of numbers")
    refused(xr.Dataset({"a": array(), "b": array()}), "2 variables with bands .*: pick one")


# files


def write(path):
    array(name="scene").to_dataset().to_netcdf(path, engine="netcdf4")
    return path


def test_suffixes(tmp_path):
    for suffix in (".nc", ".nc4", ".NC", ".cdf"):
        assert isinstance(open_scene(write(tmp_path / f"a{suffix}")), XarrayFileScene)
    assert not isinstance(open_scene(tmp_path / "gone.nc"), XarrayFileScene)
    refused(tmp_path / "gone.nc", r"gone\.nc does not exist: check the path")


def test_damaged_and_foreign(tmp_path):
    path = write(tmp_path / "a.nc")
    path.write_bytes(path.read_bytes()[:2000])
    refused(path, r"a\.nc cannot be opened with xarray \(")
    (tmp_path / "b.nc").write_text("no netCDF")
    refused(tmp_path / "b.nc", r"b\.nc cannot be opened with xarray")
    refused(tmp_path / "gone.zarr", r"gone\.zarr cannot be opened with xarray")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
def test_zarr_of_every_kind(tmp_path, version, consolidated):
    store = tmp_path / "a.zarr"
    array(name="scene").to_dataset().to_zarr(store, zarr_format=version, consolidated=consolidated)
    scene = open_scene(store)
    np.testing.assert_array_equal(whole(scene, (1, 2)).data, array().values)
    assert scene.info.files == (str(store),)
    scene.close()


def test_file_is_closed(tmp_path):
    scene = open_scene(write(tmp_path / "a.nc"))
    inner = scene._opened()
    assert isinstance(inner, XarrayScene)
    scene.close()
    assert scene._dataset is None
    assert scene._opened() is not inner
    scene.close()


def test_xarray_that_is_not_installed(tmp_path, monkeypatch):
    path = write(tmp_path / "a.nc")
    monkeypatch.setitem(__import__("sys").modules, "xarray", None)
    with pytest.raises(DependencyError, match=r"not installed: pip install 'geounet\[xarray\]'"):
        open_scene(path).info  # noqa: B018
