"""Small components merged into their neighbours."""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.compiled import jit
from geounet.polygonize.corners import NONE, OUTSIDE
from geounet.polygonize.faces import find
from geounet.polygonize.graph import Graded, Graph, roots
from geounet.polygonize.pixelunits import MOST_UNITS

CAP = 16
"""Neighbours are compared up to this many times the limit, so that none need be known to its end."""

TALL = 256
"""Rows of a cluster that is resolved before all of it is known, or more where the limit is large."""

_SIXTEENTH = 16
"""Bits of it: 2**20 units are a pixel."""


@jit
def _size(area: int) -> int:
    """Sixteenths of a pixel: components of as many pixels are equal, however the grid is bent."""
    return (area + (1 << (_SIXTEENTH - 1))) >> _SIXTEENTH


@jit
def _unite(
    one: int, target: int, grows: bool, opened: Any, area: Any, first: Any, parents: Any, after: Any,
    tail: Any,
) -> None:  # fmt: skip
    """Make a component part of another one, and if that grows add up what is known of them."""
    parents[one] = target
    if grows:
        area[target] += area[one]
        first[target] = min(first[target], first[one])
        opened[target] |= opened[one]
        after[tail[target]] = one
        tail[target] = tail[one]


@jit
def merge_small(  # noqa: C901, PLR0912, PLR0913  one loop over a heap, whose order all of it needs
    actors: Any, opened: Any, start: Any, to: Any, border: Any, limit: int, area: Any, label: Any,
    first: Any, parents: Any,
) -> None:  # fmt: skip
    """Merge components below the limit, the smallest first, as :class:`Merging` says.

    Args:
        actors: (n,) components to be merged.
        opened: (components,) those that must wait; filled in.
        start: Of :class:`~geounet.polygonize.graph.Neighbours`, and so ``to`` and ``border``.
        to: See there.
        border: See there.
        limit: Units.
        area: (components,) units, filled in for those that absorb others.
        label: (components,) filled in: OUTSIDE where nothing is around.
        first: (components,) first pixel, filled in.
        parents: (components,) union-find, filled in.
    """
    labels, nearest = np.empty(len(to), np.int32), np.empty(len(to), np.int32)
    shared = np.empty(len(to), np.int64)
    after, tail = np.full(len(area), NONE, np.int32), np.arange(len(area))
    heap = [(_size(area[comp]), first[comp], np.int64(comp)) for comp in actors]
    heapq.heapify(heap)
    while len(heap) > 0:
        size, _, comp = heapq.heappop(heap)
        if parents[comp] != comp or area[comp] >= limit or opened[comp] or _size(area[comp]) != size:
            continue
        found = best = 0
        member = comp
        while member != NONE:
            for k in range(start[member], start[member + 1]):
                other = find(parents, to[k])
                if other == comp or border[k] == 0 or label[other] == OUTSIDE:
                    continue
                slot = 0
                while slot < found and labels[slot] != label[other]:
                    slot += 1
                if slot == found:
                    labels[slot], nearest[slot], shared[slot] = label[other], other, 0
                    found += 1
                if area[other] > area[nearest[slot]]:
                    nearest[slot] = other
                shared[slot] += border[k]
            member = np.int64(after[member])
        if found == 0:
            label[comp], area[comp] = OUTSIDE, limit
            continue
        for slot in range(1, found):
            more = _size(area[nearest[slot]]) - _size(area[nearest[best]])
            if more == 0:
                more = shared[slot] - shared[best]
            if more > 0 or (more == 0 and labels[slot] < labels[best]):
                best = slot
        target = np.int64(nearest[best])
        grows = area[target] < limit
        # with the label it becomes one with all around it that have it
        member = comp
        while member != NONE:
            for k in range(start[member], start[member + 1]):
                other = find(parents, to[k])
                if label[other] == labels[best] and area[other] < limit and other != target:
                    _unite(other, target, grows, opened, area, first, parents, after, tail)
            member = np.int64(after[member])
        _unite(comp, target, grows, opened, area, first, parents, after, tail)
        if grows and area[target] < limit and not opened[target]:
            heapq.heappush(heap, (_size(area[target]), first[target], target))


class Merging:
    """Gives each component below a limit the label of its largest neighbour.

    Areas are compared up to :data:`CAP` times the limit, in sixteenths of a pixel. Of neighbours
    that are equal, the label with the longest common border is taken, then the lowest. Where small
    ones touch each other, they are a cluster, in which the smallest goes first (of equal ones, that
    with the first pixel); with its new label it becomes one with all around it that have it, and
    their areas add up. What is at the limit or above no longer changes, so clusters do not depend on
    each other. A component with nothing around it but nodata and the edge becomes nodata.

    A cluster is resolved when all of it and the areas around it are known. One that is taller than
    ``tall`` rows is resolved at the end of the block in hand: what ends above it is merged as far as
    it is known, while what may go on below it only takes in others and is merged later.

    Args:
        limit: Units.
        side: Of a square of as many pixels.
        diagonal: Whether pixels that touch at a corner are of one component.
    """

    def __init__(self, limit: int, side: float, *, diagonal: bool) -> None:
        self.grade = Graded(
            below=limit,
            cap=min(CAP * limit, MOST_UNITS),
            diagonal=diagonal,
            corners=diagonal,
            nodata=False,
            rim=True,
        )
        self.tall = max(TALL, 4 * math.ceil(side))

    def decide(self, graph: Graph, end: int) -> NDArray[np.int32]:
        """Settle what is known before row ``end``; the component of which each is a part then."""
        comps, small = graph.comps, graph.small
        cluster, clusters = graph.clusters(small)
        waits = np.zeros(clusters, np.bool_)
        waits[cluster[small & graph.opened]] = True
        growing = graph.opened & ~small & ~comps.settled & (comps.area < self.grade.cap)
        a, b, _ = graph.edges.T
        waits[cluster[a[growing[b]]]] = True
        waits[cluster[b[growing[a]]]] = True
        top = np.full(clusters, end, np.int64)
        np.minimum.at(top, cluster[small], graph.first_row[small])
        ready = small & ~(waits & (top >= end - self.tall))[cluster]
        actors = np.flatnonzero(ready & ~graph.opened)
        parents = np.arange(len(small), dtype=np.int32)
        if len(actors):
            around = graph.neighbours(small)
            merge_small(
                actors, graph.opened, *around, self.grade.below, comps.area, comps.label,
                comps.first, parents,
            )  # fmt: skip
        return roots(parents)
