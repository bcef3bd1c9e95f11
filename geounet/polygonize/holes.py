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


@jit()
def enclose(  # noqa: C901, PLR0912, PLR0913  one walk, whose order all of it needs
    walk: Any, start: Any, links: Any, attached: Any, limit: int, tall: int, area: Any, label: Any,
    top: Any, bottom: Any, filler: Any,
) -> None:  # fmt: skip
    """Fill in of each small component the outermost one that has it in a small hole.

    A component is around others if they hang by it alone on what is not small: it is a cut vertex
    of the graph of neighbours (Hopcroft & Tarjan 1973, "Efficient algorithms for graph
    manipulation").

    Args:
        walk: (6, components) int32, all NONE, scratch.
        start: Of :class:`~geounet.polygonize.graph.Neighbours`, and so ``links``.
        links: See there.
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
        other: Any = first
        outer: Any = NONE
        depth = 0
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
                beside = links[cursor[comp], 0]
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
                low[around] = min(low[around], low[comp])
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

    See :class:`~geounet.polygonize.sieve.Sieve`. Two cases: what hangs on one component that is not
    small is all of a cluster of small ones; and what hangs on a small one is found by
    :func:`enclose`. A component in no hole that is old enough counts as one that is not small: it
    is in none that is wanted.

    Args:
        limit: Units.
        side: Of a square of as many pixels.
        least: Units of a pixel, at least.
    """

    def __init__(self, limit: int, side: float, least: int) -> None:
        self.grade = Graded(
            below=limit + 1, cap=limit + 1, diagonal=False, corners=True, nodata=True, rim=False
        )
        self._limit = limit
        self.tall = min(max(TALL, 4 * math.ceil(side)), limit // least + 1)

    def decide(self, graph: Graph, end: int) -> NDArray[np.int32]:
        """Settle what is known before row ``end``; each component stays one by itself."""
        comps, small, rows = graph.comps, graph.small, graph.first_row
        cluster, clusters = graph.clusters(small)
        waits = np.zeros(clusters, np.bool_)
        waits[cluster[small & graph.opened]] = True
        first = np.full(clusters, end)
        np.minimum.at(first, cluster[small], rows[small])
        known = ~waits | (first < end - self.tall)
        asked = small & known[cluster]
        filler, top = self._outermost(graph, small, asked)
        whole = self._whole(graph, small, asked, cluster, first, waits)
        filler = np.where(small, np.where(whole[cluster] >= 0, whole[cluster], filler), NONE)
        done = asked & (~waits[cluster] | (top < end - self.tall))
        filled = done & (filler != NONE)
        comps.label[filled] = comps.label[filler[filled]]
        comps.settled[done] = True
        return np.arange(len(small), dtype=np.int32)

    def _outermost(
        self, graph: Graph, small: NDArray[np.bool_], asked: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Small one around each that is asked for, or NONE; first row of the hole or of itself."""
        comps = graph.comps
        a, b, _ = graph.edges.T
        attached = np.where(asked, graph.opened, NONE).astype(np.int8)
        attached[a[asked[a] & ~small[b]]] = 1
        attached[b[asked[b] & ~small[a]]] = 1
        walk = np.full((6, len(small)), NONE, np.int32)
        filler, top = walk[0].copy(), graph.first_row
        enclose(
            walk, *graph.neighbours(asked), attached, self._limit, self.tall, comps.area.copy(),
            comps.label, top, comps.last.copy(), filler,
        )  # fmt: skip
        return filler, top

    def _whole(
        self, graph: Graph, small: NDArray[np.bool_], asked: NDArray[np.bool_],
        cluster: NDArray[np.int32], first: NDArray[np.int64], waits: NDArray[np.bool_],
    ) -> NDArray[np.int64]:  # fmt: skip
        """(clusters,) what is not small and has all of a cluster in a small hole, or NONE."""
        comps, clusters = graph.comps, len(first)
        a, b, _ = graph.edges.T
        ours, theirs = asked[a] & ~small[b], asked[b] & ~small[a]
        one = cluster[np.concatenate([a[ours], b[theirs]])]
        beside = np.concatenate([b[ours], a[theirs]])
        low, high = np.full(clusters, len(small)), np.full(clusters, NONE)
        np.minimum.at(low, one, beside)
        np.maximum.at(high, one, beside)
        last = np.zeros(clusters, np.int64)
        np.maximum.at(last, cluster[asked], comps.last[asked])
        area = np.bincount(cluster[asked], comps.area[asked], clusters)
        found = ~waits & (low == high) & (area <= self._limit) & (last - first < self.tall)
        found[found] = comps.label[low[found]] != OUTSIDE
        return np.where(found, low, NONE)
