"""Scenes that are xarray objects, and files that xarray reads better than GDAL (netCDF, Zarr)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geounet.errors import DependencyError, SceneError
from geounet.raster import Raster
from geounet.scene.geotiff import short_name
from geounet.scene.memory import finite
from geounet.scene.port import SceneBand, SceneInfo
from geounet.window import Window

if TYPE_CHECKING:
    import xarray as xr

_Y, _X = ("y", "lat", "latitude", "northing"), ("x", "lon", "longitude", "easting")
_SPATIAL = 2


class XarrayScene:
    """The xarray adapter of :class:`~geounet.scene.port.SceneReader`; Dask arrays are read lazily.

    Args:
        array: (y, x) or (band, y, x), in any order of dimensions; length-1 dimensions are dropped.
        name: Short name; default the array's.
        source: What messages call it.

    Raises:
        SceneError: The dimensions or the coordinates are not those of a raster.
    """

    def __init__(self, array: xr.DataArray, *, name: str = "", source: str = "") -> None:
        self._array = _band_y_x(array)
        self._name = name or str(array.name or "array")
        self._source = source or f"DataArray {self._name}"

    @cached_property
    def info(self) -> SceneInfo:
        """The header."""
        array = self._array
        geobox, placed = _geobox(array, self._source)
        chunks = array.chunks
        return SceneInfo(
            name=self._name,
            source=self._source,
            geobox=geobox,
            georeferenced=placed,
            bands=tuple(self._bands()),
            block=(chunks[1][0], chunks[2][0]) if chunks else (1, 1),
        )

    def read(self, window: Window, bands: Sequence[int]) -> Raster:
        """Stored values (bands, height, width) of a window inside the scene."""
        rows, cols = window.slices
        part = self._array[[b - 1 for b in bands], rows, cols]
        return self._raster(part, self.info.geobox[rows, cols], bands)

    def preview(self, max_size: int, bands: Sequence[int]) -> Raster:
        """The whole scene, decimated by taking every n-th pixel."""
        info = self.info
        step = max(1, -(-max(info.height, info.width) // max_size))
        part = self._array[[b - 1 for b in bands], ::step, ::step]
        return self._raster(part, info.geobox.zoom_to(part.shape[1:]), bands)

    def close(self) -> None:
        """Nothing of ours is open."""

    def _raster(self, part: xr.DataArray, grid: GeoBox, bands: Sequence[int]) -> Raster:
        try:
            data = np.asarray(part.values)
        except (OSError, RuntimeError, ValueError) as error:
            raise SceneError(f"{self._source}: the pixels cannot be read ({error})") from error
        valid = finite(data)
        for layer, band in zip(data, bands, strict=True):
            nodata = self.info.bands[band - 1].nodata
            if nodata is not None and not np.isnan(nodata):
                valid &= layer != nodata
        return Raster(data=data, valid=valid, geobox=grid)

    def _bands(self) -> list[SceneBand]:
        attrs, encoding = self._array.attrs, self._array.encoding
        nodata = next(
            (a[k] for a in (attrs, encoding) for k in ("_FillValue", "nodata") if k in a), None
        )
        return [
            SceneBand(
                name=name,
                dtype=str(self._array.dtype),
                scale=float(attrs.get("scale_factor", 1.0)),
                offset=float(attrs.get("add_offset", 0.0)),
                nodata=None if nodata is None else float(nodata),
            )
            for name in _band_names(self._array)
        ]


def open_with_xarray(path: str) -> XarrayScene:
    """A netCDF or Zarr file; its two-dimensional variables are the bands.

    Raises:
        DependencyError: xarray is not installed.
        SceneError: No raster in it, or several dates.
    """
    try:
        import xarray as xr
    except ImportError as error:
        raise DependencyError(
            f"{path} is read through xarray, which is not installed: pip install 'geounet[xarray]'"
        ) from error
    try:
        dataset = xr.open_dataset(path, decode_coords="all", engine=_engine(path))
    except (OSError, ValueError, KeyError) as error:
        line = " ".join(str(error).split())[:160]
        raise SceneError(f"{path} cannot be opened with xarray ({line})") from error
    return XarrayScene(_as_array(dataset, path), name=short_name(path), source=path)


def _engine(path: str) -> str | None:
    return "zarr" if path.rstrip("/").endswith(".zarr") else None


def _as_array(dataset: xr.Dataset, source: str) -> xr.DataArray:
    import xarray as xr

    rasters = {
        str(name): variable
        for name, variable in dataset.data_vars.items()
        if variable.ndim >= _SPATIAL and variable.dtype.kind in "iuf"
    }
    if not rasters:
        raise SceneError(f"{source} holds no two-dimensional numeric variable")
    if len(rasters) == 1:
        return next(iter(rasters.values()))
    shapes = {(v.dims, v.shape) for v in rasters.values()}
    if len(shapes) > 1:
        raise SceneError(
            f"{source} holds variables of different shapes ({', '.join(rasters)}):"
            " pick those of one grid with xarray and pass the array to geounet.segment"
        )
    joined = xr.concat(list(rasters.values()), "band", coords="minimal", compat="override")
    return joined.assign_coords(band=list(rasters)).assign_attrs(
        {k: v for k, v in joined.attrs.items() if k != "long_name"}
    )


def _band_y_x(array: xr.DataArray) -> xr.DataArray:
    lower = {str(dim).lower(): dim for dim in array.dims}
    y = next((lower[n] for n in _Y if n in lower), None)
    x = next((lower[n] for n in _X if n in lower), None)
    if y is None or x is None:
        if array.ndim < _SPATIAL:
            raise SceneError(f"an array of dimensions {array.dims} is no raster (band, y, x)")
        y, x = array.dims[-2:]
    rest = [dim for dim in array.dims if dim not in (y, x)]
    extra = [dim for dim in rest if array.sizes[dim] != 1]
    if len(extra) > 1 or (extra and str(extra[0]).lower() in ("time", "t", "date")):
        raise SceneError(
            f"the array has {', '.join(f'{array.sizes[d]} {d}' for d in extra)} beside y and x:"
            f" pick one, e.g. array.isel({extra[0]}=0)"
        )
    band = extra[0] if extra else (rest[0] if "band" in rest or len(rest) == 1 else None)
    array = array.squeeze([dim for dim in rest if dim != band])
    return (array.expand_dims("band") if band is None else array).transpose(band or "band", y, x)


def _band_names(array: xr.DataArray) -> list[str]:
    dim = array.dims[0]
    if dim in array.coords and array.coords[dim].dtype.kind in "UOS":
        return [str(v) for v in array.coords[dim].values]
    long_name = array.attrs.get("long_name")
    if isinstance(long_name, (tuple, list)) and len(long_name) == len(array):
        return [str(v) for v in long_name]
    return [str(array.name or "")] if len(array) == 1 else [""] * len(array)


def _geobox(array: xr.DataArray, source: str) -> tuple[GeoBox, bool]:
    import odc.geo.xr  # noqa: F401  registers .odc

    geobox: Any = array.odc.geobox
    if isinstance(geobox, GeoBox):
        return geobox, True
    if any(dim in array.coords and array.sizes[dim] > 1 for dim in array.dims[1:]):
        raise SceneError(
            f"{source}: its coordinates are no regular grid: resample it first, e.g. with"
            " rioxarray or xESMF"
        )
    return GeoBox(array.shape[1:], Affine.identity(), None), False
