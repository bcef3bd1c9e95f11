"""Scenes: one port, and adapters for files, stacks of files, arrays and xarray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from geounet.errors import SceneError
from geounet.scene.described import BandNote, DescribedScene
from geounet.scene.geotiff import GeoTIFFScene
from geounet.scene.memory import MemoryScene
from geounet.scene.port import SceneBand, SceneInfo, SceneReader
from geounet.scene.stack import StackScene
from geounet.scene.xarray import XarrayScene
from geounet.scene.xarray_file import XarrayFileScene, as_array

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "BandNote",
    "DescribedScene",
    "GeoTIFFScene",
    "MemoryScene",
    "SceneBand",
    "SceneInfo",
    "SceneReader",
    "SceneSource",
    "StackScene",
    "XarrayFileScene",
    "XarrayScene",
    "narrow",
    "open_scene",
]

SceneSource = Union[str, Path, Sequence[str | Path], "xr.DataArray", "xr.Dataset", SceneReader]
"""What a scene can be given as."""

_NETCDF = (".nc", ".nc4", ".netcdf", ".cdf")


def open_scene(source: SceneSource) -> SceneReader:
    """The reader for a path, URL, list of single-band files, xarray object or reader.

    Opens nothing yet: what cannot be opened is refused at the first look at ``info``.

    Raises:
        SceneError: It is no raster that can be segmented.
    """
    if isinstance(source, (str, Path)):
        return _open_path(str(source))
    if hasattr(source, "dims") and hasattr(source, "coords"):
        return _open_xarray(source)
    if isinstance(source, SceneReader):
        return source
    if isinstance(source, Sequence) and len(source) > 0:
        return StackScene(source) if len(source) > 1 else open_scene(source[0])
    what = "an empty list" if isinstance(source, Sequence) else f"a {type(source).__name__}"
    raise SceneError(f"{what} is no scene: give a path, a list of paths or an xarray DataArray")


def narrow(
    scene: SceneReader, bands: Sequence[int], pixel_size: tuple[float, float] | None
) -> tuple[SceneReader, tuple[int, ...]]:
    """The scene and its bands, without files that are not needed (their grid must not count).

    Args:
        scene: What was opened.
        bands: 1-based.
        pixel_size: Smallest and largest in metres; files of several resolutions meet in there.
            None: on the finest grid.
    """
    if isinstance(scene, (StackScene, DescribedScene)) and scene.is_stack:
        return scene.only(bands, pixel_size), tuple(range(1, len(bands) + 1))
    return scene, tuple(bands)


def _open_path(path: str) -> SceneReader:
    bare = path.rstrip("/").lower()
    if bare.endswith(".zarr") or (bare.endswith(_NETCDF) and Path(path).exists()):
        return XarrayFileScene(path)
    return GeoTIFFScene(path)


def _open_xarray(source: Any) -> XarrayScene:
    array = as_array(source, "Dataset") if hasattr(source, "data_vars") else source
    return XarrayScene(array)
