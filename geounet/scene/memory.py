"""A scene held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.errors import OptionError
from geounet.raster import Raster
from geounet.scene.port import SceneBand, SceneInfo
from geounet.window import Window


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemoryScene:
    """The in-memory adapter of :class:`~geounet.scene.port.SceneReader`."""

    raster: Raster
    """Data (bands, height, width), validity and grid."""
    names: tuple[str, ...] = ()
    """One a band; empty: unknown."""
    scale: float = 1.0
    """Stored value times this ..."""
    offset: float = 0.0
    """... plus this is the physical value."""
    name: str = "array"
    """Short name."""
    georeferenced: bool = True
    """Whether the affine means anything."""
    reads: list[Window] = field(default_factory=list)
    """Every window that was read, for tests of what a run costs."""

    def __post_init__(self) -> None:
        count = len(self.raster.data)
        if self.names and len(self.names) != count:
            raise OptionError(f"{len(self.names)} band names for {count} bands")

    @classmethod
    def of(
        cls,
        data: NDArray[Any],
        *,
        valid: NDArray[np.bool_] | None = None,
        geobox: GeoBox | None = None,
        names: Sequence[str] = (),
    ) -> MemoryScene:
        """From an array (bands, height, width); without a grid, pixels are counted."""
        grid = GeoBox(data.shape[1:], _identity(), None) if geobox is None else geobox
        mask = np.ones(data.shape[1:], bool) if valid is None else valid
        return cls(
            raster=Raster(data=data, valid=mask, geobox=grid),
            names=tuple(names),
            georeferenced=geobox is not None,
        )

    @property
    def info(self) -> SceneInfo:
        """The header."""
        data = self.raster.data
        return SceneInfo(
            name=self.name,
            source=self.name,
            geobox=self.raster.geobox,
            georeferenced=self.georeferenced,
            bands=tuple(
                SceneBand(name=name, dtype=str(data.dtype), scale=self.scale, offset=self.offset)
                for name in (self.names or ("",) * len(data))
            ),
        )

    def read(self, window: Window, bands: Sequence[int]) -> Raster:
        """Stored values (bands, height, width) of a window inside the scene."""
        self.reads.append(window)
        rows, cols = window.slices
        data = native(self.raster.data[[b - 1 for b in bands], rows, cols])
        return Raster(
            data=data,
            valid=self.raster.valid[rows, cols] & finite(data),
            geobox=self.raster.geobox[rows, cols],
        )

    def preview(self, max_size: int, bands: Sequence[int]) -> Raster:
        """The whole scene, decimated by taking every n-th pixel."""
        step = max(1, -(-max(self.raster.valid.shape) // max_size))
        data = native(self.raster.data[[b - 1 for b in bands], ::step, ::step])
        grid = self.raster.geobox.zoom_to((data.shape[1], data.shape[2]))
        valid = self.raster.valid[::step, ::step] & finite(data)
        return Raster(data=data, valid=valid, geobox=grid)

    def close(self) -> None:
        """Nothing is open."""


def finite(data: NDArray[Any]) -> NDArray[np.bool_]:
    """(height, width), True where no band is NaN or infinite (the decibels of nothing)."""
    if data.dtype.kind != "f":
        return np.ones(data.shape[1:], bool)
    return np.asarray(np.isfinite(data).all(axis=0))


def valid_of(data: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """(height, width), True where no band is NaN, infinite or its nodata value (None: it has none).

    Args:
        data: (bands, height, width), stored values.
        nodata: One a band.
    """
    valid = finite(data)
    for layer, value in zip(data, nodata, strict=True):
        if value is not None and not np.isnan(value):
            valid &= layer != as_stored(value, layer.dtype)
    return valid


def native(data: NDArray[Any]) -> NDArray[Any]:
    """The array in this machine's byte order, which torch needs (classic netCDF has the other)."""
    return data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))


def as_stored(nodata: float, dtype: np.dtype[Any]) -> Any:
    """The nodata value as the file stores it: float32 rasters are tagged with a decimal text."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(nodata).astype(dtype)
    return int(nodata) if float(nodata).is_integer() else nodata


def _identity() -> Any:
    from affine import Affine

    return Affine.identity()
