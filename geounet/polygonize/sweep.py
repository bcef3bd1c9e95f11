"""The compiled sweep: rows of labels in, closed rings out.

Each lattice corner is met once, with the four pixels around it. A maximal run of equal pixels
around a corner is a *sector*; the ring of its region comes in along one bounding edge and leaves
along the other, with the region on its left (so outer rings run counter-clockwise on a north-up
map). A sector of two pixels is a straight passage and makes no node: rings carry corners only.
Regions are 4-connected.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import jit
from geounet.polygonize.pack import pack_ring
from geounet.polygonize.pool import give, take
from geounet.polygonize.state import (
    DONE,
    DROPPED,
    END_POOL,
    NODE_POOL,
    NONE,
    REGION_POOL,
    room_for_row,
)


@jit
def _find(regions: Any, region: int) -> int:
    while regions[region].next != region:
        regions[region].next = regions[regions[region].next].next
        region = regions[region].next
    return region


@jit
def _new_region(pools: Any, regions: Any, label: int) -> int:
    slot = take(pools, REGION_POOL, regions)
    region = regions[slot]
    region.next, region.label, region.ends = slot, label, 0
    region.first, region.last = NONE, NONE
    region.pixels, region.area, region.score = 0, 0.0, 0.0
    return slot


@jit
def _unite(counts: Any, regions: Any, rings: Any, a: int, b: int) -> int:
    """One region of two roots; the other is freed after the row, when nothing refers to it."""
    if a == b:
        return a
    one, other = regions[a], regions[b]
    other.next = a
    one.ends += other.ends
    one.pixels += other.pixels
    one.area += other.area
    one.score += other.score
    if other.first != NONE:
        if one.first == NONE:
            one.first = other.first
        else:
            rings[one.last].next = other.first
        one.last = other.last
    regions[counts[DROPPED]].dropped = b
    counts[DROPPED] += 1
    return a


@jit
def _count(region: Any, areas: Any, scores: Any, start: int, stop: int) -> None:
    """Add a run of pixels to a region."""
    region.pixels += stop - start
    if len(areas) == 1:
        region.area += areas[0] * (stop - start)
    elif len(areas) > 1:
        area = 0.0
        for k in range(start, stop):
            area += areas[k]
        region.area += area
    if len(scores):
        score = 0
        for k in range(start, stop):
            score += scores[k]
        region.score += score


@jit
def _join_runs(s: Any, labels: Any, areas: Any, scores: Any, nodata: int) -> None:
    """The region of each pixel of a row, united with what it touches above; its pixels counted."""
    front, above_label, regions = s.front, s.label, s.regions
    width = len(labels)
    col = 0
    while col < width:
        label, start = labels[col], col
        root, seen = NONE, NONE
        while col < width and labels[col] == label:
            above = front[col].region
            if above != seen and above_label[col] == label and label != nodata:
                found = _find(regions, above)
                root = found if root == NONE else _unite(s.counts, regions, s.rings, root, found)
                seen = above
            col += 1
        if label != nodata:
            if root == NONE:
                root = _new_region(s.pools, regions, label)
            _count(regions[root], areas, scores, start, col)
        for k in range(start, col):
            front[k].region_new = root


@jit
def _start(pools: Any, ends: Any, region: Any, node: int) -> tuple[int, int]:
    """A new piece of ring of one node: the end that awaits what comes before it, and after it."""
    head = take(pools, END_POOL, ends)
    tail = take(pools, END_POOL, ends)
    ends[head].next, ends[tail].next = tail, head
    ends[head].node, ends[tail].node = node, node
    region.ends += 2
    return head, tail


@jit
def _connect(pools: Any, nodes: Any, ends: Any, tail: int, node: int, head: int) -> bool:
    """Tail of one piece, a node, head of another; True where they were one, now a closed ring."""
    nodes[ends[tail].node].next = node
    nodes[node].next = ends[head].node
    first, last = ends[tail].next, ends[head].next
    closed = first == head
    if not closed:
        ends[first].next, ends[last].next = last, first
    give(pools, END_POOL, ends, tail)
    give(pools, END_POOL, ends, head)
    return closed


@jit
def _new_node(pools: Any, nodes: Any, col: int, row: int) -> int:
    slot = take(pools, NODE_POOL, nodes)
    node = nodes[slot]
    node.col, node.row = col, row
    node.next, node.twin, node.place = NONE, NONE, NONE
    return slot


@jit
def _corner(  # noqa: C901, PLR0912  one case an edge; split up, it would run slower
    s: Any, around: Any, col: int, row: int, nodata: int
) -> None:
    """Lead every ring through one corner.

    ``around`` has a column for each of the four pixels clockwise from the upper left: its label,
    its region, the open end of its ring where that comes in to the corner, and where it leaves.
    The ends at the edges above and to the left are given, those to the right and below are filled
    in. The last row is scratch for the nodes that are made.
    """
    pools, nodes, ends = s.pools, s.nodes, s.ends
    for first in range(4):
        label = around[0, first]
        if label == around[0, first - 1] or label == nodata:
            continue
        last, size = first, 1
        while around[0, (last + 1) % 4] == label:
            last = (last + 1) % 4
            size += 1
        known_in, known_out = first < 2, last in (0, 3)
        tail, head = around[2, first], around[3, last]
        if size == 2:
            if known_in:
                around[3, last] = tail
            else:
                around[2, first] = head
            continue
        node = _new_node(pools, nodes, col, row)
        around[4, first] = node
        if first >= 2 and size == 1 and around[0, first - 2] == label:
            twin = around[4, first - 2]
            nodes[node].twin, nodes[twin].twin = twin, node
        if known_in and known_out:
            root = _find(s.regions, around[1, first])
            region = s.regions[root]
            region.ends -= 2
            if _connect(pools, nodes, ends, tail, node, head):
                pack_ring(pools, nodes, s.rings, s.blocks, s.packed, region, node)
                if region.ends == 0:
                    s.regions[s.counts[DONE]].done = root
                    s.counts[DONE] += 1
        elif known_in:
            nodes[ends[tail].node].next = node
            ends[tail].node = node
            around[3, last] = tail
        elif known_out:
            nodes[node].next = ends[head].node
            ends[head].node = node
            around[2, first] = head
        else:
            region = s.regions[_find(s.regions, around[1, first])]
            around[2, first], around[3, last] = _start(pools, ends, region, node)


@jit
def _trace_row(s: Any, labels: Any, row: int, nodata: int) -> None:
    """Lead the rings through the corners at the top of a row."""
    front, above_label = s.front, s.label
    width = len(labels)
    around = np.empty((5, 4), np.int64)
    above_end, below_end = NONE, NONE  # along the edge to the left of the corner
    a, d = nodata, nodata
    for col in range(width + 1):
        b, e = nodata, nodata
        if col < width:
            b, e = above_label[col], labels[col]
        if (a != b or d != e) and (a != d or b != e):
            at = front[col]
            left = front[max(col - 1, 0)]
            around[0, 0], around[0, 1], around[0, 2], around[0, 3] = a, b, e, d
            around[1, 0], around[1, 1] = left.region, at.region
            around[1, 2], around[1, 3] = at.region_new, left.region_new
            around[2, 0], around[2, 1], around[2, 2], around[2, 3] = (
                above_end,
                at.right_end,
                NONE,
                NONE,
            )
            around[3, 0], around[3, 1], around[3, 2], around[3, 3] = (
                at.left_end,
                NONE,
                NONE,
                below_end,
            )
            _corner(s, around, col, row, nodata)
            above_end, below_end = around[3, 1], around[2, 2]
            at.left_end, at.right_end = around[2, 3], around[3, 2]
        a, d = b, e


@jit
def _settle(s: Any, labels: Any) -> None:
    """The row becomes the front; regions that were united into others are freed."""
    front, above_label, regions = s.front, s.label, s.regions
    seen, root = NONE, NONE
    for col in range(len(labels)):
        above_label[col] = labels[col]
        region = front[col].region_new
        if region != seen:
            seen = region
            root = region if region == NONE else _find(regions, region)
        front[col].region = root
    for i in range(s.counts[DROPPED]):
        give(s.pools, REGION_POOL, regions, regions[i].dropped)
    s.counts[DROPPED] = 0


@jit
def sweep(s: Any, labels: Any, areas: Any, scores: Any, row: int, nodata: int, start: int) -> int:
    """Take rows ``start..`` of ``labels`` (rows, width), the first of which is scene row ``row``.

    ``areas`` is (rows, 1), (rows, width) or (rows, 0), ``scores`` (rows, width) or (rows, 0).
    Returns the row of ``labels`` it stopped before because a pool was full, else their number.
    """
    rows, width = labels.shape
    sizes = (len(s.nodes), len(s.ends), len(s.regions), len(s.rings), len(s.blocks))
    for i in range(start, rows):
        room = room_for_row(s.pools, width)
        for pool in range(5):
            if room[pool] > sizes[pool]:
                return i
        _join_runs(s, labels[i], areas[i], scores[i], nodata)
        _trace_row(s, labels[i], row + i, nodata)
        _settle(s, labels[i])
    return rows
