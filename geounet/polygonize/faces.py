"""Compiled: from arcs to the boundaries of regions.

A *path* is a chain of halves that bounds one region at its left: a closed ring, or a strand from
port to port of which other bands have the rest. At a junction a path turns to its left where it
can, around its own pixels, so that regions that touch only at a corner are apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.arcs import LOOP
from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import ARC, DOWN, EDGES, LEFT, NONE, OUTSIDE, RIGHT, UP

RING = -1
"""Port of a path that has none."""


@callee
def find(parents: Any, item: int) -> int:
    """Root of an item, with path halving."""
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = parents[item]
    return item


@callee
def _next_half(corners: Any, ends: Any, half: int) -> tuple[int, int, bool]:
    """The half after this one, or NONE and the port where it ends; whether it turned at a pinch."""
    arc = half >> 1
    if half & 1:
        corner, came = ends[arc, 0], ends[arc, 1] ^ 1
    else:
        corner, came = ends[arc, 2], ends[arc, 3]
    if corner == LOOP:
        return half, NONE, False
    if corner >= len(corners):
        return NONE, corner - len(corners), False
    # right, up, left, down: each is a quarter turn to the left of the one before it
    left = (came ^ 3) if came < 2 else (came ^ 2)
    mark = corners[corner, EDGES]
    if mark & (1 << left):
        out = left
    elif mark & (1 << came):
        out = came
    else:
        out = left ^ 1
    return -2 - corners[corner, out], NONE, mark == 15


@jit()
def trace_paths(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    corners: Any,
    ports: Any,
    ends: Any,
    sides: Any,
    path_of: Any,
    halves: Any,
    span: Any,
    path_ports: Any,
    pinched: Any,
) -> int:
    """Chain the halves of a band, those of OUTSIDE left out: strands by their first port, rings.

    Args:
        corners: As :func:`~geounet.polygonize.arcs.trace_arcs` left them.
        ports: As it left them.
        ends: Of the arcs.
        sides: Of the arcs.
        path_of: (halves,) int32, NONE; filled with the path of each.
        halves: (halves,) int32, filled with them in the order of the paths.
        span: (halves, 2) int64, filled with where a path starts and stops in it.
        path_ports: (halves, 2) int32, filled with the port where it enters and where it leaves, or
            RING.
        pinched: (halves,) uint8, zero; filled with whether it may touch itself at a corner.

    Returns:
        How many paths there are.
    """
    top = paths = 0
    for start in range(len(ports) + 2 * len(ends)):
        if start < len(ports):
            if ports[start] == NONE:
                continue
            first, entry = -2 - ports[start], start
        else:
            first, entry = start - len(ports), RING
        if path_of[first] != NONE or sides[first >> 1, first & 1] == OUTSIDE:
            continue
        span[paths, 0] = top
        half, leave = first, RING
        while True:
            path_of[half] = paths
            halves[top] = half
            top += 1
            half, leave, pinch = _next_half(corners, ends, half)
            if pinch:
                pinched[paths] = 1
            if half in (NONE, first):
                break
        span[paths, 1] = top
        path_ports[paths, 0], path_ports[paths, 1] = entry, leave
        paths += 1
    return paths


@callee
def half_leaving(corners: Any, ports: Any, at: int, way: int) -> int:
    """The half that leaves a corner in a direction; or a port, from which there is but one."""
    if at >= len(corners):
        return -2 - ports[at - len(corners)]
    if corners[at, way] < NONE:
        return -2 - corners[at, way]
    return 2 * np.int64(corners[at, ARC]) + (corners[at, EDGES] >> 4 != way)


@callee
def unite(parents: Any, a: int, b: int) -> None:
    """Unite two sets; the first item of a set is its root."""
    one, other = find(parents, np.int64(a)), find(parents, np.int64(b))
    if one < other:
        parents[other] = one
    else:
        parents[one] = other


@jit()
def join_notches(corners: Any, ports: Any, notches: Any, path_of: Any, parents: Any) -> None:
    """Unite the paths that bound the same region, of which each notch knows two."""
    for k in range(len(notches)):
        one = path_of[half_leaving(corners, ports, notches[k, 0], np.int64(RIGHT))]
        other = path_of[half_leaving(corners, ports, notches[k, 1], np.int64(DOWN))]
        unite(parents, one, other)


@jit()
def join_pinches(corners: Any, sides: Any, path_of: Any, region_of: Any, parents: Any) -> None:
    """Unite the regions of one label that touch at a corner.

    The half that leaves such a corner upwards has the pixel to the upper left of it at its left,
    the one that leaves it downwards that to the lower right; the other two alike.
    """
    for corner in range(len(corners)):
        if corners[corner, EDGES] != 15:
            continue
        for way in (LEFT, UP):
            half, across = -2 - corners[corner, way], -2 - corners[corner, way ^ 1]
            label = sides[half >> 1, half & 1]
            if label != OUTSIDE and label == sides[across >> 1, across & 1]:
                unite(parents, region_of[path_of[half]], region_of[path_of[across]])
