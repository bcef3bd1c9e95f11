"""Compiled: rings of simplified borders, whose corners are cut (Chaikin 1974).

At a corner the border leaves out a triangle between points on either side, half way to the next
corner at most. The triangle holds no corner of a pixel but on the border itself. Every vertex of
every border is a corner of a pixel, so nothing enters a triangle but through the line that cuts it,
nor leaves it but there, which a straight line cannot; and two such triangles cannot overlap, as
their cutting lines would have to cross twice. So whatever borders do inside their triangles, they
meet as before. Both neighbours cut the same corner alike; junctions stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import ROW
from geounet.polygonize.rings import LOW
from geounet.polygonize.tracing import FINE

_PARTS = 64
"""Of a side: a point on it is a multiple, so that no point is ever rounded off the border."""

_STEP = FINE // _PARTS

_LONGEST = 4
"""Pixels that are cut off a side, at most."""

_LARGEST = 0.25
"""Pixels in a triangle, of which half is cut off, at most: more would cost small polygons area."""


@callee
def _free(ax: int, ay: int, j: int, bx: int, by: int, i: int) -> bool:
    """Whether there is no corner of a pixel in a triangle but on the two sides from its tip."""
    px, py, qx, qy = ax * j, ay * j, bx * i, by * i
    turn = 1 if ax * by - ay * bx > 0 else -1
    for v in range(min(0, py, qy) // _PARTS, max(0, py, qy) // _PARTS + 1):
        for u in range(min(0, px, qx) // _PARTS, max(0, px, qx) // _PARTS + 1):
            if (ax * v - ay * u) * turn <= 0 or (u * by - v * bx) * turn <= 0:
                continue
            if ((qx - px) * (v * _PARTS - py) - (qy - py) * (u * _PARTS - px)) * turn >= 0:
                return False
    return True


@callee
def _legs(ax: int, ay: int, bx: int, by: int) -> tuple[int, int]:
    """How many parts of either side are cut off; none: 0."""
    cross = abs(ax * by - ay * bx)
    one, other = np.sqrt(ax * ax + ay * ay), np.sqrt(bx * bx + by * by)
    # neither more than twice as long as the other
    j: Any = np.int64(_PARTS * min(0.5, _LONGEST / one, other / one))
    i: Any = np.int64(_PARTS * min(0.5, _LONGEST / other, one / other))
    j, i = max(j, 1), max(i, 1)
    while cross * j * i > 2 * _LARGEST * _PARTS**2 or not _free(ax, ay, j, bx, by, i):
        if j == 1 and i == 1:
            return 0, 0
        j, i = max(j * 3 // 4, 1), max(i * 3 // 4, 1)
    return j, i


@callee
def _add(x: int, y: int, out: Any, start: int, top: int) -> int:
    vertex = y << ROW | x
    if top > start and out[top - 1] == vertex:  # the middle of a side
        return top
    out[top] = vertex
    return top + 1


@jit()
def round_rings(vertices: Any, stops: Any, stays: Any, out: Any, out_stops: Any) -> None:
    """Round rings.

    Args:
        vertices: As of :func:`~geounet.polygonize.smooth.smooth_rings`.
        stops: (rings,) where each stops in them.
        stays: As there.
        out: (vertices,) filled, ``FINE`` steps a pixel.
        out_stops: (rings,) filled.
    """
    line = np.empty((len(vertices), 3), np.int64)
    start: Any = np.int64(0)
    top: Any = np.int64(0)
    for ring in range(len(stops)):
        size, count, opening = stops[ring] - 1 - start, 0, top
        for k in range(size):
            vertex = vertices[start + k]
            before, after = vertices[start + (k - 1) % size], vertices[start + (k + 1) % size]
            x, y = (vertex & LOW) >> 1, vertex >> ROW
            ax, ay = ((before & LOW) >> 1) - x, (before >> ROW) - y
            bx, by = ((after & LOW) >> 1) - x, (after >> ROW) - y
            if stays[start + k] or ax * by != ay * bx:  # else a band ends there
                line[count, 0], line[count, 1], line[count, 2] = x, y, stays[start + k]
                count += 1
        for k in range(count):
            x, y = line[k, 0], line[k, 1]
            j = i = ax = ay = bx = by = 0
            if line[k, 2] == 0:
                ax, ay = line[(k - 1) % count, 0] - x, line[(k - 1) % count, 1] - y
                bx, by = line[(k + 1) % count, 0] - x, line[(k + 1) % count, 1] - y
                j, i = _legs(ax, ay, bx, by)
            px, py, qx, qy = ax * j * _STEP, ay * j * _STEP, bx * i * _STEP, by * i * _STEP
            x, y = x * FINE, y * FINE
            if j > 0:
                top = _add(x + px, y + py, out, opening, top)
            top = _add(x + (px + qx) // 4, y + (py + qy) // 4, out, opening, top)
            if j > 0:
                top = _add(x + qx, y + qy, out, opening, top)
        if out[top - 1] != out[opening]:
            out[top] = out[opening]
            top += 1
        out_stops[ring] = top
        start = stops[ring]
