"""Strips into a cloud-optimised GeoTIFF, in bounded memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from geounet.classes import NODATA, ClassScheme
from geounet.cog import (
    BLOCK,
    BlockStore,
    GDALTags,
    Pyramid,
    Resampling,
    assemble,
    level_shapes,
    tags_of,
)
from geounet.errors import OutputError
from geounet.gdalenv import write_env
from geounet.hushed import hushed


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterLayout:
    """How a one-band uint8 raster looks; 255 is nodata."""

    geobox: GeoBox
    """CRS, affine and shape: those of the scene."""
    georeferenced: bool
    """False: write no transform."""
    description: str
    """Band description."""
    resampling: Resampling
    """How overviews are made: classes by majority, quantities by mean."""
    scheme: ClassScheme | None = None
    """Classes, for a colour table."""
    tags: Mapping[str, str] | None = None
    """Dataset tags (provenance)."""


class StripWriter:
    """Writes strips, top to bottom, into a COG with overviews.

    Blocks are compressed while the strips come, those of the overviews too; at the end they are
    copied behind the directories. Memory holds two rows of blocks, whatever the raster's height.

    Args:
        path: The COG to write (a temporary name: the caller renames).
        scratch: A second temporary name, for the blocks.
        layout: What the raster is.

    Raises:
        OutputError: The folder cannot be written to.
    """

    def __init__(self, path: Path, scratch: Path, layout: RasterLayout) -> None:
        self._path, self._layout = path, layout
        shape = layout.geobox.shape.yx
        self._shapes = level_shapes(shape, BLOCK)
        with self._told():
            self._tags = _tags(layout)
            self._store = BlockStore(scratch, len(self._shapes), labels=layout.scheme is not None)
        self._pyramid = Pyramid(shape, BLOCK, layout.resampling, self._store.put)

    def write(self, strip: NDArray[np.uint8]) -> None:
        """Append rows (rows, width).

        Raises:
            OutputError: The disk is full, or the file cannot be written.
        """
        with self._told():
            self._pyramid.add(strip)

    def finish(self) -> None:
        """Put the COG together.

        Raises:
            OutputError: As :meth:`write`.
        """
        rows, height = self._pyramid.rows, self._shapes[0][0]
        if rows != height:
            raise OutputError(f"{self._path}: {rows} of {height} rows were written")
        with self._told():
            self._store.finish()
            assemble(self._path, self._store, self._shapes, self._tags)
            self._store.path.unlink(missing_ok=True)

    def abort(self) -> None:
        """Close without finishing; the caller removes the files, and has an error of its own."""
        with contextlib.suppress(OSError):  # what is buffered, on a full disk
            self._store.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the system and GDAL report becomes OutputError."""
        try:
            yield
        except (RasterioError, OSError) as error:
            raise OutputError(
                f"{self._path.parent.absolute()}: the raster cannot be written"
                f" ({_reason(error)}): free some disk space, or choose another folder with -o"
            ) from error


def _tags(layout: RasterLayout) -> GDALTags:
    """What GDAL writes into a GeoTIFF of this layout, learnt from one of a pixel."""
    crs = layout.geobox.crs
    with write_env(), hushed(NotGeoreferencedWarning), MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=1,
            width=1,
            count=1,
            dtype="uint8",
            nodata=NODATA,
            crs=None if crs is None else crs.to_wkt(),
            transform=layout.geobox.affine if layout.georeferenced else None,
        ) as dataset:
            dataset.set_band_description(1, layout.description)
            dataset.update_tags(**(layout.tags or {}))
            if layout.scheme is not None:
                dataset.write_colormap(1, color_table(layout.scheme))
        return tags_of(memory.read())


def lost_crs(geobox: GeoBox) -> str | None:
    """The CRS as WKT where GeoTIFF has no keys for it, so that a sidecar must tell it; else None.

    Such are rotated poles, Equal Earth and others without an EPSG code.
    """
    if geobox.crs is None:
        return None
    wkt: str = geobox.crs.to_wkt()
    one = {"width": 1, "height": 1, "count": 1, "dtype": "uint8", "transform": geobox.affine}
    with write_env(), hushed(NotGeoreferencedWarning), MemoryFile() as memory:
        with memory.open(driver="GTiff", crs=wkt, **one):
            pass
        with memory.open() as dataset:
            return None if dataset.crs == rasterio.CRS.from_wkt(wkt) else wkt


def color_table(scheme: ClassScheme) -> dict[int, tuple[int, int, int, int]]:
    """Code -> RGBA for every code; nodata is transparent."""
    table = dict.fromkeys(range(256), (0, 0, 0, 255))
    table.update({c.code: (*c.rgb, 255) for c in scheme})
    table[NODATA] = (0, 0, 0, 0)
    return table


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:160] or type(error).__name__
