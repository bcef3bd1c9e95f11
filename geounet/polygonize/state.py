"""The front of a streaming polygoniser: arrays of records that compiled code works on.

Four pools, each an array of records with a free list, so that memory follows the open front and the
polygons that are not yet closed, not the scene.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NONE = -1
"""No node, end, region or ring."""

NODE_POOL, END_POOL, REGION_POOL, RING_POOL = 0, 1, 2, 3
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
        ("place", "i4"),  # scratch of drain: where it stands in the ring in hand, or NONE
    ]
)
"""A corner of a ring; coordinates are pixel corners."""

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
        ("node", "i4"),
    ]
)
"""A closed ring."""

ROW_NEED = (4, 4, 1, 2)
"""Most new slots of each pool that one column of a row can take."""


class State(NamedTuple):
    """Everything a sweep remembers between rows."""

    pools: NDArray[np.int64]
    """(4, 3)."""
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


def new_state(width: int, nodata: int) -> State:
    """An empty front above the first row of a raster of ``width`` columns."""
    front = np.empty(width + 1, FRONT)
    for name in FRONT.names or ():
        front[name] = NONE
    sizes = [need * (width + 1) for need in ROW_NEED]
    return State(
        pools=np.array([[NONE, 0, 0]] * 4, np.int64),
        counts=np.zeros(2, np.int64),
        label=np.full(width, nodata, np.uint8),
        front=front,
        nodes=np.zeros(sizes[NODE_POOL], NODE),
        ends=np.zeros(sizes[END_POOL], END),
        regions=np.zeros(sizes[REGION_POOL], REGION),
        rings=np.zeros(sizes[RING_POOL], RING),
    )


def with_room(state: State, width: int) -> State:
    """The state with room in each pool for at least one more row, twice as large where it grew."""
    grown = {}
    for pool, name in enumerate(("nodes", "ends", "regions", "rings")):
        records = getattr(state, name)
        need = int(state.pools[pool, LIVE]) + ROW_NEED[pool] * (width + 1)
        if need > len(records):
            extra = max(len(records), need - len(records))
            grown[name] = np.concatenate([records, np.zeros(extra, records.dtype)])
    return state._replace(**grown)
