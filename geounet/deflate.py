"""DEFLATE, as it suits what is compressed."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MEMORY = 9  # of zlib, the most: 256 KiB
_LEVEL = 6


def deflated(array: NDArray[Any], *, labels: bool, level: int = _LEVEL) -> bytes:
    """The bytes of an array as a zlib stream (RFC 1950).

    Labels are runs of one value. To look for nothing else (``Z_RLE``) is three to five times as
    fast as level 6: on a land-cover map to nine tenths of its size, on noisy maps to 1.00 to 1.11
    times of it, and to half of what level 1 gives, whatever the level.

    Args:
        array: Of any shape.
        labels: Whether these are class codes, not quantities.
        level: 1 (fast) to 9, of quantities.
    """
    strategy = zlib.Z_RLE if labels else zlib.Z_DEFAULT_STRATEGY
    stream = zlib.compressobj(
        1 if labels else level, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY, strategy
    )
    return stream.compress(np.ascontiguousarray(array).data) + stream.flush()
