"""Compiled: arcs with fewer vertices, between which nothing gets lost.

Douglas and Peucker 1973, https://doi.org/10.3138/FM57-6770-U75U-7727: a stretch of an arc becomes
one line where none of its vertices is further from that than the tolerance. Here it also must not
sweep over a vertex of any border, its own included, on its way to the line, and none may lie on the
line. So no two lines can cross or touch that did not before: a lens between two of them would have
a vertex of one inside, over which the other had been swept. That needs the unsimplified vertices of
the band only, and no order in which arcs are taken.

What this does not hold is kept by hand. Two arcs between the same junctions must not become the
same line, and a loop keeps four vertices: such arcs stay as they are. An arc from a port back to
the same end of the band keeps a vertex between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.arcs import LOOP
from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import EDGES, ROW
from geounet.polygonize.rings import LOW

_LOOP_VERTICES = 5  # with the first again at the end


@callee
def _furthest(vertices: Any, first: int, last: int, kx: float, ky: float) -> tuple[float, int]:
    """Squared distance of the vertex between that is furthest from the line, and which it is."""
    ax, ay = (vertices[first] & LOW) * kx, (vertices[first] >> ROW) * ky
    dx, dy = (vertices[last] & LOW) * kx - ax, (vertices[last] >> ROW) * ky - ay
    length = dx * dx + dy * dy
    most, which = -1.0, first
    for k in range(first + 1, last):
        px, py = (vertices[k] & LOW) * kx - ax, (vertices[k] >> ROW) * ky - ay
        along = px * dx + py * dy
        if length > 0 and along > 0:
            share = min(1.0, along / length)
            px -= share * dx
            py -= share * dy
        distance = px * px + py * py
        if distance > most:
            most, which = distance, k
    return most, which


@callee
def _inside(vertices: Any, first: int, last: int, col: int, row: int) -> bool:
    """Whether a vertex lies between a stretch of an arc and the line from its ends, or on that."""
    ax, ay = vertices[first] & LOW, vertices[first] >> ROW
    bx, by = vertices[last] & LOW, vertices[last] >> ROW
    cross = (bx - ax) * (row - ay) - (by - ay) * (col - ax)
    inside = False
    if min(ay, by) <= row <= max(ay, by) and min(ax, bx) <= col <= max(ax, bx) and cross == 0:
        return True
    if min(ay, by) <= row < max(ay, by):
        # the line is to the right of the vertex
        inside = (cross > 0) == (by > ay)
    for k in range(first, last):
        one, other = vertices[k] >> ROW, vertices[k + 1] >> ROW
        if min(one, other) <= row < max(one, other) and vertices[k] & LOW > col:
            inside = not inside
    return inside


@callee
def _clear(  # noqa: C901, PLR0912  compiled: calls cost compile time
    vertices: Any, first: int, last: int, marks: Any, row: int, low: Any, high: Any
) -> bool:
    """Whether no corner lies between a stretch of an arc and the line from its ends."""
    ax, ay = vertices[first] & LOW, (vertices[first] >> ROW) - row
    bx, by = vertices[last] & LOW, (vertices[last] >> ROW) - row
    top, bottom = ay, ay
    for k in range(first, last + 1):
        i = (vertices[k] >> ROW) - row
        top, bottom = min(top, i), max(bottom, i)
    for i in range(top, bottom + 1):
        low[i], high[i] = 1 << 40, -1
        if min(ay, by) <= i <= max(ay, by):
            if ay == by:
                low[i], high[i] = min(ax, bx), max(ax, bx)
            else:
                x = ax + (i - ay) * (bx - ax) / (by - ay)
                low[i], high[i] = np.int64(np.floor(x)), np.int64(np.ceil(x))
    for k in range(first, last):
        one, other = (vertices[k] >> ROW) - row, (vertices[k + 1] >> ROW) - row
        for col in (vertices[k] & LOW, vertices[k + 1] & LOW):
            for i in range(min(one, other), max(one, other) + 1):
                low[i], high[i] = min(low[i], col), max(high[i], col)
    clear = True
    for k in range(first, last + 1):
        i = (vertices[k] >> ROW) - row
        if i < len(marks):
            marks[i, vertices[k] & LOW] ^= 128
    for i in range(top, min(bottom + 1, len(marks))):
        for col in range(low[i], high[i] + 1):
            if 0 < marks[i, col] < 128 and _inside(vertices, first, last, col, i + row):
                clear = False
                break
        if not clear:
            break
    for k in range(first, last + 1):
        i = (vertices[k] >> ROW) - row
        if i < len(marks):
            marks[i, vertices[k] & LOW] ^= 128
    return clear


@callee
def _reduce(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    vertices: Any, first: int, last: int, limit: float, kx: float, ky: float, marks: Any, row: int,
    low: Any, high: Any, stack: Any, keep: Any,
) -> None:  # fmt: skip
    """Mark the vertices to keep between two that are kept."""
    stack[0, 0], stack[0, 1] = first, last
    height = 1
    while height > 0:
        height -= 1
        i, j = stack[height, 0], stack[height, 1]
        if j - i < 2:
            continue
        distance, which = _furthest(vertices, i, j, kx, ky)
        if distance <= limit and _clear(vertices, i, j, marks, row, low, high):
            continue
        keep[which] = 1
        stack[height, 0], stack[height, 1] = i, which
        stack[height + 1, 0], stack[height + 1, 1] = which, j
        height += 2


@callee
def _count(keep: Any, first: int, last: int) -> int:
    count = 0
    for k in range(first, last + 1):
        count += keep[k]
    return count


@jit()
def choose_vertices(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    vertices: Any, span: Any, ends: Any, size: int, columns: int, limit: float, kx: float,
    ky: float, marks: Any, row: int, height: int, cut: int, keep: Any,
) -> None:  # fmt: skip
    """Which vertices of the arcs of a band are kept.

    Args:
        vertices: Of the arcs.
        span: Of the arcs.
        ends: Of the arcs.
        size: How many corners the band has; ports follow.
        columns: Ports at either end of the band.
        limit: Square of the tolerance.
        kx: Width of a pixel in the unit of the tolerance.
        ky: And its height.
        marks: (rows, columns or more) not 0 where there is a corner or a port, and below 128.
        row: Of the raster, of the first row of the band.
        height: Rows of the raster.
        cut: Column at which it is cut.
        keep: (vertices,) uint8, zero; filled.
    """
    rows = len(marks) + 1
    low, high = np.empty(rows, np.int64), np.empty(rows, np.int64)
    longest = 0
    for arc in range(len(span)):
        longest = max(longest, span[arc, 1] - span[arc, 0])
    stack = np.empty((longest + 2, 2), np.int64)
    for arc in range(len(span)):
        first, last = span[arc, 0], span[arc, 1] - 1
        keep[first] = 1
        keep[last] = 1
        if last - first < 2:
            continue
        start, stop = ends[arc, 0], ends[arc, 2]
        loop = vertices[first] == vertices[last]
        ported = start >= size and stop >= size
        back = ported and (start - size < columns) == (stop - size < columns)
        if loop or back:
            keep[_furthest(vertices, first, last, kx, ky)[1]] = 1
        for k in range(first + 1, last):
            col, line = vertices[k] & LOW, vertices[k] >> ROW
            corner = col in (0, columns - 1) and line in (0, height)  # of the raster
            if corner or col in (cut, cut + 1):
                keep[k] = 1
        begin = first
        for k in range(first + 1, last + 1):
            if keep[k]:
                _reduce(vertices, begin, k, limit, kx, ky, marks, row, low, high, stack, keep)
                begin = k
        if loop and _count(keep, first, last) < _LOOP_VERTICES:
            keep[first : last + 1] = 1


@jit()
def keep_siblings(span: Any, ends: Any, corners: Any, keep: Any) -> None:
    """Keep all of an arc that became the same line as another one."""
    size = len(corners)
    lines = np.empty(len(span), np.uint8)
    for arc in range(len(span)):
        lines[arc] = _count(keep, span[arc, 0], span[arc, 1] - 1) == 2
    for arc in range(len(span)):
        start, stop = ends[arc, 0], ends[arc, 2]
        if not lines[arc] or start == LOOP or start >= size or stop >= size:
            continue
        for way in range(4):
            if corners[start, EDGES] & (1 << way) == 0:
                continue
            half = -2 - corners[start, way]
            other = half >> 1
            to = ends[other, 0] if half & 1 else ends[other, 2]
            if other != arc and lines[other] and to == stop:
                keep[span[arc, 0] : span[arc, 1]] = 1
                break


@jit()
def drop_vertices(vertices: Any, span: Any, keep: Any) -> None:
    """Close the gaps."""
    top = 0
    for arc in range(len(span)):
        first, stop = span[arc, 0], span[arc, 1]
        span[arc, 0] = top
        for k in range(first, stop):
            if keep[k]:
                vertices[top] = vertices[k]
                top += 1
        span[arc, 1] = top
