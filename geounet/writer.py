"""Strips into a cloud-optimised GeoTIFF, in bounded memory."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError  # what rasterio.shutil lets through
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from geounet.classes import NODATA, ClassScheme
from geounet.errors import OutputError
from geounet.gdalenv import write_env

BLOCK = 512
"""Side of a block in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterLayout:
    """How a one-band uint8 raster looks; 255 is nodata."""

    geobox: GeoBox
    """CRS, affine and shape: those of the scene."""
    georeferenced: bool
    """False: write no transform."""
    description: str
    """Band description."""
    resampling: Literal["MODE", "AVERAGE"]
    """How overviews are made: classes by majority, quantities by mean."""
    scheme: ClassScheme | None = None
    """Classes, for a colour table."""
    tags: Mapping[str, str] | None = None
    """Dataset tags (provenance)."""


class StripWriter:
    """Writes strips, top to bottom, and turns them into a COG with overviews.

    Rows are handed to GDAL in whole rows of blocks, so that each block is compressed once; memory
    holds one row of blocks, whatever the raster's height.

    Args:
        path: The COG to write (a temporary name: the caller renames).
        scratch: A second temporary name, for the raster before it is a COG.
        layout: What the raster is.
    """

    def __init__(self, path: Path, scratch: Path, layout: RasterLayout) -> None:
        self._path, self._scratch, self._layout = path, scratch, layout
        self._height, self._width = layout.geobox.shape
        self._rows = np.empty((BLOCK, self._width), np.uint8)
        self._filled = 0
        self._written = 0
        self._dataset = self._guard(self._open)

    def write(self, strip: NDArray[np.uint8]) -> None:
        """Append rows (rows, width).

        Raises:
            OutputError: The disk is full, or the file cannot be written.
        """
        done = 0
        while done < len(strip):
            count = min(BLOCK - self._filled, len(strip) - done)
            self._rows[self._filled : self._filled + count] = strip[done : done + count]
            self._filled += count
            done += count
            if self._filled == BLOCK:
                self._flush()

    def finish(self) -> None:
        """Write what is left, close, and make the COG.

        Raises:
            OutputError: As :meth:`write`.
        """
        if self._filled:
            self._flush()
        if self._written != self._height:
            raise OutputError(f"{self._path}: {self._written} of {self._height} rows were written")
        self._guard(self._dataset.close)
        self._guard(self._to_cog)
        self._scratch.unlink(missing_ok=True)

    def abort(self) -> None:
        """Close without finishing; the caller removes the files, and has an error of its own."""
        with contextlib.suppress(OutputError):
            self._guard(self._dataset.close)

    def _flush(self) -> None:
        window = rasterio.windows.Window(0, self._written, self._width, self._filled)
        rows = self._rows[: self._filled]
        self._guard(lambda: self._dataset.write(rows, 1, window=window))
        self._written += self._filled
        self._filled = 0

    def _open(self) -> Any:
        layout = self._layout
        crs = layout.geobox.crs
        dataset = rasterio.open(
            self._scratch,
            "w",
            driver="GTiff",
            height=self._height,
            width=self._width,
            count=1,
            dtype="uint8",
            nodata=NODATA,
            crs=None if crs is None else crs.to_wkt(),
            transform=layout.geobox.affine if layout.georeferenced else None,
            tiled=True,
            blockxsize=BLOCK,
            blockysize=BLOCK,
            compress="ZSTD",  # lives for minutes only; 8 times as fast as DEFLATE
            zstd_level=1,
            bigtiff="IF_SAFER",
        )
        dataset.set_band_description(1, layout.description)
        dataset.update_tags(**(layout.tags or {}))
        if layout.scheme is not None:
            dataset.write_colormap(1, color_table(layout.scheme))
        return dataset

    def _to_cog(self) -> None:
        rasterio.shutil.copy(
            self._scratch,
            self._path,
            driver="COG",
            compress="DEFLATE",  # every GIS reads it
            blocksize=BLOCK,
            overview_resampling=self._layout.resampling,
            bigtiff="IF_SAFER",
            num_threads="ALL_CPUS",
        )
        # GDAL reports a full disk late or not at all: read the last block back.
        with rasterio.open(self._path) as cog:
            last = rasterio.windows.Window(self._width - 1, self._height - 1, 1, 1)
            cog.read(1, window=last)

    def _guard(self, action: Any) -> Any:
        """Run under our GDAL options; what GDAL reports becomes OutputError."""
        try:
            with write_env(), warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                return action()
        except (RasterioError, CPLE_BaseError, OSError) as error:
            raise OutputError(
                f"{self._path.parent.absolute()}: the raster cannot be written"
                f" ({_reason(error)}): free some disk space, or choose another folder with -o"
            ) from error


def lost_crs(geobox: GeoBox) -> str | None:
    """The CRS as WKT where GeoTIFF has no keys for it, so that a sidecar must tell it; else None.

    Such are rotated poles, Equal Earth and others without an EPSG code.
    """
    if geobox.crs is None:
        return None
    wkt: str = geobox.crs.to_wkt()
    one = {"width": 1, "height": 1, "count": 1, "dtype": "uint8", "transform": geobox.affine}
    with write_env(), warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
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
