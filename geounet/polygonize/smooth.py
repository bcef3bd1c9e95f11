"""Compiled: rings whose borders run smoothly between the pixels, not along their edges.

Around each corner of pixels lies a *cell*, a square as large as a pixel; four centres of pixels are
its corners. A border passes from cell to cell through *gates*: each edge of a pixel that belongs to
it crosses one, the side that the two cells share. The smoothed border passes the same gates, in the
same order, in straight lines, none nearer to the end of a gate than a limit. A cell is convex, and
belongs to one arc, or to the junction where several end and which stays where it is. So by
construction lines of two arcs never meet, no ring crosses itself, whatever the arcs look like, and
every centre of a pixel stays in its own polygon: rasterized, the polygons give the labels back.

Where in its gates a border passes is chosen by moving towards the line from the gate before to the
gate after, and back by a little more, which takes away stairs but does not shrink (Taubin 1995,
https://doi.org/10.1145/218380.218473). Then it gets fewer vertices: a line that passes all gates
between two of them close to where it did replaces them (a wedge that is narrowed from gate to gate,
Williams 1978). At last all of an arc is shifted to one side, within the gates, until it bounds the
same area as before.

Both neighbours smooth the same arc in the same direction, so they get the same vertices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import ROW
from geounet.polygonize.rings import LOW
from geounet.polygonize.tracing import FINE

_HALF = FINE // 2
_REACH = 108
"""Steps from the middle of a gate to where a border may pass it: less than half a pixel."""

_SLACK = 5
"""Steps that a dropped vertex may be from the line."""

_PULL, _PUSH = 0.6, -0.64
_PASSES = 10
"""Of relaxation: wiggles of up to about eight pixels vanish."""

_RAMP = 6
"""Pixels over which a step of one pixel is spread to either side, at most."""

_ROUNDS = 8
"""At most, of shifting the arc to where its area is right."""


@callee
def _sign(number: int) -> int:
    return 1 if number > 0 else -1 if number < 0 else 0


@callee
def _step_from(a: int, b: int) -> int:
    """The grid vertex next to a on the way to b."""
    ax, ay, bx, by = (a & LOW) >> 1, a >> ROW, (b & LOW) >> 1, b >> ROW
    return (ay + _sign(by - ay)) << ROW | (ax + _sign(bx - ax))


@callee
def _walk(vertices: Any, start: int, size: int, first: int, last: int, gates: Any) -> int:
    """The gates (column, row, whether passed along a column, way that adds area) of an arc."""
    count, way = 0, 1 if last > first else -1
    k = first
    while k != last:
        a, b = vertices[start + k % size], vertices[start + (k + way) % size]
        x, y = (a & LOW) >> 1, a >> ROW
        dx, dy = ((b & LOW) >> 1) - x, (b >> ROW) - y
        steps = abs(dx) + abs(dy)
        dx, dy = _sign(dx), _sign(dy)
        for t in range(steps):
            count += 1
            gates[count, 0] = FINE * (x + dx * t) + _HALF * dx
            gates[count, 1] = FINE * (y + dy * t) + _HALF * dy
            gates[count, 2] = dy != 0
            gates[count, 3] = dy - dx
        k += way
    return count


@callee
def _lean(gates: Any, count: int, at: Any) -> None:
    """Start each place on the line from middle to middle of the runs beside a step of one pixel."""
    for i in range(2, count):
        axis, sign = gates[i - 1, 2], gates[i - 1, 3]
        if gates[i, 2] == axis or gates[i + 1, 2] != axis or gates[i + 1, 3] != sign:
            continue
        rise = gates[i, 3] if gates[i, 2] else -gates[i, 3]
        for way in (-1, 1):
            run, k = 0, i + way
            while (
                0 < k <= count and run < 2 * _RAMP and (gates[k, 2] == axis and gates[k, 3] == sign)
            ):
                run += 1
                k += way
            for j in range(run // 2):
                k = i + way * (j + 1)
                off = -way * rise * _HALF * (1 - (2 * j + 1) / run)
                at[k, 1 - axis] = gates[k, 1 - axis] + min(max(off, -_REACH), _REACH)


@callee
def _relax(gates: Any, count: int, loop: bool, at: Any) -> None:
    """Move each place towards the line from the one before to the one after, and back again."""
    for k in range(_PASSES):
        share = _PUSH if k % 2 else _PULL
        if loop:
            for c in range(2):
                at[0, c], at[count + 1, c] = at[count, c], at[1, c]
        x, y = at[0, 0], at[0, 1]
        for i in range(1, count + 1):
            here_x, here_y, next_x, next_y = at[i, 0], at[i, 1], at[i + 1, 0], at[i + 1, 1]
            if gates[i, 2]:
                before, after, v = here_y - y, next_y - here_y, 0
                line = (x * after + next_x * before) / (before + after)
                to = here_x + share * (line - here_x)
            else:
                before, after, v = here_x - x, next_x - here_x, 1
                line = (y * after + next_y * before) / (before + after)
                to = here_y + share * (line - here_y)
            at[i, v] = min(max(to, gates[i, v] - _REACH), gates[i, v] + _REACH)
            x, y = here_x, here_y


@callee
def _cross(ax: int, ay: int, bx: int, by: int) -> int:
    return ax * by - ay * bx


@callee
def _thin(places: Any, gates: Any, first: int, last: int, kept: Any) -> int:
    """Choose places between the first and the last from which lines pass all gates between."""
    found, anchor, seen, k = 0, first, False, first + 1
    lx = ly = rx = ry = 0
    while k <= last:
        x, y = places[k, 0] - places[anchor, 0], places[k, 1] - places[anchor, 1]
        if seen and (_cross(rx, ry, x, y) < 0 or _cross(x, y, lx, ly) < 0 or rx * x + ry * y <= 0):
            anchor, seen = k - 1, False
            kept[found] = anchor
            found += 1
            continue
        if k < last:
            v = 1 - gates[k, 2]
            low = max(-_SLACK, gates[k, v] - _REACH - places[k, v])
            high = min(_SLACK, gates[k, v] + _REACH - places[k, v])
            ax, ay = (x + low, y) if v == 0 else (x, y + low)
            bx, by = (x + high, y) if v == 0 else (x, y + high)
            turn = _cross(ax, ay, bx, by)
            if turn < 0:
                ax, ay, bx, by = bx, by, ax, ay
            if turn == 0:  # the gate is seen from its side
                anchor, seen = k, False
                kept[found] = anchor
                found += 1
            elif not seen:
                rx, ry, lx, ly, seen = ax, ay, bx, by, True
            else:
                if _cross(rx, ry, ax, ay) > 0:
                    rx, ry = ax, ay
                if _cross(bx, by, lx, ly) > 0:
                    lx, ly = bx, by
        k += 1
    return found


@callee
def _excess(places: Any, kept: Any, found: int, first: int, last: int, gates: Any) -> int:
    """Twice the area between the kept places and the exact arc."""
    ox, oy = places[first, 0], places[first, 1]
    total, ax, ay = 0, 0, 0
    for k in range(found + 1):
        i = kept[k] if k < found else last
        bx, by = places[i, 0] - ox, places[i, 1] - oy
        total += _cross(ax, ay, bx, by)
        ax, ay = bx, by
    # along the exact arc each edge of a pixel adds its distance from there
    for k in range(1, last):
        dx, dy = gates[k, 0] - ox, gates[k, 1] - oy
        total -= FINE * (dx * gates[k, 3] if gates[k, 2] else dy * gates[k, 3])
    return total


@callee
def _fit(gates: Any, count: int, loop: bool, at: Any, places: Any, kept: Any) -> int:
    """Fill in the places, shifted so that the kept ones bound the area of the exact arc."""
    first, found = 1 if loop else 0, 0
    enough = FINE**2 // 128 + count * FINE**2 // 1024
    low, high, shift, best = -2.0 * _REACH, 2.0 * _REACH, 0.0, 0.0
    least = -1
    for k in range(_ROUNDS):
        if k == _ROUNDS - 1:
            shift = best
        for i in range(1, count + 1):
            v = 1 - gates[i, 2]
            places[i, 1 - v] = gates[i, 1 - v]
            off = np.rint(at[i, v] - gates[i, v] + shift * gates[i, 3])
            places[i, v] = gates[i, v] + np.int64(min(max(off, -_REACH), _REACH))
        if loop:
            places[count + 1, 0], places[count + 1, 1] = places[1, 0], places[1, 1]
        found = _thin(places, gates, first, count + 1, kept)
        excess = _excess(places, kept, found, first, count + 1, gates)
        if abs(excess) <= enough:
            break
        if least < 0 or abs(excess) < least:
            least, best = abs(excess), shift
        if excess > 0:
            high = shift
        else:
            low = shift
        # a corner gains less than a straight line
        shift -= excess / (1.6 * FINE * count)
        if not low < shift < high:
            shift = (low + high) / 2
    return found


@callee
def _put(x: int, y: int, out: Any, top: int) -> int:
    out[top] = y << ROW | x
    return top + 1


@callee
def _smooth_arc(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    vertices: Any, start: int, size: int, first: int, last: int, loop: bool, gates: Any, at: Any,
    places: Any, kept: Any, out: Any, top: int,
) -> int:  # fmt: skip
    """Append an arc but for its last vertex."""
    a, b = vertices[start + first % size], vertices[start + last % size]
    ahead = _step_from(a, vertices[start + (first + 1) % size])
    behind = _step_from(b, vertices[start + (last - 1) % size])
    back = b < a or (a == b and behind < ahead)
    if back:
        a, b, first, last = b, a, last, first
    count = 0
    if loop or abs(last - first) > 1:  # a straight line has no gates
        count = _walk(vertices, start, size, first, last, gates)
    for i in range(1, count + 1):
        at[i, 0], at[i, 1] = gates[i, 0], gates[i, 1]
    for i, vertex in ((0, a), (count + 1, b)):
        places[i, 0], places[i, 1] = FINE * ((vertex & LOW) >> 1), FINE * (vertex >> ROW)
        at[i, 0], at[i, 1] = places[i, 0], places[i, 1]
    found = 0
    if count > 0:
        _lean(gates, count, at)
        _relax(gates, count, loop, at)
        found = _fit(gates, count, loop, at, places, kept)
    begin = 1 if loop else count + 1 if back else 0
    top = _put(places[begin, 0], places[begin, 1], out, top)
    for k in range(found):
        i = kept[found - 1 - k if back else k]
        top = _put(places[i, 0], places[i, 1], out, top)
    return top


@jit()
def smooth_rings(
    vertices: Any, stops: Any, stays: Any, longest: int, out: Any, out_stops: Any
) -> None:
    """Smooth rings.

    Args:
        vertices: Of all rings, each closed, from its uppermost left one on, and marked.
        stops: (rings,) where each stops in them.
        stays: (vertices,) 1 where a border must pass: between those are arcs.
        longest: No arc has more gates.
        out: (vertices,) filled, ``FINE`` steps a pixel.
        out_stops: (rings,) filled.
    """
    gates, at = np.empty((longest + 2, 4), np.int64), np.empty((longest + 2, 2))
    places, kept = np.empty((longest + 2, 2), np.int64), np.empty(longest + 2, np.int64)
    start: Any = np.int64(0)
    top: Any = np.int64(0)
    for ring in range(len(stops)):
        size, opening = stops[ring] - 1 - start, top
        first = 0
        while first < size and stays[start + first] == 0:
            first += 1
        loop = first == size
        if loop:
            first = 0
        arc = first
        while arc < first + size:
            last = arc + 1
            while last < first + size and stays[start + last % size] == 0:
                last += 1
            top = _smooth_arc(
                vertices, start, size, arc, last, loop, gates, at, places, kept, out, top
            )
            arc = last
        out[top] = out[opening]
        top += 1
        out_stops[ring] = top
        start = stops[ring]
