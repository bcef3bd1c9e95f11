"""The front of a streaming polygoniser: arrays of records that compiled code works on.

Five pools, each an array of records with a free list, so that memory follows the open front, not
the scene. A ring that is closed waits for its polygon to be finished in about a byte a corner: a
polygon that reaches from the top of a scene to its bottom may have a hole for every lake in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.compiled import jit

NONE = -1
"""No node, end, region or ring."""

NODE_POOL, END_POOL, REGION_POOL, RING_POOL, BLOCK_POOL = 0, 1, 2, 3, 4
"""Rows of ``State.pools``."""

FREE, TOP, LIVE = 0, 1, 2
"""Columns of ``State.pools``: head of the free list, first slot never used, slots in use."""

DONE, DROPPED = 0, 1
"""Entries of ``State.counts``: how many of each the lists in ``State.regions`` hold."""

FRONT = np.dtype(
    [
        ("region", "i4"),  # of the last row's pixel, or NONE
        ("region_new", "i4"),  # of the pixel of the row in hand
        ("left_end", "i4"),  # vertical edge at the pixel's left: end of the ring to its left
        ("right_end", "i4"),  # and to its right
    ]
)
"""One record a column, and one more for the edge at the right."""

NODE = np.dtype(
    [
        ("next", "i4"),  # next corner in ring order; next free slot where the node is free
        ("col", "i4"),
        ("row", "i4"),
        ("twin", "i4"),  # made at the same corner, where two pixels touch only diagonally
        ("place", "i4"),  # scratch of pack: where it stands in the ring in hand, or NONE
    ]
)
"""A corner of a ring that is still open; coordinates are pixel corners."""

END = np.dtype(
    [
        ("next", "i4"),  # the other end of the same piece; next free slot
        ("node", "i4"),
    ]
)
"""An open end of a piece of ring that the sweep has not closed yet."""

REGION = np.dtype(
    [
        ("next", "i4"),  # parent in the union-find; next free slot
        ("label", "i4"),
        ("ends", "i4"),  # open ends; none left means finished
        ("first", "i4"),  # first ring
        ("last", "i4"),  # last ring
        ("done", "i4"),  # the list of finished regions, by position
        ("dropped", "i4"),  # the list of regions to free after the row, by position
        ("pixels", "i8"),
        ("area", "f8"),
        ("score", "f8"),  # sum of the pixels' confidence
    ]
)
"""A connected set of pixels of one label."""

RING = np.dtype(
    [
        ("next", "i4"),  # next ring of the region; next free slot
        ("block", "i4"),  # the first that holds its steps
        ("size", "i4"),  # corners
        ("col", "i4"),  # where it starts
        ("row", "i4"),
        ("across", "i4"),  # 1: the first step is along a row; steps alternate
    ]
)
"""A closed ring: its steps from corner to corner are packed into blocks."""

BLOCK = np.dtype([("next", "i4")])
"""A block of packed steps; the bytes are in ``State.packed``."""

PAYLOAD = 28
"""Bytes of a block: with its link 32."""

STEP_BYTES = 5
"""Most bytes of a packed step."""


class State(NamedTuple):
    """Everything a sweep remembers between rows."""

    pools: NDArray[np.int64]
    """(5, 3)."""
    counts: NDArray[np.int64]
    """(2,)."""
    label: NDArray[np.uint8]
    """(width,) labels of the last row."""
    front: NDArray[Any]
    """(width + 1,) of ``FRONT``."""
    nodes: NDArray[Any]
    """of ``NODE``."""
    ends: NDArray[Any]
    """of ``END``."""
    regions: NDArray[Any]
    """of ``REGION``."""
    rings: NDArray[Any]
    """of ``RING``."""
    blocks: NDArray[Any]
    """of ``BLOCK``."""
    packed: NDArray[np.uint8]
    """(blocks, PAYLOAD) steps, zigzag and 7 bits a byte, the last byte of a step below 128."""


@jit
def room_for_row(pools: Any, width: int) -> Any:
    """Slots that each pool must have before a row, used ones included."""
    corners = width + 1
    nodes = pools[NODE_POOL, LIVE] + 4 * corners
    rings = nodes // 4 + 1  # that can close in the row: a ring has four corners at least
    room = np.empty(5, np.int64)
    room[NODE_POOL] = nodes
    room[END_POOL] = pools[END_POOL, LIVE] + 4 * corners
    room[REGION_POOL] = pools[REGION_POOL, LIVE] + corners
    room[RING_POOL] = pools[RING_POOL, LIVE] + rings
    room[BLOCK_POOL] = pools[BLOCK_POOL, LIVE] + STEP_BYTES * nodes // PAYLOAD + rings
    return room


def new_state(width: int, nodata: int) -> State:
    """An empty front above the first row of a raster of ``width`` columns."""
    front = np.empty(width + 1, FRONT)
    for name in FRONT.names or ():
        front[name] = NONE
    pools = np.array([[NONE, 0, 0]] * 5, np.int64)
    room = room_for_row(pools, width)
    return State(
        pools=pools,
        counts=np.zeros(2, np.int64),
        label=np.full(width, nodata, np.uint8),
        front=front,
        nodes=np.zeros(room[NODE_POOL], NODE),
        ends=np.zeros(room[END_POOL], END),
        regions=np.zeros(room[REGION_POOL], REGION),
        rings=np.zeros(room[RING_POOL], RING),
        blocks=np.zeros(room[BLOCK_POOL], BLOCK),
        packed=np.zeros((room[BLOCK_POOL], PAYLOAD), np.uint8),
    )


def with_room(state: State, width: int) -> State:
    """The state with room in each pool for at least one more row, half as large again if grown.

    The room is for the worst row that can come and is hardly ever filled; only slots that were ever
    used are copied, so that the system need not find memory for the others.
    """
    grown = {}
    room = room_for_row(state.pools, width)
    for pool, names in enumerate((("nodes",), ("ends",), ("regions",), ("rings",), _BLOCKS)):
        used = int(state.pools[pool, TOP])
        for name in names:
            records = getattr(state, name)
            if room[pool] > len(records):
                size = max(len(records) * 3 // 2, int(room[pool]))
                grown[name] = np.zeros((size, *records.shape[1:]), records.dtype)
                grown[name][:used] = records[:used]
    return state._replace(**grown)


_BLOCKS = ("blocks", "packed")
