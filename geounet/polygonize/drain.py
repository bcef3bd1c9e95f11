"""Compiled: takes finished regions out of the front, as flat arrays of rings.

A ring that the sweep closed may pass a corner twice, where two of its pixels touch only diagonally.
The Simple Features rules want such a ring split there, into an outer ring and holes that touch it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import jit
from geounet.polygonize.state import DONE, NODE_POOL, NONE, REGION_POOL, RING_POOL
from geounet.polygonize.sweep import give


@jit
def _measure(s: Any) -> tuple[int, int]:
    """Most corners and rings that the finished regions can come to, closing corners included."""
    nodes = s.nodes
    corners = rings = 0
    for i in range(s.counts[DONE]):
        ring = s.regions[s.regions[i].done].first
        while ring != NONE:
            first = s.rings[ring].node
            node, twins, size = first, 0, 0
            while size == 0 or node != first:
                size += 1
                twins += nodes[node].twin != NONE
                node = nodes[node].next
            rings += 1 + twins // 2
            corners += size + 1 + twins // 2
            ring = s.rings[ring].next
    return corners, rings


@jit
def _put_ring(nodes: Any, coords: Any, top: int, stack: Any, start: int, stop: int) -> int:
    """Write the closed ring of the nodes ``stack[start:stop]``; returns where the next one goes."""
    for k in range(start, stop):
        node = nodes[stack[k]]
        coords[top + k - start, 0], coords[top + k - start, 1] = node.col, node.row
    end = top + stop - start
    coords[end, 0], coords[end, 1] = coords[top, 0], coords[top, 1]
    return end + 1


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
def _write_ring(pools: Any, nodes: Any, coords: Any, ring_stop: Any, rings: int, first: int) -> int:
    """Write a ring, split where it touches itself; free its nodes; returns the new ``rings``."""
    top = ring_stop[rings - 1] if rings else 0
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
            top = _put_ring(nodes, coords, top, stack, at, height)
            ring_stop[rings] = top
            rings += 1
            for k in range(at, height):
                nodes[stack[k]].place = NONE
            height = at
        stack[height] = node
        nodes[node].place = height
        height += 1
        node = nodes[node].next
    ring_stop[rings] = _put_ring(nodes, coords, top, stack, 0, height)
    for _ in range(size):
        after = nodes[node].next
        nodes[node].place = NONE
        give(pools, NODE_POOL, nodes, node)
        node = after
    return rings + 1


@jit
def _is_outer(coords: Any, start: int, stop: int) -> bool:
    """Whether a closed ring runs counter-clockwise, seen with rows growing downwards."""
    doubled = 0.0
    for k in range(start, stop - 1):
        doubled += coords[k, 0] * coords[k + 1, 1] - coords[k + 1, 0] * coords[k, 1]
    return doubled < 0


@jit
def _outer_first(coords: Any, ring_stop: Any, first_ring: int, rings: int, start: int) -> None:
    """Move the outer ring of a region before its holes."""
    begin, ring = start, first_ring
    while ring < rings and not _is_outer(coords, begin, ring_stop[ring]):
        begin = ring_stop[ring]
        ring += 1
    if ring == first_ring:
        return
    size = ring_stop[ring] - begin
    outer = np.empty((size, 2), np.float64)
    for k in range(size):
        outer[k, 0], outer[k, 1] = coords[begin + k, 0], coords[begin + k, 1]
    for k in range(begin - 1, start - 1, -1):
        coords[k + size, 0], coords[k + size, 1] = coords[k, 0], coords[k, 1]
    for k in range(size):
        coords[start + k, 0], coords[start + k, 1] = outer[k, 0], outer[k, 1]
    for k in range(ring, first_ring, -1):
        ring_stop[k] = ring_stop[k - 1] + size
    ring_stop[first_ring] = start + size


@jit
def drain(s: Any) -> Any:
    """Empty the list of finished regions.

    Returns:
        coords (corners, 2) float64 of (column, row), rings closed, outer ring first;
        ring_stop (rings,) end of each ring in coords; region_stop (regions,) end of each region in
        ring_stop; label (regions,) uint8; pixels int64, area and score float64 (sums) of each.
    """
    most_corners, most_rings = _measure(s)
    regions = s.counts[DONE]
    coords = np.empty((most_corners, 2), np.float64)
    ring_stop = np.empty(most_rings, np.int64)
    region_stop = np.empty(regions, np.int64)
    label = np.empty(regions, np.uint8)
    pixels = np.empty(regions, np.int64)
    area, score = np.empty(regions, np.float64), np.empty(regions, np.float64)
    rings = 0
    for i in range(regions):
        slot = s.regions[i].done
        region = s.regions[slot]
        label[i], pixels[i] = region.label, region.pixels
        area[i], score[i] = region.area, region.score
        first_ring, start = rings, ring_stop[rings - 1] if rings else 0
        ring = region.first
        while ring != NONE:
            after = s.rings[ring].next
            rings = _write_ring(s.pools, s.nodes, coords, ring_stop, rings, s.rings[ring].node)
            give(s.pools, RING_POOL, s.rings, ring)
            ring = after
        _outer_first(coords, ring_stop, first_ring, rings, start)
        region_stop[i] = rings
        give(s.pools, REGION_POOL, s.regions, slot)
    s.counts[DONE] = 0
    top = ring_stop[rings - 1] if rings else 0
    return coords[:top], ring_stop[:rings], region_stop, label, pixels, area, score
