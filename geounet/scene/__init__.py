"""Scenes: one port, and adapters for files, stacks of files, arrays and xarray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Union

from geounet.errors import SceneError
from geounet.scene.geotiff import GeoTIFFScene
from geounet.scene.memory import MemoryScene
from geounet.scene.port import SceneBand, SceneInfo, SceneReader
from geounet.scene.stack import StackScene
from geounet.scene.xarray import XarrayScene, open_with_xarray

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "GeoTIFFScene",
    "MemoryScene",
    "SceneBand",
    "SceneInfo",
    "SceneReader",
    "SceneSource",
    "StackScene",
    "XarrayScene",
    "narrow",
    "open_scene",
]

SceneSource = Union[str, Path, Sequence[str | Path], "xr.DataArray", SceneReader]
"""What a scene can be given as."""

_XARRAY_SUFFIXES = (".nc", ".nc4", ".netcdf", ".cdf", ".zarr")


def open_scene(source: SceneSource) -> SceneReader:
    """The reader for a path, URL, list of single-band files, DataArray or reader.

    Raises:
        SceneError: It cannot be opened, or is no raster that can be segmented.
        DependencyError: It needs xarray, which is not installed.
    """
    if isinstance(source, (str, Path)):
        return _open_path(str(source))
    if isinstance(source, SceneReader):
        return source
    if hasattr(source, "dims") and hasattr(source, "coords"):
        return XarrayScene(source)
    if isinstance(source, Sequence):
        return StackScene(source) if len(source) > 1 else open_scene(source[0])
    raise SceneError(f"a {type(source).__name__} is no scene: give a path, a list or a DataArray")


def narrow(scene: SceneReader, bands: Sequence[int]) -> tuple[SceneReader, tuple[int, ...]]:
    """The scene and its bands, without files that are not needed (their grid must not count)."""
    if isinstance(scene, StackScene):
        return scene.only(bands), tuple(range(1, len(bands) + 1))
    return scene, tuple(bands)


def _open_path(path: str) -> SceneReader:
    if path.rstrip("/").lower().endswith(_XARRAY_SUFFIXES) and (
        Path(path).exists() or path.lower().rstrip("/").endswith(".zarr")
    ):
        return open_with_xarray(path)
    return GeoTIFFScene(path)
