"""Compiled: the corners of the borders between labels, linked to each other.

A border runs along the edges of pixels. A *corner* is a grid vertex where it turns, or where three
or four borders meet; straight stretches between corners are not stored. Corners are found from the
2 x 2 pixels around each vertex::

    a | b        edges of the vertex: LEFT between a and d, RIGHT between b and e,
    --+--                             UP between a and b, DOWN between d and e
    d | e

Labels come as (rows + 1, columns + 2) int32: the row above the band first, a column of
:data:`OUTSIDE` at either side. A vertex has the column of the pixel to its lower right, without
that margin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.compiled import jit

OUTSIDE = -(1 << 31)
"""Label of what gets no polygon: nodata, and all that is not in the raster."""

LEFT, RIGHT, UP, DOWN = 0, 1, 2, 3
"""Directions; ``d ^ 1`` is the opposite one, ``1 << d`` its bit in a set of edges."""

ROW = 32
"""A vertex is ``row << ROW | column``: ordered from the top left."""

NONE = -1
"""No corner."""

LINE, COLUMN, ARC, EDGES = 4, 5, 6, 7
"""Of a corner, the columns after its links in the four directions: its row, its column, the arc
that passes, the set of its edges.

A corner is one row of 32 bytes, (8,) int32, so that a walk along a border touches one line of the
processor's cache at each."""

TURNS = (3, 5, 6, 9, 10, 12)
"""Sets of edges of a corner where a border only turns."""


def _mark_at_once(labels: NDArray[np.int32], marks: NDArray[np.uint8]) -> None:
    """What :func:`mark_corners` does, by numpy: slower than compiled, but it need not be."""
    across, along = labels[:-1] != labels[1:], labels[:, :-1] != labels[:, 1:]
    left, right, up, down = across[:, :-1], across[:, 1:], along[:-1], along[1:]
    turns = (left ^ right) | (up ^ down) | (left & up)
    edges = left | right.view(np.uint8) << 1 | up.view(np.uint8) << 2 | down.view(np.uint8) << 3
    np.multiply(edges, turns, out=marks[:, : edges.shape[1]])


@jit(interpreted=_mark_at_once)
def mark_corners(labels: Any, marks: Any) -> None:
    """The edges (a set of bits) of each vertex that is a corner, else 0.

    ``marks`` is (rows, columns + 1 or more) uint8, zero beyond column + 1.
    """
    rows, width = labels.shape[0] - 1, labels.shape[1]
    last = width - 1
    # loops over one type of number each, which the processor does many at a time
    across, up = np.empty(width, np.uint8), np.empty(width, np.uint8)
    down = np.empty(width, np.uint8)
    for c in range(last):
        down[c] = labels[0, c] != labels[0, c + 1]
    for i in range(rows):
        above, below, out = labels[i], labels[i + 1], marks[i]
        up, down = down, up
        for c in range(last):
            down[c] = below[c] != below[c + 1]
        for c in range(width):
            across[c] = above[c] != below[c]
        for c in range(last):
            turns = (across[c] ^ across[c + 1]) | (up[c] ^ down[c]) | (across[c] & up[c])
            edges = across[c] | across[c + 1] << 1 | up[c] << 2 | down[c] << 3
            out[c] = edges * turns


@jit()
def link_corners(  # noqa: C901, PLR0912, PLR0913  one pass over the corners in their order
    labels: Any, marks: Any, words: Any, row: int, corners: Any, last: Any, ports: Any, notches: Any
) -> int:
    """Fill in the corners of a band from the top left, and what is next to each.

    A link is a corner, or a *port* where a border crosses the upper or the lower end of the band:
    port p is written as ``len(corners) + p``; the upper ones are the columns, then the lower ones.

    Args:
        labels: Of the band.
        marks: As :func:`mark_corners` left it.
        words: The same memory as uint64.
        row: Scene row of the first corners.
        corners: (corners, 8) int32, filled; links only where there is an edge.
        last: (columns + 1,) int32 scratch.
        ports: (2 * (columns + 1),) int32, filled with the link of each port, or NONE.
        notches: (corners, 2) int32, filled: where the label above a corner closes around something
            below it, that corner and the link at the upper end of the border to its left, which is
            of the same region.

    Returns:
        How many notches there are.
    """
    rows, columns = marks.shape[0], labels.shape[1] - 1
    size = len(corners)
    n = found = 0
    for c in range(columns):
        last[c] = size + c
        ports[c] = NONE
        ports[columns + c] = NONE
    for i in range(rows):
        before = top = NONE
        for w in range(words.shape[1]):
            if words[i, w] == 0:
                continue
            for c in range(8 * w, 8 * w + 8):
                mark = marks[i, c]
                if mark == 0:
                    continue
                corners[n, LINE], corners[n, COLUMN] = row + i, c
                corners[n, ARC], corners[n, EDGES] = NONE, mark
                if mark & (1 << LEFT):
                    corners[before, RIGHT] = n
                    corners[n, LEFT] = before
                    if top != NONE and mark != (1 << LEFT | 1 << UP):
                        at = np.int64(corners[top, COLUMN])
                        label = labels[i + 1, at]
                        while labels[i + 1, at] == label:
                            at -= 1
                        notches[found, 0] = top
                        notches[found, 1] = last[at]
                        found += 1
                    top = NONE
                if mark & (1 << UP):
                    other = last[c]
                    corners[n, UP] = other
                    if other < size:
                        corners[other, DOWN] = n
                    else:
                        ports[c] = n
                if mark & (1 << DOWN):
                    last[c] = n
                if mark == (1 << RIGHT | 1 << DOWN) and labels[i, c] != OUTSIDE:
                    top = n
                before = n
                n += 1
    for c in range(columns):
        if labels[rows, c] != labels[rows, c + 1]:
            other = last[c]
            ports[columns + c] = other
            if other < size:
                corners[other, DOWN] = size + columns + c
            else:
                ports[c] = size + columns + c
    return found
