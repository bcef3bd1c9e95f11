"""Compiled: closed rings, split where they touch themselves, packed into blocks of bytes, and back.

A ring that the sweep closes may pass a corner twice, where two of its pixels touch only diagonally.
The Simple Features rules want such a ring split there, into an outer ring and holes that touch it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import jit
from geounet.polygonize.pool import give, take
from geounet.polygonize.state import BLOCK_POOL, NODE_POOL, NONE, PAYLOAD, RING_POOL


@jit
def pack_ring(
    pools: Any, nodes: Any, rings: Any, blocks: Any, packed: Any, region: Any, first: int
) -> None:
    """Hang a closed ring, or the rings it splits into, on its region; its nodes are freed."""
    size, node = 0, first
    while size == 0 or node != first:
        size += 1
        node = nodes[node].next
    stack = np.empty(size, np.int64)
    height = 0
    for _ in range(size):
        twin = _twin_before(nodes, node)
        if twin != NONE:
            # what lies between is a loop of its own, which starts and ends here
            at = nodes[twin].place
            _hang(rings, region, _pack(pools, nodes, rings, blocks, packed, stack[at:height]))
            for k in range(at, height):
                nodes[stack[k]].place = NONE
            height = at
        stack[height] = node
        nodes[node].place = height
        height += 1
        node = nodes[node].next
    _hang(rings, region, _pack(pools, nodes, rings, blocks, packed, stack[:height]))
    for _ in range(size):
        after = nodes[node].next
        nodes[node].place = NONE
        give(pools, NODE_POOL, nodes, node)
        node = after


@jit
def unpack_ring(rings: Any, blocks: Any, packed: Any, slot: int, coords: Any, top: int) -> int:
    """Write the corners of a ring, the first one again at the end; returns where the next goes."""
    ring = rings[slot]
    col, row, across = int(ring.col), int(ring.row), int(ring.across)
    coords[top, 0], coords[top, 1] = col, row
    block, at = ring.block, 0
    for k in range(1, ring.size):
        value, shift = 0, 0
        while True:
            if at == PAYLOAD:
                block, at = blocks[block].next, 0
            byte = int(packed[block, at])
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        step = -(value >> 1) - 1 if value & 1 else value >> 1
        if across:
            col += step
        else:
            row += step
        across = 1 - across
        coords[top + k, 0], coords[top + k, 1] = col, row
    end = top + ring.size
    coords[end, 0], coords[end, 1] = coords[top, 0], coords[top, 1]
    return end + 1


@jit
def free_ring(pools: Any, rings: Any, blocks: Any, slot: int) -> None:
    """Give a ring and its blocks back."""
    block = rings[slot].block
    while block != NONE:
        after = blocks[block].next
        give(pools, BLOCK_POOL, blocks, block)
        block = after
    give(pools, RING_POOL, rings, slot)


@jit
def _twin_before(nodes: Any, slot: int) -> int:
    """The node of the ring in hand that lies at the same corner and was met before, or NONE."""
    node = nodes[slot]
    if node.twin == NONE or nodes[node.twin].place == NONE:
        return NONE
    # a twin that was freed may be another corner by now
    twin = nodes[node.twin]
    return node.twin if twin.col == node.col and twin.row == node.row else NONE


@jit
def _pack(pools: Any, nodes: Any, rings: Any, blocks: Any, packed: Any, stack: Any) -> int:
    """A new ring of these nodes."""
    slot = take(pools, RING_POOL, rings)
    block = take(pools, BLOCK_POOL, blocks)
    ring, start = rings[slot], nodes[stack[0]]
    ring.next, ring.block, ring.size = NONE, block, len(stack)
    ring.col, ring.row = start.col, start.row
    ring.across = 1 if nodes[stack[1]].row == start.row else 0
    at = 0
    for k in range(1, len(stack)):
        before, after = nodes[stack[k - 1]], nodes[stack[k]]
        step = np.int64(after.col - before.col + after.row - before.row)  # one of them is 0
        value = 2 * step if step >= 0 else -2 * step - 1
        while True:
            if at == PAYLOAD:
                following = take(pools, BLOCK_POOL, blocks)
                blocks[block].next = following
                block, at = following, 0
            packed[block, at] = value & 127 if value < 128 else value & 127 | 128
            at += 1
            value >>= 7
            if value == 0:
                break
    blocks[block].next = NONE
    return slot


@jit
def _hang(rings: Any, region: Any, ring: int) -> None:
    """Append a ring to those of its region."""
    if region.first == NONE:
        region.first = ring
    else:
        rings[region.last].next = ring
    region.last = ring
