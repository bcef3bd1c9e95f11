"""Compiled: records of what is open, in pools that use freed slots again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.compiled import callee

PAYLOAD = 60
"""Bytes of a block: with its link 64."""

STEP_BYTES = 13
"""Most bytes of a packed step."""

BLOCKS, CHUNKS, ENDS, RINGS, PARTS, FEATURES = 0, 1, 2, 3, 4, 5
"""Pools, rows of ``Front.used``; its columns are slots ever used, and slots that are free again."""

FIRST, LAST, PINCHED, EDGE, LEAST, FEATURE, BEFORE, AFTER = 0, 1, 2, 3, 4, 5, 6, 7
"""Columns of ``Front.parts``."""

COUNT, OPEN, FIRST_PART, LAST_PART, LABEL = 0, 1, 2, 3, 4
"""Columns of ``Front.features``."""


class Front(NamedTuple):
    """Pools of records, each with a stack of free slots."""

    used: NDArray[np.int64]
    """(6, 2)."""
    free_blocks: NDArray[np.int32]
    free_chunks: NDArray[np.int32]
    free_ends: NDArray[np.int32]
    free_rings: NDArray[np.int32]
    free_parts: NDArray[np.int32]
    free_features: NDArray[np.int32]
    block_next: NDArray[np.int32]
    """The next block of the chunk, or NONE."""
    bytes: NDArray[np.uint8]
    """(blocks * PAYLOAD,) packed steps."""
    chunk_vertex: NDArray[np.int64]
    """The first vertex."""
    chunks: NDArray[np.int32]
    """(chunks, 4) vertices, first block, next chunk or NONE; whether its first (1) and its last
    vertex (2) are there only because a band ends."""
    ends: NDArray[np.int32]
    """(ends, 3) the other end of the strand, its chunk there, its part."""
    rings: NDArray[np.int32]
    """(rings, 2) first chunk, next ring of the part or NONE."""
    parents: NDArray[np.int32]
    """Union-find over parts."""
    parts: NDArray[np.int32]
    """(parts, 8) first and last ring, whether pinched, whether at the edge of the raster, least
    score, feature, part before and after it in the feature."""
    sums: NDArray[np.float64]
    """(parts, 3) pixels, area, score."""
    features: NDArray[np.int32]
    """(features, 5) number of parts, open ends, first and last part, label."""


@callee
def take(used: Any, free: Any) -> int:
    """A free slot of a pool, of its row of ``used`` and its stack."""
    if used[1] > 0:
        used[1] -= 1
        return np.int64(free[used[1]])
    used[0] += 1
    return used[0] - 1


@callee
def give(used: Any, free: Any, slot: int) -> None:
    """Free a slot."""
    free[used[1]] = slot
    used[1] += 1
