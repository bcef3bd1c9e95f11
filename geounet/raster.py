"""Pixels with their validity and their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geounet.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raster:
    """An array that knows which pixels are valid and where it lies."""

    data: NDArray[Any]
    """(bands, height, width), stored values; undefined where not valid."""
    valid: NDArray[np.bool_]
    """(height, width), True = valid pixel."""
    geobox: GeoBox
    """CRS, affine and shape."""

    def __post_init__(self) -> None:
        shape = tuple(self.geobox.shape)
        if self.data.ndim != 3 or self.data.shape[1:] != shape or self.valid.shape != shape:
            raise OptionError(
                f"data {self.data.shape} and valid {self.valid.shape} must be (bands, height,"
                f" width) and (height, width) of a grid of {shape}"
            )

    def __str__(self) -> str:
        bands, height, width = self.data.shape
        return f"{bands} x {height} x {width} {self.data.dtype}, {self.valid.mean():.1%} valid"
