"""Stored values on their way into an engine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def plain(tiles: NDArray[Any]) -> NDArray[Any]:
    """In a type that every engine and device takes: uint8, int16 or float32.

    MPS has no float64, and no device has all unsigned types.
    """
    if tiles.dtype in (np.uint8, np.int16, np.float32):
        return tiles
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and clipped like the rest
        return tiles.astype(np.float32)
