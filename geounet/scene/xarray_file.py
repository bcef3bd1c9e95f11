"""Files that xarray reads better than GDAL: netCDF and Zarr."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from geounet.address import shown
from geounet.errors import DependencyError, SceneError
from geounet.hushed import hushed
from geounet.raster import Raster
from geounet.scene.geotiff import short_name
from geounet.scene.port import SceneInfo
from geounet.scene.xarray import SPATIAL, XarrayScene
from geounet.window import Window

if TYPE_CHECKING:
    import xarray as xr


class XarrayFileScene:
    """A netCDF or Zarr file; its two-dimensional variables are the bands.

    Opened at the first use, closed by :meth:`close`; xarray's locks let several threads read.

    Args:
        path: File, folder or URL.

    Raises:
        DependencyError: xarray is not installed.
        SceneError: Missing, unreadable, no raster in it, or several dates.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._dataset: xr.Dataset | None = None
        self._scene: XarrayScene | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    @property
    def info(self) -> SceneInfo:
        """The header."""
        return replace(self._opened().info, files=(self._path,))

    def read(self, window: Window, bands: Sequence[int]) -> Raster:
        """Values (bands, height, width) of a window, decoded by xarray (scale, fill values)."""
        return self._opened().read(window, bands)

    def preview(self, max_size: int, bands: Sequence[int]) -> Raster:
        """The whole scene, decimated by taking every n-th pixel."""
        return self._opened().preview(max_size, bands)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._dataset is not None:
                self._dataset.close()
            self._dataset = self._scene = None

    def _opened(self) -> XarrayScene:
        with self._lock:
            if self._scene is None:
                self._dataset = _open(self._path)
                array = as_array(self._dataset, shown(self._path))
                self._scene = XarrayScene(
                    array, name=short_name(self._path), source=shown(self._path)
                )
            return self._scene


def as_array(dataset: xr.Dataset, source: str) -> xr.DataArray:
    """The variables of a dataset as the bands of one array.

    Raises:
        SceneError: None is a raster, or they are on different grids.
    """
    import xarray as xr

    rasters = {
        str(name): variable
        for name, variable in dataset.data_vars.items()
        if variable.ndim >= SPATIAL and variable.dtype.kind in "iuf"
    }
    if not rasters:
        raise SceneError(f"{source} holds no two-dimensional variable of numbers: choose another")
    if len(rasters) == 1:
        return next(iter(rasters.values()))
    if len({(v.dims, v.shape) for v in rasters.values()}) > 1:
        raise SceneError(
            f"{source} holds variables of different shapes ({', '.join(rasters)}):"
            " pick those of one grid with xarray and pass the array to geounet.segment"
        )
    if any(v.ndim > SPATIAL and "band" in v.dims for v in rasters.values()):
        raise SceneError(
            f"{source} holds {len(rasters)} variables with bands ({', '.join(rasters)}):"
            " pick one with xarray and pass the array to geounet.segment"
        )
    joined = xr.concat(list(rasters.values()), "band", coords="minimal", compat="override")
    joined.encoding = dict(next(iter(rasters.values())).encoding)
    return joined.assign_coords(band=list(rasters)).assign_attrs(
        {k: v for k, v in joined.attrs.items() if k != "long_name"}
    )


def _open(path: str) -> xr.Dataset:
    try:
        import xarray as xr
    except ImportError as error:
        raise DependencyError(
            f"{shown(path)} is read through xarray, which is not installed:"
            " pip install 'geounet[xarray]'"
        ) from error
    zarr = path.rstrip("/").lower().endswith(".zarr")
    options: dict[str, Any] = {"engine": "zarr", "consolidated": None} if zarr else {}
    try:
        # a store without consolidated metadata is slower to open, and as good
        with hushed(Warning, "Failed to open Zarr store with consolidated"):
            return xr.open_dataset(path, decode_coords="all", **options)
    except ImportError as error:
        raise DependencyError(f"{shown(path)}: {error}: pip install 'geounet[xarray]'") from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        line = shown(" ".join(str(error).split()))[:160]
        raise SceneError(f"{shown(path)} cannot be opened with xarray ({line})") from error
