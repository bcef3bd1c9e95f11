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


@jit
def enclose(  # noqa: C901, PLR0913  one walk, whose order all of it needs
    start: Any, to: Any, small: Any, attached: Any, limit: int, tall: int, area: Any, label: Any,
    top: Any, bottom: Any, filler: Any,
) -> None:  # fmt: skip
    """Fill in of each small component the outermost one that has it in a small hole, or NONE.

    A component is around others if they hang by it alone on what is not small: it is a cut vertex
    of the graph of neighbours (Hopcroft & Tarjan 1973, "Efficient algorithms for graph
    manipulation").

    Args:
        start: Of :class:`~geounet.polygonize.graph.Neighbours`, and so ``to``.
        to: See there.
        small: (components,).
        attached: (components,) whether next to one that is not small, or open.
        limit: Most units of a hole.
        tall: Most rows of it.
        area: (components,) units; filled in with those of holes.
        label: (components,).
        top: (components,) first row; filled in with that of the outermost hole.
        bottom: (components,) last row; filled in likewise.
        filler: (components,) filled in.
    """
    size = len(small)
    order, parent, path = np.empty(size, np.int32), np.full(size, NONE), np.empty(size, np.int32)
    found, low, cursor = np.full(size, NONE), np.zeros(size, np.int32), start.copy()
    seen = 0
    for first in range(size):
        if not (small[first] and attached[first] and found[first] == NONE):
            continue
        depth, path[0] = 1, first
        found[first], order[seen] = seen, first
        low[first] = NONE
        seen += 1
        while depth > 0:
            comp = path[depth - 1]
            if cursor[comp] < start[comp + 1]:
                other = to[cursor[comp]]
                cursor[comp] += 1
                if not small[other]:
                    continue
                if found[other] == NONE:
                    found[other], order[seen], parent[other] = seen, other, comp
                    low[other] = NONE if attached[other] else seen
                    seen += 1
                    path[depth] = other
                    depth += 1
                else:
                    low[comp] = min(low[comp], found[other])
                continue
            depth -= 1
            outer = parent[comp]
            if outer == NONE:
                continue
            low[outer] = min(low[outer], low[comp])
            # as long as it is a hole, its own area is not needed by anyone but the one around it
            if low[comp] >= found[outer] and label[outer] != OUTSIDE:
                filler[comp] = outer
            area[outer] += area[comp]
            top[outer] = min(top[outer], top[comp])
            bottom[outer] = max(bottom[outer], bottom[comp])
    for k in range(seen):
        comp = order[k]
        outer = parent[comp]
        if outer != NONE and filler[outer] != NONE:
            filler[comp], top[comp] = filler[outer], top[outer]
        elif filler[comp] != NONE and (area[comp] > limit or bottom[comp] - top[comp] >= tall):
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
        attached = graph.opened.copy()
        filler = np.full(len(small), NONE, np.int32)
        area, top, bottom = comps.area.copy(), graph.first_row, comps.last.copy()
        a, b, _ = graph.edges.T
        one = np.concatenate([a[~small[b]], b[~small[a]]])
        beside = np.concatenate([b[~small[b]], a[~small[a]]])
        attached[one] = True
        around = graph.neighbours(small)
        enclose(
            around.start, around.to, small, attached, self._limit, self.tall, area, comps.label, top,
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
