"""Rasters that tests make: one helper for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

WEST, NORTH = 3e5, 5e6
UTM: Mapping[str, Any] = {"crs": "EPSG:32633", "transform": Affine(10, 0, WEST, 0, -10, NORTH)}
"""Where a raster lies unless it is said."""
NOWHERE: Mapping[str, Any] = {"crs": None, "transform": None}
"""Of a picture."""
LOSSLESS: Mapping[str, Any] = {"driver": "JP2OpenJPEG", "quality": 100, "reversible": True}


def at(step: float, west: float = WEST, north: float = NORTH) -> Affine:
    """The transform of a raster with square pixels."""
    return Affine(step, 0, west, 0, -step, north)


def write(
    path: Path,
    data: Any,
    *,
    names: Sequence[str | None] = (),
    scale: float | None = None,
    offset: float | None = None,
    tags: Mapping[str, Any] | None = None,
    mask: np.ndarray | None = None,
    **options: Any,
) -> Path:
    """A raster of (bands, height, width) or (height, width); ``options`` are rasterio's."""
    data = np.asarray(data)
    layers = data[None] if data.ndim == 2 else data
    options = {"driver": "GTiff", **UTM} | options
    with rasterio.open(
        path,
        "w",
        count=len(layers),
        height=layers.shape[1],
        width=layers.shape[2],
        dtype=layers.dtype,
        **options,
    ) as out:
        out.write(layers)
        if any(names):
            out.descriptions = [*names, *[None] * len(layers)][: len(layers)]
        if scale is not None:
            out.scales = [scale] * len(layers)
        if offset is not None:
            out.offsets = [offset] * len(layers)
        # even without tags: GDAL then moves the header to where the mask's will be, and a server in
        # this process is not asked for the mask by a call that holds Python's lock
        out.update_tags(**tags or {})
        if mask is not None:
            out.write_mask(mask)
    return path
