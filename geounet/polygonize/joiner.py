"""Bands, in order, into complete regions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.band import SUMS, Band, Rings
from geounet.polygonize.corners import NONE
from geounet.polygonize.drain import drain, measure
from geounet.polygonize.front import join_band
from geounet.polygonize.pools import (
    BLOCKS,
    CHUNKS,
    ENDS,
    FEATURES,
    PARTS,
    PAYLOAD,
    RINGS,
    STEP_BYTES,
    Front,
)

_POOLS = {
    BLOCKS: ("free_blocks", "block_next", "bytes"),
    CHUNKS: ("free_chunks", "chunk_vertex", "chunks"),
    ENDS: ("free_ends", "ends"),
    RINGS: ("free_rings", "rings"),
    PARTS: ("free_parts", "parents", "parts", "sums"),
    FEATURES: ("free_features", "features"),
}
"""Arrays of each pool."""


class Joiner:
    """Joins what bands leave open.

    Args:
        width: Columns of the raster.
        exact: Whether rings get no vertex on a straight line.
        marked: Whether vertices are marked, see :mod:`geounet.polygonize.marking`.
    """

    def __init__(self, *, width: int, exact: bool, marked: bool = False) -> None:
        self._exact, self._marked = exact, marked
        self._heads = np.full((2, width + 1), NONE, np.int32)
        self._tails = np.full((2, width + 1), NONE, np.int32)
        empty: dict[str, Any] = {
            name: np.empty(0, np.int32) for names in _POOLS.values() for name in names
        }
        empty |= {
            "bytes": np.empty(0, np.uint8),
            "chunk_vertex": np.empty(0, np.int64),
            "chunks": np.empty((0, 4), np.int32),
            "ends": np.empty((0, 3), np.int32),
            "rings": np.empty((0, 2), np.int32),
            "parts": np.empty((0, 8), np.int32),
            "features": np.empty((0, 5), np.int32),
            "sums": np.empty((0, SUMS)),
        }
        self._front = Front(used=np.zeros((6, 2), np.int64), **empty)

    def join(self, band: Band) -> Rings:
        """The rings of the regions that the next band completes."""
        features, paths = len(band.open.closed), len(band.open.order)
        self._make_room(paths, band.steps)
        slots = np.empty(features, np.int32)
        found = join_band(
            self._front, self._heads, self._tails, *band.open,
            np.empty(band.steps, np.int64), slots, np.empty(2 * paths, np.int32),
        )  # fmt: skip
        return self._drain(slots[:found])

    def _drain(self, slots: NDArray[np.int32]) -> Rings:
        vertices, most, parts, longest = measure(self._front, slots)
        splits = vertices // 4  # a ring that touches itself becomes several, of four corners each
        rings = Rings.room(vertices + most + splits, most + splits, parts, len(slots))
        raw = np.empty(longest, np.int64)
        drain(self._front, slots, self._exact, self._marked, raw, *rings)
        return rings.trimmed(len(slots))

    def _make_room(self, paths: int, steps: int) -> None:
        """Room in each pool for what a band can add at most; it is hardly ever filled."""
        need = {
            BLOCKS: STEP_BYTES * steps // PAYLOAD + paths,
            CHUNKS: paths,
            ENDS: 2 * paths,
            RINGS: paths,
            PARTS: paths,
            FEATURES: paths,
        }
        grown: dict[str, Any] = {}
        for pool, names in _POOLS.items():
            used, free = (int(n) for n in self._front.used[pool])
            room = used - free + need[pool]
            old = len(getattr(self._front, names[0]))
            if room <= old:
                continue
            for name in names:
                before = getattr(self._front, name)
                # zeros are not memory until they are written to
                each = PAYLOAD if name == "bytes" else 1
                size = each * max(room, old * 3 // 2)
                after = np.zeros((size, *before.shape[1:]), before.dtype)
                after[: each * used] = before[: each * used]
                grown[name] = after
        if grown:
            self._front = self._front._replace(**grown)
