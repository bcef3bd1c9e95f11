"""The spatial index of a GeoPackage, packed while the polygons pass.

SQLite's R*Tree module keeps its nodes in ordinary tables
(https://www.sqlite.org/rtree.html#shadow_tables).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.layers.boxes import outward, shelves
from geounet.polygonize.layers.tables import Table

RUN = 1 << 16
"""Polygons that are sorted at once; they come in the order of the rows of a raster, so that a run
is a band of it."""

NODE_BYTES = 1228
"""A node of SQLite's for pages of 4096 bytes."""

_CELLS = 51
_ROOT = 1
_NODE_HEAD = bytes([4, 0, 0x93, 0x24])  # record: number of the row, a blob of 1228 bytes
_PAIR_HEAD = bytes([3, 0, 4])  # record: number of the row, an integer of 4 bytes


class RTree:
    """Fills the three tables of an index.

    Args:
        nodes: Of the nodes.
        rows: Says in which node each polygon is.
        parents: Says which node is above each.
    """

    def __init__(self, nodes: Table, rows: Table, parents: Table) -> None:
        self._nodes, self._rows, self._parents = nodes, rows, parents
        self._waiting: list[NDArray[np.float32]] = []
        self._count = self._written = 0
        self._next = _ROOT + 1
        self._above: list[NDArray[np.float32]] = []
        # the root is the first row, and known last
        self._nodes.add_equal(_records(np.zeros((1, NODE_BYTES), np.uint8)), _ROOT)

    def add(self, boxes: NDArray[np.float64]) -> None:
        """Take the (n, 4) boxes of the next polygons."""
        rest = outward(boxes)
        while len(rest):
            room = RUN - (self._count - self._written)
            self._waiting.append(rest[:room])
            self._count += len(rest[:room])
            rest = rest[room:]
            if self._count - self._written == RUN:
                self._flush()

    def finish(self) -> None:
        """Write what is left."""
        self._flush()
        boxes = np.concatenate([np.empty((0, 4), np.float32), *self._above])
        first, depth = _ROOT + 1, 1
        while len(boxes) > _CELLS:
            numbers = np.arange(first, first + len(boxes))
            first = self._next
            above, boxes = self._pack(numbers, boxes)
            self._parents.add_equal(_pairs(above), int(numbers[0]))
            depth += 1
        self._parents.add_equal(_pairs(np.full(len(boxes), _ROOT)), first)
        if len(boxes):
            numbers, node = np.arange(first, first + len(boxes)), np.zeros(len(boxes), np.int64)
            self._nodes.amend_first(_blobs(numbers, boxes, node, np.zeros(1, np.int64), depth)[0])
        for table in (self._nodes, self._rows, self._parents):
            table.finish()

    def _flush(self) -> None:
        if not self._waiting:
            return
        boxes = np.concatenate(self._waiting)
        self._waiting.clear()
        first = self._written + 1
        node, above = self._pack(np.arange(first, first + len(boxes)), boxes)
        self._rows.add_equal(_pairs(node), first)
        self._above.append(above)
        self._written = self._count

    def _pack(
        self, numbers: NDArray[np.int64], boxes: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Write nodes over boxes; gives the node of each, and the boxes of the nodes."""
        count = -(-len(boxes) // _CELLS)
        order = shelves(boxes, _CELLS)
        place = np.arange(len(boxes)) * count // len(boxes)  # all nodes equally full
        starts = np.searchsorted(place, np.arange(count))
        numbers, boxes = numbers[order], boxes[order]
        blobs = _blobs(numbers, boxes, place, starts, 0)
        self._nodes.add_equal(_records(blobs), self._next)
        node = np.empty(len(boxes), np.int64)
        node[order] = self._next + place
        self._next += count
        low = np.minimum.reduceat(boxes[:, :2], starts)
        high = np.maximum.reduceat(boxes[:, 2:], starts)
        return node, np.concatenate([low, high], axis=1)


def _blobs(
    numbers: NDArray[np.int64],
    boxes: NDArray[np.float32],
    place: NDArray[np.int64],
    starts: NDArray[np.int64],
    depth: int,
) -> NDArray[np.uint8]:
    """(nodes, NODE_BYTES) nodes; ``place`` is that of each box, ``starts`` the first of each."""
    cells = np.zeros((len(starts), _CELLS), [("number", ">i8"), ("box", ">f4", 4)])
    slot = np.arange(len(place)) - starts[place]
    cells["number"][place, slot] = numbers
    cells["box"][place, slot] = boxes[:, [0, 2, 1, 3]]
    head = np.empty((len(starts), 2), ">u2")
    head[:, 0], head[:, 1] = depth, np.bincount(place, minlength=len(starts))
    flat = cells.view(np.uint8).reshape(len(starts), -1)
    return np.concatenate([head.view(np.uint8), flat], axis=1)


def _records(blobs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, bytes) records of nodes."""
    head = np.broadcast_to(np.frombuffer(_NODE_HEAD, np.uint8), (len(blobs), len(_NODE_HEAD)))
    return np.concatenate([head, blobs], axis=1)


def _pairs(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n, bytes) records that hold one number each."""
    head = np.broadcast_to(np.frombuffer(_PAIR_HEAD, np.uint8), (len(values), len(_PAIR_HEAD)))
    return np.concatenate([head, values.astype(">i4")[:, None].view(np.uint8)], axis=1)
