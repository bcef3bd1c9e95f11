"""How much each pixel of a tile counts where tiles overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError
from geounet.tiling import Tile, TileGrid


def taper(size: int, overlap: int) -> NDArray[np.float32]:
    """Weights (size,) that rise over the first ``overlap`` pixels and fall over the last.

    Law (partition of unity): the weights of windows that lie ``size - overlap`` apart sum to 1
    wherever two of them meet, as long as ``size >= 2 * overlap``. Each is strictly positive, so
    that a pixel which only one tile sees keeps a weight to be divided by. A rise is the square of a
    sine: flat at both ends, so that neither the first nor the last pixel of an overlap is an edge.

    Args:
        size: Side of a window in pixels, at least 1.
        overlap: Pixels that neighbouring windows share, at least 0.

    Raises:
        OptionError: A size or an overlap that cannot be.
    """
    if size < 1 or overlap < 0:
        raise OptionError(f"a taper of {size} pixels with an overlap of {overlap} cannot be")
    at = np.arange(size)
    return (_rise(at, overlap) * _rise(size - 1 - at, overlap)).astype(np.float32)


def tile_weight(tile: Tile, grid: TileGrid) -> NDArray[np.float32]:
    """What each pixel of a tile counts: the taper of its rows times that of its columns.

    (height, width) of the part of the read window that lies in the scene; neighbours share twice
    the halo.
    """
    rows, cols = (taper(size, 2 * grid.halo) for size in (tile.read.height, tile.read.width))
    shown = tile.read.intersect(grid.scene).relative_to(tile.read).slices
    return rows[shown[0], None] * cols[None, shown[1]]


def _rise(at: NDArray[np.intp], overlap: int) -> NDArray[np.float64]:
    """From nearly 0 at the edge to 1 where the overlap ends."""
    if overlap == 0:
        return np.ones(len(at))
    share = np.minimum((at + 0.5) / overlap, 1.0)
    return np.asarray(np.sin(share * (np.pi / 2)) ** 2)
