"""One raster, written in every way in which a scene may come."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import rasters
import rioxarray
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from geounet.raster import Raster
from geounet.scene import MemoryScene

SHAPE = 67, 93
NODATA = 7  # never a value of a valid pixel
FILL = 60_001
_BAND = np.indices(SHAPE).sum(axis=0) % 3


@dataclass
class Truth:
    """What every adapter must give back."""

    data: np.ndarray
    valid: np.ndarray
    geobox: GeoBox
    by_band: bool = False
    """Whether a pixel that is not valid is so in one of its bands only."""

    def valid_in(self, bands: Sequence[int]) -> np.ndarray:
        """Where all of these bands (1-based) are valid."""
        return self.valid | (self.by_band & ~np.isin(_BAND, [b - 1 for b in bands]))


def truth() -> Truth:
    rng = np.random.default_rng(4)
    data = rng.integers(10, 60_000, (3, *SHAPE)).astype(np.uint16)
    valid = rng.random(SHAPE) > 0.2
    valid[20:40, 10:50] = False
    geobox = GeoBox(SHAPE, Affine(10, 0, 399_960, 0, -10, 5_300_040), "EPSG:32633")
    return Truth(data=data, valid=valid, geobox=geobox)


def write(path: Path, t: Truth, data: np.ndarray | None = None, **options: Any) -> Path:
    """A raster of the truth's grid; ``env`` are GDAL's options."""
    data = t.data if data is None else data
    place = {"crs": t.geobox.crs.to_wkt(), "transform": t.geobox.affine}
    with rasterio.Env(**options.pop("env", {})):
        return rasters.write(path, data, **place | options)


def filled(t: Truth, value: float, dtype: Any = np.uint16) -> np.ndarray:
    return np.where(t.valid, t.data, value).astype(dtype)


def scattered(t: Truth, values: tuple[float, float, float], dtype: Any = np.uint16) -> np.ndarray:
    """Each invalid pixel is so in one band only, by that band's own nodata value."""
    t.by_band = True
    out = t.data.astype(dtype)
    for band, value in enumerate(values):
        out[band][~t.valid & (band == _BAND)] = value
    return out


def with_alpha(t: Truth) -> np.ndarray:
    alpha = np.where(t.valid, 255, 0)
    alpha[0] = t.valid[0] * 200  # half transparent is valid
    return np.concatenate([t.data, alpha[None].astype(np.uint16)])


def geotiff_nodata(folder: Path, t: Truth) -> Path:
    return write(folder / "a.tif", t, filled(t, NODATA), nodata=NODATA)


def geotiff_tiled_deflate_bigtiff(folder: Path, t: Truth) -> Path:
    return write(
        folder / "a.tif",
        t,
        filled(t, 0),
        nodata=0,
        tiled=True,
        blockxsize=32,
        blockysize=16,
        compress="deflate",
        predictor=2,
        interleave="band",
        bigtiff="YES",
    )


def geotiff_nan_tagged(folder: Path, t: Truth) -> Path:
    return write(folder / "a.tif", t, filled(t, np.nan, np.float32), nodata=np.nan)


def geotiff_nan_untagged(folder: Path, t: Truth) -> Path:
    return write(folder / "a.tif", t, filled(t, np.nan, np.float64))


def geotiff_nan_in_one_band(folder: Path, t: Truth) -> Path:
    return write(folder / "a.tif", t, scattered(t, (np.nan, np.inf, -np.inf), np.float32))


def geotiff_nan_beside_nodata(folder: Path, t: Truth) -> Path:
    return write(
        folder / "a.tif", t, scattered(t, (np.nan, -9999, -9999), np.float32), nodata=-9999
    )


def geotiff_float_nodata_as_text(folder: Path, t: Truth) -> Path:
    lowest = float(np.finfo(np.float32).min)
    return write(folder / "a.tif", t, filled(t, lowest, np.float32), nodata=lowest)


def vrt_nodata_out_of_range(folder: Path, t: Truth) -> Path:
    """A tag that no value can have hides nothing."""
    t.valid[:] = True
    return _vrt(write(folder / "a.tif", t), (-9999, 70_000, 0.5))


def geotiff_internal_mask(folder: Path, t: Truth) -> Path:
    return write(folder / "a.tif", t, mask=t.valid, env={"GDAL_TIFF_INTERNAL_MASK": True})


def geotiff_mask_sidecar(folder: Path, t: Truth) -> Path:
    path = write(folder / "a.tif", t, mask=t.valid, env={"GDAL_TIFF_INTERNAL_MASK": False})
    assert path.with_name("a.tif.msk").exists()
    return path


def geotiff_mask_and_nodata(folder: Path, t: Truth) -> Path:
    """GDAL's mask is then the dataset mask alone."""
    left = t.valid | (np.indices(SHAPE)[1] > 40)
    right = filled(t, NODATA)
    right[:, :, :41] = t.data[:, :, :41]
    env = {"GDAL_TIFF_INTERNAL_MASK": True}
    return write(folder / "a.tif", t, right, nodata=NODATA, mask=left, env=env)


def geotiff_alpha(folder: Path, t: Truth) -> Path:
    return write(folder / "a.tif", t, with_alpha(t), photometric="RGB", alpha="YES")


def geotiff_alpha_and_nodata(folder: Path, t: Truth) -> Path:
    """GDAL's mask is then the nodata value alone."""
    data = with_alpha(t)
    data[3, :, 41:] = 255
    data[:3, :, 41:] = filled(t, NODATA)[:, :, 41:]
    return write(folder / "a.tif", t, data, photometric="RGB", alpha="YES", nodata=NODATA)


def geotiff_nodata_values_tag(folder: Path, t: Truth) -> Path:
    """A pixel is invalid where all bands have their value, and only there."""
    t.data[0, 3] = 7
    data = t.data.copy()
    for band, value in enumerate((7, 8, 9)):
        data[band][~t.valid] = value
    return write(folder / "a.tif", t, data, tags={"NODATA_VALUES": "7 8 9"})


def geotiff_bsq_sparse(folder: Path, t: Truth) -> Path:
    """Blocks that were never written are nodata."""
    path = folder / "a.tif"
    t.valid[:] = False
    t.valid[16:32, 32:64] = True
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=3,
        height=SHAPE[0],
        width=SHAPE[1],
        dtype="uint16",
        crs=t.geobox.crs.to_wkt(),
        transform=t.geobox.affine,
        nodata=NODATA,
        tiled=True,
        blockxsize=32,
        blockysize=16,
        sparse_ok=True,
    ) as out:
        out.write(t.data[:, 16:32, 32:64], window=((16, 32), (32, 64)))
    return path


def vrt_nodata_per_band(folder: Path, t: Truth) -> Path:
    values = (NODATA, FILL, 0)
    return _vrt(write(folder / "a.tif", t, scattered(t, values)), values)


def _vrt(tif: Path, nodata: tuple[float, float, float]) -> Path:
    path = tif.with_suffix(".vrt")
    rasterio.shutil.copy(tif, path, driver="VRT")
    text = path.read_text()
    for band, value in enumerate(nodata, start=1):
        head = f'<VRTRasterBand dataType="UInt16" band="{band}"'
        at = text.index(">", text.index(head)) + 1
        text = f"{text[:at]}<NoDataValue>{value}</NoDataValue>{text[at:]}"
    path.write_text(text)
    return path


def vsizip(folder: Path, t: Truth) -> str:
    path = geotiff_nodata(folder, t)
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "deep/scene.tif")
    return f"/vsizip/{folder}/a.zip/deep/scene.tif"


def png_alpha(folder: Path, t: Truth) -> Path:
    path = write(folder / "a.png", t, with_alpha(t), driver="PNG")
    assert path.with_name("a.png.aux.xml").exists(), "the grid is in the sidecar"
    return path


def stack(folder: Path, t: Truth) -> list[Path]:
    values = (NODATA, FILL, 0)
    layers = scattered(t, values)
    return [
        write(folder / f"S2A_x_B0{band + 2}.tif", t, layer[None], nodata=value)
        for band, (layer, value) in enumerate(zip(layers, values, strict=True))
    ]


def memory(_: Path, t: Truth) -> MemoryScene:
    return MemoryScene(raster=Raster(data=t.data, valid=t.valid, geobox=t.geobox))


def memory_nan(_: Path, t: Truth) -> MemoryScene:
    return MemoryScene.of(filled(t, np.nan, ">f4"), geobox=t.geobox)


def _array(t: Truth, data: np.ndarray) -> xr.DataArray:
    from odc.geo.xr import xr_coords

    coords = xr_coords(t.geobox)
    return xr.DataArray(data, dims=("band", "y", "x"), coords=coords, name="scene")


def xarray_fill_value(_: Path, t: Truth) -> xr.DataArray:
    return _array(t, filled(t, NODATA)).rio.write_nodata(NODATA)


def xarray_nan_other_order(_: Path, t: Truth) -> xr.DataArray:
    return _array(t, filled(t, np.nan, np.float32)).transpose("y", "x", "band")


def xarray_dask(_: Path, t: Truth) -> xr.DataArray:
    array = _array(t, filled(t, NODATA)).rio.write_nodata(NODATA)
    return array.chunk({"band": 1, "y": 16, "x": 50})


def xarray_rioxarray(folder: Path, t: Truth) -> xr.DataArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # rioxarray and affine 3
        return rioxarray.open_rasterio(geotiff_nodata(folder, t), masked=True).compute()


def _dataset(t: Truth, dtype: Any, fill: float | None) -> xr.Dataset:
    data = filled(t, np.nan, np.float64)
    names = {name: _array(t, data).isel(band=i, drop=True) for i, name in enumerate("abc")}
    dataset = xr.Dataset(names)
    for variable in dataset.data_vars.values():
        variable.encoding.update(dtype=dtype, grid_mapping="spatial_ref")
        if fill is not None:
            variable.encoding["_FillValue"] = fill
    return dataset


def netcdf4(folder: Path, t: Truth) -> Path:
    dataset = _dataset(t, "uint16", NODATA)
    for name in "abc":
        dataset[name].encoding.update(zlib=True, chunksizes=(20, 30))
    dataset.to_netcdf(folder / "a.nc", engine="netcdf4")
    return folder / "a.nc"


def netcdf4_bands(folder: Path, t: Truth) -> Path:
    array = _array(t, filled(t, np.nan, np.float32))
    array.to_dataset(name="scene").to_netcdf(folder / "a.nc", engine="netcdf4")
    return folder / "a.nc"


def netcdf3_big_endian(folder: Path, t: Truth) -> Path:
    _dataset(t, "float32", np.nan).to_netcdf(
        folder / "a.nc", format="NETCDF3_CLASSIC", engine="netcdf4"
    )
    return folder / "a.nc"


def zarr(folder: Path, t: Truth) -> Path:
    _dataset(t, "uint16", NODATA).to_zarr(folder / "a.zarr", zarr_format=2, consolidated=True)
    return folder / "a.zarr"


ENCODERS: dict[str, Callable[[Path, Truth], Any]] = {
    f.__name__: f
    for f in (
        geotiff_nodata,
        geotiff_tiled_deflate_bigtiff,
        geotiff_nan_tagged,
        geotiff_nan_untagged,
        geotiff_nan_in_one_band,
        geotiff_nan_beside_nodata,
        geotiff_float_nodata_as_text,
        geotiff_internal_mask,
        geotiff_mask_sidecar,
        geotiff_mask_and_nodata,
        geotiff_alpha,
        geotiff_alpha_and_nodata,
        geotiff_nodata_values_tag,
        geotiff_bsq_sparse,
        vrt_nodata_per_band,
        vrt_nodata_out_of_range,
        vsizip,
        png_alpha,
        stack,
        memory,
        memory_nan,
        xarray_fill_value,
        xarray_nan_other_order,
        xarray_dask,
        xarray_rioxarray,
        netcdf4,
        netcdf4_bands,
        netcdf3_big_endian,
        zarr,
    )
}
"""Name -> writes the truth into a folder and returns what ``open_scene`` takes."""
