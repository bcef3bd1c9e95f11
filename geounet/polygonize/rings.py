"""Compiled: rings as the Simple Features rules want them, from the boundary of a region.

The boundary may repeat a vertex where two arcs meet, run straight through one where a neighbour's
border ends, and pass a corner twice where two pixels touch only there. A ring does none of these;
one that passes a corner twice is split there, into an outer ring and holes that touch it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import callee
from geounet.polygonize.corners import ROW

LOW = 0xFFFFFFFF
"""Bits of the column in a vertex."""


@callee
def _straight(a: int, b: int, c: int) -> bool:
    """Whether b lies on the way from a straight to c."""
    across, down = (b & LOW) - (a & LOW), (b >> ROW) - (a >> ROW)
    on, under = (c & LOW) - (b & LOW), (c >> ROW) - (b >> ROW)
    return across * under == down * on


@callee
def _clean(raw: Any, size: int, exact: bool) -> int:
    """Drop repeated vertices and those on a straight line; how many are left.

    A vertex v that is written as ``~v`` is one only because a band ends there. Where ``exact`` is
    false only those are dropped: a neighbour's border may end at any other.
    """
    top = 0
    for k in range(size + 1):
        vertex = raw[k] if k < size else raw[0]
        plain = vertex if vertex >= 0 else ~vertex
        if top > 0 and (raw[top - 1] == plain or ~raw[top - 1] == plain):
            top -= 1
            vertex = min(vertex, raw[top])
        while top > 1 and (exact or raw[top - 1] < 0):
            a, b = raw[top - 2], raw[top - 1]
            if not _straight(a if a >= 0 else ~a, b if b >= 0 else ~b, plain):
                break
            top -= 1
        raw[top] = vertex
        top += 1
    # the last one is the first again, by which the one before it could be judged
    top -= 1
    first = 0
    while top - first > 2 and (exact or raw[first] < 0):
        a, b, c = raw[top - 1], raw[first], raw[first + 1]
        if not _straight(a if a >= 0 else ~a, b if b >= 0 else ~b, c if c >= 0 else ~c):
            break
        first += 1
    for k in range(first, top):
        raw[k - first] = raw[k] if raw[k] >= 0 else ~raw[k]
    return top - first


@callee
def _put(raw: Any, start: int, stop: int, out: Any, top: int) -> tuple[int, int]:
    """Append a ring, from its uppermost left vertex on, and closed; the new top, and its pixels."""
    first = start
    for k in range(start + 1, stop):
        if raw[k] < raw[first]:
            first = k
    pixels, before, k = 0, raw[first], first
    for _ in range(stop - start):
        vertex = raw[k]
        pixels += ((before & LOW) + (vertex & LOW)) * ((before >> ROW) - (vertex >> ROW))
        out[top] = vertex
        top += 1
        before = vertex
        k = k + 1 if k + 1 < stop else start
    out[top] = raw[first]
    pixels += ((before & LOW) + (raw[first] & LOW)) * ((before >> ROW) - (raw[first] >> ROW))
    return top + 1, pixels


@callee
def _place(table: Any, vertex: int) -> int:
    """Where a vertex is in a hash table of (vertex, place) pairs, or could be put."""
    mask = len(table) - 1
    slot = ((vertex ^ (vertex >> ROW) * 40503) & 0x7FFFFFFF) * 2654435761 >> 7 & mask
    while table[slot, 0] != -1 and table[slot, 0] != vertex:
        slot = (slot + 1) & mask
    return slot


@callee
def add_rings(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    raw: Any, size: int, pinched: bool, exact: bool, out: Any, stops: Any, outer: Any, top: int,
    rings: int,
) -> tuple[int, int]:  # fmt: skip
    """Append the ring, or the rings it splits into.

    Args:
        raw: Its vertices; overwritten.
        size: How many.
        pinched: Whether it may pass a corner twice.
        exact: Whether vertices on a straight line are dropped.
        out: Vertices of all rings, each closed.
        stops: Where each ring stops in them.
        outer: Of each, 1 where it is an outer ring, not a hole.
        top: Vertices so far.
        rings: Rings so far.

    Returns:
        The same two after it.
    """
    size = _clean(raw, size, exact)
    height = np.int64(0)
    if pinched:
        capacity = 16
        while capacity < 2 * size:
            capacity *= 2
        table = np.full((capacity, 2), -1, np.int64)
        for k in range(size):
            vertex = raw[k]
            slot = _place(table, vertex)
            start = table[slot, 1]
            if table[slot, 0] == vertex and 0 <= start < height and raw[start] == vertex:
                top, pixels = _put(raw, start, height, out, top)
                stops[rings], outer[rings] = top, pixels > 0
                rings += 1
                height = start
            table[slot, 0], table[slot, 1] = vertex, height
            raw[height] = vertex
            height += 1
        size = height
    top, pixels = _put(raw, np.int64(0), size, out, top)
    stops[rings], outer[rings] = top, pixels > 0
    return top, rings + 1
