"""Compiled: what the pixels of a region add up to, from the arcs around it.

By Green's theorem a sum over the pixels of a region is one over the vertical edges of its boundary:
of a quantity that was summed from the first column up to the edge. An arc has it for the region at
its left; the region at its right gets the same with the other sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import OUTSIDE, ROW
from geounet.polygonize.rings import LOW


@jit()
def sum_zones(span: Any, vertices: Any, row: int, rows: Any, values: Any) -> None:
    """Area at the left of each arc, of pixels that are alike along a row.

    ``rows`` (rows + 1,) is the area of a pixel summed from the band's first row, ``row``, down.
    """
    for arc in range(len(span)):
        total = 0.0
        for k in range(span[arc, 0] + 1, span[arc, 1]):
            a, b = vertices[k - 1], vertices[k]
            total += (b & LOW) * (rows[(a >> ROW) - row] - rows[(b >> ROW) - row])
        values[arc] = total


@callee
def _down_to(sums: Any, steps: Any, every: int, row: int, col: int) -> float:
    """Area left of a column and above a row of the band, linear between the rows in ``steps``."""
    knot = row // every
    n = row - knot * every
    here, below = steps[knot, col], steps[knot + 1, col]
    return sums[knot, col] + n * here + (below - here) / every * (n * (n - 1) / 2)


@jit()
def sum_areas(
    span: Any, vertices: Any, row: int, sums: Any, steps: Any, every: int, values: Any
) -> None:
    """Area at the left of each arc, of pixels that differ.

    ``steps`` (knots + 1, columns + 1) is the area of a row's pixels left of a column, for every
    ``every``-th row of the band; ``sums`` the same, summed over the rows above it.
    """
    for arc in range(len(span)):
        total = 0.0
        for k in range(span[arc, 0] + 1, span[arc, 1]):
            a, b = vertices[k - 1], vertices[k]
            if a >> ROW != b >> ROW:
                total += _down_to(sums, steps, every, (a >> ROW) - row, b & LOW)
                total -= _down_to(sums, steps, every, (b >> ROW) - row, b & LOW)
        values[arc] = total


@jit()
def sum_scores(
    labels: Any, scores: Any, row: int, span: Any, vertices: Any, total: Any, notes: Any
) -> None:
    """Sum and minimum of the scores (rows, width) of the pixels that each half has at its left.

    Every run of pixels counts for the border at its left end.
    """
    for arc in range(len(span)):
        for k in range(span[arc, 0] + 1, span[arc, 1]):
            a, b = vertices[k - 1], vertices[k]
            first, last = (a >> ROW) - row, (b >> ROW) - row
            half = 2 * arc
            if first > last:
                first, last, half = last, first, half + 1
            for i in range(first, last):
                c = np.int64(a & LOW)
                label = labels[i + 1, c + 1]
                if label == OUTSIDE:
                    break
                while labels[i + 1, c + 1] == label:
                    total[half] += scores[i, c]
                    notes[half, 1] = min(notes[half, 1], scores[i, c])
                    c += 1


@jit()
def mark_edges(span: Any, sides: Any, vertices: Any, width: int, height: int, notes: Any) -> None:
    """Note of each half whether it runs along the edge of a raster of ``height`` rows."""
    for arc in range(len(span)):
        if sides[arc, 0] != OUTSIDE and sides[arc, 1] != OUTSIDE:
            continue
        for k in range(span[arc, 0] + 1, span[arc, 1]):
            a, b = vertices[k - 1], vertices[k]
            col, row = a & LOW, a >> ROW
            if (col == b & LOW and col in (0, width)) or (row == b >> ROW and row in (0, height)):
                notes[2 * arc, 0] = 1
                notes[2 * arc + 1, 0] = 1
                break
