"""Scenes that are xarray arrays, in memory or in Dask's chunks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geounet.errors import SceneError
from geounet.raster import Raster
from geounet.scene.memory import native, valid_of
from geounet.scene.port import SceneBand, SceneInfo
from geounet.window import Window

if TYPE_CHECKING:
    import xarray as xr

SPATIAL = 2
"""Dimensions of a raster: y and x."""

_Y = ("y", "lat", "latitude", "northing", "row", "line")
_X = ("x", "lon", "longitude", "easting", "col", "column", "sample")
_EXACT, _ROUNDING = 0.01, 0.1  # of a pixel
_TIME = ("time", "t", "date")

T = TypeVar("T")


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
        self._name = name or str(array.name or "array")
        self._source = source or f"DataArray {self._name}"
        self._array = _band_y_x(array, self._source)

    @property
    def array(self) -> xr.DataArray:
        """(band, y, x), as it was given but for the order of its dimensions."""
        return self._array

    @property
    def is_lazy(self) -> bool:
        """Whether its values are yet to be computed, by Dask."""
        return self._array.chunks is not None and hasattr(self._array.data, "__dask_graph__")

    @cached_property
    def info(self) -> SceneInfo:
        """The header."""
        geobox, placed = _geobox(self._array, self._source)
        return SceneInfo(
            name=self._name,
            source=self._source,
            geobox=geobox,
            georeferenced=placed,
            bands=tuple(_bands(self._array)),
            block=_block(self._array),
            hint="\n".join([self._source, " ".join(map(str, self._array.attrs.values()))[:4000]]),
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
        grid = info.geobox.zoom_to((part.shape[1], part.shape[2]))
        return self._raster(part, grid, bands)

    def close(self) -> None:
        """Nothing of ours is open."""

    def _raster(self, part: xr.DataArray, grid: GeoBox, bands: Sequence[int]) -> Raster:
        try:
            data = native(np.asarray(part.values))
        except (OSError, RuntimeError, ValueError) as error:
            line = " ".join(str(error).split())[:160]
            raise SceneError(
                f"{self._source}: the pixels cannot be read ({line}): the file is damaged or was"
                " cut short; get it again"
            ) from error
        nodata = [self.info.bands[band - 1].nodata for band in bands]
        return Raster(data=data, valid=valid_of(data, nodata), geobox=grid)


def _band_y_x(array: xr.DataArray, source: str) -> xr.DataArray:
    if array.ndim < SPATIAL:
        raise SceneError(f"{source}: dimensions {array.dims} are no raster (band, y, x)")
    y, x = _spatial_dims(array, source)
    rest = [dim for dim in array.dims if dim not in (y, x)]
    extra = [dim for dim in rest if array.sizes[dim] != 1]
    dates = [dim for dim in extra if str(dim).lower() in _TIME]
    if len(extra) > 1 or dates:
        raise SceneError(
            f"{source} has {', '.join(f'{array.sizes[d]} {d}' for d in extra)} beside y and x:"
            f" pick one, e.g. array.isel({(dates or extra)[0]}=0), and pass it to geounet.segment"
        )
    band = next(iter(extra), "band" if "band" in rest else None)
    array = array.squeeze([dim for dim in rest if dim != band])
    if array.dtype.kind not in "buif":
        raise SceneError(f"{source} holds {array.dtype}: only real numbers can be segmented")
    if band is None:
        band, array = "band", array.expand_dims("band")
    return array.transpose(band, y, x)


def _spatial_dims(array: xr.DataArray, source: str) -> tuple[Hashable, Hashable]:
    lower = {str(dim).lower(): dim for dim in array.dims}
    y = next((lower[n] for n in _Y if n in lower), None)
    x = next((lower[n] for n in _X if n in lower), None)
    if y is not None and x is not None:
        return y, x
    if array.ndim == SPATIAL:
        return array.dims[0], array.dims[1]
    raise SceneError(
        f"{source} has dimensions {', '.join(map(str, array.dims))}: name the spatial ones y and x,"
        f" e.g. array.rename({array.dims[-2]}='y', {array.dims[-1]}='x')"
    )


def _bands(array: xr.DataArray) -> list[SceneBand]:
    names, attrs = _band_names(array), array.attrs
    nodata = _nodata(array)
    scales = _each(attrs, ("scales", "scale_factor"), len(names), 1.0)
    offsets = _each(attrs, ("offsets", "add_offset"), len(names), 0.0)
    return [
        SceneBand(name=name, dtype=str(array.dtype), scale=scale, offset=offset, nodata=nodata)
        for name, scale, offset in zip(names, scales, offsets, strict=True)
    ]


def _nodata(array: xr.DataArray) -> float | None:
    """The stored value that means nodata.

    What is in ``encoding`` has been turned into NaN by xarray already, in units that are no longer
    those of the array; only integers, which hold no NaN, can still carry it.
    """
    places: list[Mapping[Any, Any]] = [array.attrs]
    if array.dtype.kind in "iu":
        places.append(array.encoding)
    keys = ("_FillValue", "missing_value", "nodata", "nodatavals")
    found = next((p[k] for p in places for k in keys if p.get(k) is not None), None)
    return None if found is None else float(np.ravel(found)[0])


def _each(attrs: Mapping[str, Any], keys: Sequence[str], count: int, default: float) -> list[float]:
    """A number a band, from the first attribute that is there (one for all, or one each)."""
    found = next((np.ravel(attrs[k]).astype(float) for k in keys if k in attrs), np.array([]))
    if found.size in (1, count):
        return [float(v) for v in np.broadcast_to(found, count)]
    return [default] * count


def _band_names(array: xr.DataArray) -> list[str]:
    dim = array.dims[0]
    if dim in array.coords and array.coords[dim].dtype.kind in "UOS":
        return [str(v) for v in array.coords[dim].values]
    long_name = array.attrs.get("long_name")
    if isinstance(long_name, tuple | list) and len(long_name) == len(array):
        return [str(v) for v in long_name]
    return [str(array.name or "")] if len(array) == 1 else [""] * len(array)


def _block(array: xr.DataArray) -> tuple[int, int]:
    """Rows and columns of the chunks, in memory or in the file."""
    if array.chunks:
        return array.chunks[1][0], array.chunks[2][0]
    stored = array.encoding.get("preferred_chunks", {})
    return int(stored.get(array.dims[1], 1)), int(stored.get(array.dims[2], 1))


def _geobox(array: xr.DataArray, source: str) -> tuple[GeoBox, bool]:
    import odc.geo.xr  # noqa: F401  registers .odc

    geobox: Any = array.odc.geobox
    if isinstance(geobox, GeoBox):
        if not _fits(geobox, array):
            geobox = _evenly(array, source).odc.geobox
        return geobox, True
    y, x = array.dims[1:]
    if y in array.coords or x in array.coords:
        if 1 in array.shape[1:]:
            raise SceneError(
                f"{source}: a single row or column does not tell its pixel size: write it, e.g."
                " with array.rio.write_transform"
            )
        raise SceneError(_irregular(source))
    return GeoBox((array.shape[1], array.shape[2]), Affine.identity(), None), False


def _fits(geobox: GeoBox, array: xr.DataArray) -> bool:
    """Whether the grid, which odc-geo tells from the first two coordinates, fits all of them."""
    if geobox.affine.b or geobox.affine.d:
        return True  # rotated: the coordinates count pixels
    steps = geobox.affine.e, geobox.affine.a
    for dim, name, step in zip(array.dims[1:], geobox.dimensions, steps, strict=True):
        if dim in array.coords:
            off = np.abs(array.coords[dim].values - geobox.coordinates[name].values)
            if not off.max() <= _EXACT * abs(step):
                return False
    return True


def _evenly(array: xr.DataArray, source: str) -> xr.DataArray:
    """The array with its coordinates spread evenly, where only rounding keeps them from it.

    Coordinates in float32 are often a hundredth of a pixel off; from the first two of them alone,
    the far end would be off by whole pixels.
    """
    for dim in array.dims[1:]:
        values = array.coords[dim].values.astype(float)
        even = np.linspace(values[0], values[-1], len(values))
        if not np.abs(values - even).max() <= _ROUNDING * abs(even[0] - even[1]):
            raise SceneError(_irregular(source))
        array = array.assign_coords({dim: (dim, even, array.coords[dim].attrs)})
    return array


def _irregular(source: str) -> str:
    return (
        f"{source}: its coordinates are no regular grid: resample it first, e.g. with rioxarray or"
        " xESMF"
    )
