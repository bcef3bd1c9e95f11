"""Several single-band files that are one scene."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from geounet.address import shown
from geounet.errors import SceneError
from geounet.raster import Raster
from geounet.scene.geotiff import GeoTIFFScene, short_name
from geounet.scene.grid import common_grid, is_coarser, overlap, pixel_area, pixel_label, same
from geounet.scene.port import SceneBand, SceneInfo
from geounet.window import Window

_RESOLUTION = re.compile(r"_\d+m$", re.IGNORECASE)


class StackScene:
    """Single-band files side by side, on one grid, see :func:`~geounet.scene.grid.common_grid`.

    A file on another grid (another resolution, another CRS) is resampled while it is read; outside
    of it pixels are invalid.

    Args:
        paths: One file a band, in band order.
        pixel_size: Smallest and largest pixel size in metres that a model was trained for; None:
            the finest grid it is.
        grid: This grid and no other.

    Raises:
        SceneError: A file has several bands, cannot be opened, or lies nowhere near the others.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        pixel_size: tuple[float, float] | None = None,
        grid: GeoBox | None = None,
    ) -> None:
        if not paths:
            raise SceneError("no scene was given")
        self._paths = [str(p) for p in paths]
        self._pixel_size = pixel_size
        self._given = grid

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self._paths, "pixel_size": self._pixel_size, "grid": self._given}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    is_stack = True
    """Whether each band has a file of its own, so that some can be left out."""

    def only(self, bands: Sequence[int], pixel_size: tuple[float, float] | None) -> StackScene:
        """The scene of just these bands (1-based), on its own grid if one was given to it.

        Otherwise on a grid for these sizes of pixels (None: the finest), or for those given to it.
        """
        return StackScene(
            [self._paths[b - 1] for b in bands],
            pixel_size=self._pixel_size or pixel_size,
            grid=self._given,
        )

    def on(self, grid: GeoBox) -> StackScene:
        """The scene on another grid, which has a place in common with it.

        Raises:
            SceneError: It has none.
        """
        info = self.info
        alike = (info.geobox.crs is None) is (grid.crs is None)
        if not (info.georeferenced and alike and overlap(info.geobox, grid)):
            raise SceneError(
                f"{info.source} does not lie where the other raster does: are they of one scene?"
            )
        return StackScene(self._paths, grid=grid)

    @cached_property
    def _grid(self) -> GeoBox:
        if self._given is not None:
            return self._given
        return common_grid([info.geobox for info in self._headers], self._pixel_size)

    @cached_property
    def _headers(self) -> list[SceneInfo]:
        plain = [GeoTIFFScene(path) for path in self._paths]
        try:
            infos = [scene.info for scene in plain]
        finally:
            for scene in plain:
                scene.close()
        _refuse_unlike(infos)
        return infos

    @cached_property
    def _parts(self) -> list[GeoTIFFScene]:
        grid = self._grid
        return [
            GeoTIFFScene(path, grid=None if same(info.geobox, grid) else grid)
            for info, path in zip(self._headers, self._paths, strict=True)
        ]

    @cached_property
    def info(self) -> SceneInfo:
        """The header; each band is named by its description or else by its file."""
        infos = self._headers
        return SceneInfo(
            name=_common_name(self._paths),
            source=f"{shown(self._paths[0])} and {len(self._paths) - 1} more"
            if len(self._paths) > 1
            else shown(self._paths[0]),
            geobox=self._grid,
            georeferenced=infos[0].georeferenced,
            bands=tuple(_band_names(infos, self._paths)),
            block=max(i.block for i in infos),
            hint=_merged([i.hint for i in infos]),
            files=tuple(file for i in infos for file in i.files),
            note=_note(infos, self._grid),
        )

    def read(self, window: Window, bands: Sequence[int]) -> Raster:
        """Stored values (bands, height, width), in a type that holds all of them."""
        return _join([self._parts[b - 1].read(window, [1]) for b in bands])

    def preview(self, max_size: int, bands: Sequence[int]) -> Raster:
        """The whole scene, decimated."""
        return _join([self._parts[b - 1].preview(max_size, [1]) for b in bands])

    def close(self) -> None:
        """Close all handles."""
        for part in self._parts:
            part.close()


def _join(parts: list[Raster]) -> Raster:
    return Raster(
        data=np.concatenate([p.data for p in parts]),
        valid=np.logical_and.reduce([p.valid for p in parts]),
        geobox=parts[0].geobox,
    )


def _refuse_unlike(infos: Sequence[SceneInfo]) -> None:
    first = infos[0]
    for info in infos:
        count = sum(not band.is_alpha for band in info.bands)
        if count != 1:
            raise SceneError(
                f"{info.source} has {count} bands; several files make one scene only where each is"
                " a single band: leave it out, or segment scenes one at a time"
            )
        if (info.geobox.crs is None) is not (first.geobox.crs is None):
            bare, other = (info, first) if info.geobox.crs is None else (first, info)
            raise SceneError(
                f"{bare.source} has no CRS and {other.source} has one, so they cannot be put side"
                " by side: set it with gdal_edit.py -a_srs"
            )
        if not (info.georeferenced and first.georeferenced) and info.geobox != first.geobox:
            raise SceneError(
                f"{info.source} and {first.source} differ in size and say nothing of their place:"
                " give them a georeference, or resample them to one size"
            )
        if not overlap(first.geobox, info.geobox):
            raise SceneError(
                f"{info.source} and {first.source} do not overlap: are they of one scene?"
                " Segment scenes one at a time"
            )


def _note(infos: Sequence[SceneInfo], grid: GeoBox) -> str:
    """Which grid it is, where the files differ."""
    if all(same(info.geobox, grid) for info in infos):
        return ""
    grids = sorted((info.geobox for info in infos), key=lambda g: pixel_area(g, grid))
    sizes = ", ".join(dict.fromkeys(map(pixel_label, grids)))
    own = next((Path(info.source).name for info in infos if same(info.geobox, grid)), None)
    which = f"the {pixel_label(grid)} grid of {own}" if own else f"a grid of {pixel_label(grid)}"
    return f"pixels of {sizes} meet on {which}"


def _merged(hints: Sequence[str]) -> str:
    """First lines beside first lines, and so on."""
    lines = zip_longest(*(hint.splitlines() for hint in hints), fillvalue="")
    return "\n".join(" ".join(dict.fromkeys(line))[:4000] for line in lines)


def _band_names(infos: Sequence[SceneInfo], paths: Sequence[str]) -> Iterator[SceneBand]:
    """Each file's band, named by its description or else by the file.

    Sentinel-2 delivers a band in several resolutions (``B02_10m``, ``B02_20m``): the finest bears
    the name, and the others none.
    """
    stems = [_RESOLUTION.sub("", short_name(path)) for path in paths]
    finest: dict[str, GeoBox] = {}
    for info, stem in zip(infos, stems, strict=True):
        held = finest.setdefault(stem, info.geobox)
        if is_coarser(held, info.geobox):
            finest[stem] = info.geobox
    for info, stem, path in zip(infos, stems, paths, strict=True):
        band = info.bands[0]
        copied = is_coarser(info.geobox, finest[stem])
        yield replace(band, name="" if copied else band.name or short_name(path))


def _common_name(paths: Sequence[str]) -> str:
    """The words that all file names begin with, or else the folder.

    ``LC08_x_SR_B2.TIF ...`` -> ``LC08_x``, ``s1a-grd-vv.tiff s1a-grd-vh.tiff`` -> ``s1a-grd``
    """
    common = os.path.commonprefix([short_name(p) for p in paths])  # noqa: RUF071  of characters
    words = common[: 1 + max(common.rfind(sep) for sep in "_-. ")] or common.rstrip("B0")
    common = words.strip("_-. ").removesuffix("_SR")
    return common if len(common) > 1 else (Path(shown(paths[0])).resolve().parent.name or "scene")
