"""Compiled: arcs, the stretches of border between two labels.

An arc runs from a junction, where three or more borders meet, or from a port, to the next of
either; or it is a loop. Each has a label to its left and one to its right, seen on a map with rows
growing downwards, and two *halves*: half ``2 * arc`` runs along it, ``2 * arc + 1`` back, each with
its face, the region that it bounds, at its left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import (
    ARC,
    COLUMN,
    DOWN,
    EDGES,
    LEFT,
    LINE,
    NONE,
    RIGHT,
    ROW,
    TURNS,
    UP,
)

LOOP = -2
"""Where an arc ends that is a loop."""


class Arcs(NamedTuple):
    """The arcs of a band."""

    vertices: NDArray[np.int64]
    """Of all arcs, those of one in a row, both ends included."""
    span: NDArray[np.int64]
    """(arcs, 2) where its vertices start and stop."""
    ends: NDArray[np.int32]
    """(arcs, 4) corner or port at the start and the direction out of it, and at the end and the
    direction into it; LOOP."""
    sides: NDArray[np.int32]
    """(arcs, 2) label to the left and to the right."""
    pixels: NDArray[np.int64]
    """(arcs,) sum of column * rows upwards: over all halves of a region, its number of pixels."""


@callee
def _labels_beside(labels: Any, row: int, vertex: int, direction: int, sides: Any) -> None:
    """The labels at the left and at the right of the edge that leaves a vertex."""
    i = (vertex >> ROW) - row
    c = vertex & 0xFFFFFFFF
    above, below = labels[i], labels[i + 1]
    if direction == RIGHT:
        sides[0], sides[1] = above[c + 1], below[c + 1]
    elif direction == LEFT:
        sides[0], sides[1] = below[c], above[c]
    elif direction == UP:
        sides[0], sides[1] = above[c], above[c + 1]
    else:
        sides[0], sides[1] = below[c + 1], below[c]


@callee
def _place(corners: Any, corner: int) -> int:
    return np.int64(corners[corner, LINE]) << ROW | np.int64(corners[corner, COLUMN])


@jit()
def trace_arcs(  # noqa: C901, PLR0912, PLR0913, PLR0915  compiled: calls cost compile time
    labels: Any,
    row: int,
    corners: Any,
    ports: Any,
    vertices: Any,
    span: Any,
    ends: Any,
    sides: Any,
    pixels: Any,
) -> int:
    """Follow every arc of a band once.

    Afterwards the links of a junction hold ``-2 - half``, the half that leaves in that direction,
    and so do ``ports``; where a border only turns, ARC is the arc that passes, and the direction in
    which it leaves is put above the bits of EDGES.

    Returns:
        How many arcs there are.
    """
    size, columns = len(corners), labels.shape[1] - 1
    bottom = row + labels.shape[0] - 1
    arc = top = 0
    # every arc with ends is found from one of them: corners from the top left, then ports
    for start in range(size + 2 * columns):
        if start < size:
            first, stop = 0, 4
            if corners[start, EDGES] & 15 in TURNS:
                continue
        else:
            # down from the upper end, up from the lower one
            first = DOWN if start - size < columns else UP
            stop = first + 1
        for direction in range(first, stop):
            if start < size:
                if corners[start, EDGES] & (1 << direction) == 0 or corners[start, direction] < 0:
                    continue
                here, at = corners[start, direction], _place(corners, start)
            else:
                port = start - size
                if ports[port] < 0:
                    continue
                here = ports[port]
                if port < columns:
                    at = np.int64(row) << ROW | port
                    sides[arc, 0], sides[arc, 1] = labels[0, port + 1], labels[0, port]
                else:
                    at = np.int64(bottom) << ROW | (port - columns)
                    sides[arc, 0] = labels[-1, port - columns]
                    sides[arc, 1] = labels[-1, port - columns + 1]
            if start < size:
                _labels_beside(labels, row, at, direction, sides[arc])
            span[arc, 0] = top
            vertices[top] = at
            top += 1
            came, total = direction, 0
            while True:
                if here >= size:
                    port = here - size
                    after = (
                        np.int64(row) << ROW | port
                        if port < columns
                        else np.int64(bottom) << ROW | (port - columns)
                    )
                else:
                    after = _place(corners, here)
                if came >= UP:
                    total += (at & 0xFFFFFFFF) * ((at >> ROW) - (after >> ROW))
                if after != at:
                    vertices[top] = after
                    top += 1
                at = after
                if here >= size:
                    ports[port] = -2 - (2 * arc + 1)
                    break
                mark = corners[here, EDGES]
                rest = mark ^ (1 << (came ^ 1))
                if rest & (rest - 1):
                    corners[here, came ^ 1] = -2 - (2 * arc + 1)
                    break
                out = (rest >> 1) - (rest >> 3)  # 1, 2, 4, 8 -> 0, 1, 2, 3
                corners[here, ARC], corners[here, EDGES] = arc, mark | out << 4
                here = corners[here, out]
                came = out
            span[arc, 1] = top
            ends[arc, 0], ends[arc, 1], ends[arc, 2], ends[arc, 3] = start, direction, here, came
            pixels[arc] = total
            if start < size:
                corners[start, direction] = -2 - 2 * arc
            else:
                ports[start - size] = -2 - 2 * arc
            arc += 1
    for start in range(size):
        if corners[start, ARC] != NONE or corners[start, EDGES] not in TURNS:
            continue
        # the first corner of a loop from the top left: to the right and down
        at = _place(corners, start)
        _labels_beside(labels, row, at, np.int64(RIGHT), sides[arc])
        span[arc, 0] = top
        vertices[top] = at
        top += 1
        here, came, total = corners[start, RIGHT], RIGHT, 0
        corners[start, ARC] = arc
        corners[start, EDGES] |= RIGHT << 4
        while True:
            after = _place(corners, here)
            if came >= UP:
                total += (at & 0xFFFFFFFF) * ((at >> ROW) - (after >> ROW))
            vertices[top] = after
            top += 1
            at = after
            if here == start:
                break
            mark = corners[here, EDGES]
            rest = mark ^ (1 << (came ^ 1))
            out = (rest >> 1) - (rest >> 3)
            corners[here, ARC], corners[here, EDGES] = arc, mark | out << 4
            here = corners[here, out]
            came = out
        span[arc, 1] = top
        ends[arc, 0], ends[arc, 1], ends[arc, 2], ends[arc, 3] = LOOP, RIGHT, LOOP, came
        pixels[arc] = total
        arc += 1
    return arc
