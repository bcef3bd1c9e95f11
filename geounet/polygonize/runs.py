"""Compiled: components of one label, from runs of equal pixels along rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import NONE
from geounet.polygonize.faces import find


@callee
def join(parents: Any, a: Any, b: Any) -> Any:
    """One set of two, whose root is the first item of it."""
    a, b = find(parents, a), find(parents, b)
    if a > b:
        a, b = b, a
    parents[b] = a
    return a


@jit()
def join_runs(  # noqa: PLR0913  compiled code takes arrays
    labels: Any, corner: int, starts: Any, ends: Any, comps: Any, first: Any, parents: Any,
    label_of: Any, count: int,
) -> int:  # fmt: skip
    """Find the runs of a block and the component of each; how many components there are.

    Args:
        labels: (rows, width) int32.
        corner: 1: runs that touch at a corner belong together, too.
        starts: (runs,) first column, filled after those of the row above the block.
        ends: (runs,) column after the last, likewise.
        comps: (runs,) component, likewise; some are no roots.
        first: (rows + 2,) where the runs of each row start, that above the block first; filled
            from the third on.
        parents: (components,) union-find, the first ``count`` are there already.
        label_of: (components,) label, likewise.
        count: Components above the block.
    """
    width = labels.shape[1]
    top = first[1]
    for i in range(labels.shape[0]):
        row, low, high = labels[i], first[i], first[i + 1]
        above, col = low, 0
        while col < width:
            label, start = row[col], col
            comp: Any = np.int64(NONE)
            while col < width and row[col] == label:
                col += 1
            above = max(low, above - corner)
            while above < high and starts[above] < col + corner:
                if ends[above] + corner > start and label_of[comps[above]] == label:
                    other = np.int64(comps[above])
                    comp = other if comp == NONE else join(parents, comp, other)
                if ends[above] >= col + corner:
                    break
                above += 1
            if comp == NONE:
                comp = np.int64(count)
                parents[count] = count
                label_of[count] = label
                count += 1
            starts[top], ends[top], comps[top] = start, col, comp
            top += 1
        first[i + 2] = top
    return count


@jit()
def list_borders(
    starts: Any, ends: Any, comps: Any, first: Any, small: Any, corner: int, edges: Any
) -> int:
    """Fill in where a small component of a block touches another one; how often that is.

    ``edges`` (places, 3) int32: two components and the length of their common border, 0 where they
    only touch at a corner, which is told if ``corner`` is 1.
    """
    found = 0
    for i in range(1, len(first) - 1):
        above, high = first[i - 1], first[i]
        for run in range(high, first[i + 1]):
            comp = comps[run]
            if run > high and (small[comp] or small[comps[run - 1]]):
                edges[found, 0], edges[found, 1], edges[found, 2] = comps[run - 1], comp, 1
                found += 1
            while above < high and ends[above] + corner <= starts[run]:
                above += 1
            other = above
            while other < high and starts[other] < ends[run] + corner:
                beside = comps[other]
                if beside != comp and (small[comp] or small[beside]):
                    shared = min(ends[run], ends[other]) - max(starts[run], starts[other])
                    edges[found, 0], edges[found, 1], edges[found, 2] = beside, comp, shared
                    found += 1
                other += 1
    return found


@jit()
def join_small(edges: Any, small: Any, parents: Any) -> None:
    """Unite small components that touch."""
    for k in range(len(edges)):
        if small[edges[k, 0]] and small[edges[k, 1]]:
            join(parents, np.int64(edges[k, 0]), np.int64(edges[k, 1]))


@jit()
def paint_runs(labels: Any, row: int, runs: Any, values: Any) -> None:
    """Set the labels of runs (runs, 3) row, first column, column after the last."""
    for k in range(len(runs)):
        for col in range(runs[k, 1], runs[k, 2]):
            labels[runs[k, 0] - row, col] = values[k]
