"""Small holes of components filled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.compiled import jit
from geounet.polygonize.corners import NONE, OUTSIDE
from geounet.polygonize.graph import Graded, Graph

TALL = 256
"""Rows of the tallest hole that is filled, or more where the limit is large."""


ORDER, PARENT, PATH, FOUND, LOW, CURSOR = 0, 1, 2, 3, 4, 5
"""Rows of the scratch of :func:`enclose`."""


@jit
def enclose(  # noqa: C901, PLR0913  one walk, whose order all of it needs
    walk: Any, start: Any, to: Any, attached: Any, limit: int, tall: int, area: Any, label: Any,
    top: Any, bottom: Any, filler: Any,
) -> None:  # fmt: skip
    """Fill in of each small component the outermost one that has it in a small hole.

    A component is around others if they hang by it alone on what is not small: it is a cut vertex
    of the graph of neighbours (Hopcroft & Tarjan 1973, "Efficient algorithms for graph
    manipulation").

    Args:
        walk: (6, components) int32, all NONE, scratch.
        start: Of :class:`~geounet.polygonize.graph.Neighbours`, and so ``to``.
        to: See there.
        attached: (components,) int8: of small ones, 1 if next to one that is not, or open, else 0;
            of others NONE.
        limit: Most units of a hole.
        tall: Most rows of it.
        area: (components,) units; filled in with those of holes.
        label: (components,).
        top: (components,) first row; filled in with that of the outermost hole.
        bottom: (components,) last row; filled in likewise.
        filler: (components,) int32, all NONE, filled in.
    """
    order, parent, path = walk[ORDER], walk[PARENT], walk[PATH]
    found, low, cursor = walk[FOUND], walk[LOW], walk[CURSOR]
    seen = 0
    for first in range(len(attached)):
        if attached[first] != 1 or found[first] != NONE:
            continue
        other, depth, outer = np.int64(first), 0, np.int64(NONE)
        while True:
            if other != NONE:  # go on to it
                found[other], order[seen], parent[other] = seen, other, outer
                low[other] = NONE if attached[other] == 1 else seen
                cursor[other] = start[other]
                path[depth] = other
                seen += 1
                depth += 1
            if depth == 0:
                break
            comp, other = np.int64(path[depth - 1]), np.int64(NONE)
            if cursor[comp] < start[comp + 1]:
                beside = np.int64(to[cursor[comp]])
                cursor[comp] += 1
                if attached[beside] != NONE:
                    if found[beside] == NONE:
                        other, outer = beside, comp
                    elif found[beside] < low[comp]:
                        low[comp] = found[beside]
                continue
            depth -= 1
            around = parent[comp]
            if around != NONE:
                if low[comp] < low[around]:
                    low[around] = low[comp]
                if low[comp] >= found[around] and label[around] != OUTSIDE:
                    filler[comp] = around
                area[around] += area[comp]
                top[around] = min(top[around], top[comp])
                bottom[around] = max(bottom[around], bottom[comp])
    for k in range(seen):
        comp = np.int64(order[k])
        around = parent[comp]
        if around != NONE and filler[around] != NONE:
            filler[comp], top[comp] = filler[around], top[around]
        elif area[comp] > limit or bottom[comp] - top[comp] >= tall:
            filler[comp] = NONE


class Holes:
    """Fills the small holes of components.

    A hole is what a component encloses, of whatever labels: a piece of all the rest, connected by
    sides or corners, that does not touch the edge of the raster. It gets the component's label if
    its area is up to the limit and it has up to ``tall`` rows. Of holes in holes the outermost such
    counts. Nodata is filled, too, but fills nothing. Components are connected by sides, so that
    their holes are those of their polygons.

    Args:
        limit: Units.
        side: Of a square of as many pixels.
    """

    def __init__(self, limit: int, side: float) -> None:
        self.grade = Graded(
            below=limit + 1, cap=limit + 1, diagonal=False, corners=True, nodata=True, rim=False
        )
        self._limit = limit
        self.tall = max(TALL, 4 * math.ceil(side))

    def decide(self, graph: Graph, end: int) -> NDArray[np.int32]:
        """Settle what is known before row ``end``; the component of which each is a part: itself."""
        comps, small = graph.comps, graph.small
        cluster, clusters = graph.clusters(small)
        waits = np.zeros(clusters, np.bool_)
        waits[cluster[small & graph.opened]] = True
        attached = np.where(small, graph.opened, NONE).astype(np.int8)
        filler = np.full(len(small), NONE, np.int32)
        area, top, bottom = comps.area.copy(), graph.first_row, comps.last.copy()
        a, b, _ = graph.edges.T
        one = np.concatenate([a[~small[b]], b[~small[a]]])
        beside = np.concatenate([b[~small[b]], a[~small[a]]])
        attached[one] = 1
        around = graph.neighbours(small)
        walk = np.full((6, len(small)), NONE, np.int32)
        enclose(
            walk, around.start, around.to, attached, self._limit, self.tall, area, comps.label, top,
            bottom, filler,
        )  # fmt: skip
        # what hangs on one component that is not small is in its hole
        low, high = np.full(clusters, len(small)), np.full(clusters, NONE)
        np.minimum.at(low, cluster[one], beside)
        np.maximum.at(high, cluster[one], beside)
        ours, rows = cluster[small], graph.first_row[small]
        first, last = np.full(clusters, end), np.zeros(clusters, np.int64)
        np.minimum.at(first, ours, rows)
        np.maximum.at(last, ours, comps.last[small])
        total = np.bincount(ours, comps.area[small], clusters)
        whole = (low == high) & ~waits & (total <= self._limit) & (last - first < self.tall)
        whole[whole] = comps.label[low[whole]] != OUTSIDE
        filler = np.where(small & whole[cluster], low[cluster], filler)
        done = small & (~waits[cluster] | (top < end - self.tall))
        filled = done & (filler != NONE)
        comps.label[filled] = comps.label[filler[filled]]
        comps.settled[done] = True
        return np.arange(len(small), dtype=np.int32)
