"""Small components merged into their neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import NONE, OUTSIDE
from geounet.polygonize.faces import find
from geounet.polygonize.graph import Graded, Graph, roots
from geounet.polygonize.pixelunits import MOST_UNITS

AREA, LABEL, FIRST, OPENED, NEXT, LAST = 0, 1, 2, 3, 4, 5
"""Columns of what is known of a component: area in units, label, first pixel, whether it may go on,
the next of the same set or NONE, the last of the set that it is the root of."""

CAP = 16
"""Neighbours are compared up to this many times the limit: none need be known to its end."""

TALL = 256
"""Rows after which a cluster is cut, or more where the limit is large."""

_SIXTEENTH = 16
"""Bits of it: 2**20 units are a pixel."""


@callee
def _size(area: int) -> int:
    """Sixteenths of a pixel: components of as many pixels are equal, however the grid is bent."""
    return (area + (1 << (_SIXTEENTH - 1))) >> _SIXTEENTH


@callee
def _choose(  # noqa: C901  one vote
    comp: int, start: Any, links: Any, sets: Any, parents: Any, votes: Any
) -> int:
    """The neighbour into which a component goes, or NONE."""
    found, member = 0, comp
    while member != NONE:
        for k in range(start[member], start[member + 1]):
            other = find(parents, links[k, 0])
            label = sets[other, LABEL]
            if other == comp or label == OUTSIDE:
                continue
            slot = 0
            while slot < found and votes[slot, 0] != label:
                slot += 1
            if slot == found:
                votes[slot, 0], votes[slot, 1], votes[slot, 2] = label, other, 0
                found += 1
            if sets[other, AREA] > sets[votes[slot, 1], AREA]:
                votes[slot, 1] = other
            votes[slot, 2] += links[k, 1]
        member = sets[member, NEXT]
    best = NONE
    for slot in range(found):
        if votes[slot, 2] == 0:  # it only touches at a corner
            continue
        more = 1
        if best != NONE:
            more = _size(sets[votes[slot, 1], AREA]) - _size(sets[votes[best, 1], AREA])
            if more == 0:
                more = votes[slot, 2] - votes[best, 2]
            if more == 0:
                more = votes[best, 0] - votes[slot, 0]
        if more > 0:
            best = slot
    return NONE if best == NONE else votes[best, 1]


@callee
def _unite(one: int, target: int, grows: int, sets: Any, parents: Any) -> None:
    """Make a component part of another one; if that grows (1), add up what is known of them."""
    parents[one] = target
    if grows:
        sets[target, AREA] += sets[one, AREA]
        sets[target, OPENED] |= sets[one, OPENED]
        sets[target, FIRST] = min(sets[target, FIRST], sets[one, FIRST])
        sets[sets[target, LAST], NEXT] = one
        sets[target, LAST] = sets[one, LAST]


@jit()
def merge_small(
    heap: Any, votes: Any, start: Any, links: Any, limit: int, sets: Any, parents: Any
) -> None:
    """Merge components below the limit, the smallest first, as :class:`Merging` says.

    Args:
        heap: (n, 3) ascending: size, first pixel and number of each that is to be merged; used up.
        votes: (neighbours, 3) scratch: label, the largest that has it, length of the border to all.
        start: Of :class:`~geounet.polygonize.graph.Neighbours`, and so ``links``.
        links: See there.
        limit: Units.
        sets: (components, 6) what is known of each; filled in. What has nothing around it gets the
            label OUTSIDE and as much area as the limit.
        parents: (components,) int32 union-find; filled in.
    """
    count = len(heap)
    while count > 0:
        comp, target, grows = heap[0, 2], NONE, 0
        area = sets[comp, AREA]
        if parents[comp] == comp and area < limit and _size(area) == heap[0, 0]:
            target = _choose(comp, start, links, sets, parents, votes)
            if target == NONE:
                sets[comp, LABEL], sets[comp, AREA] = OUTSIDE, limit
        if target != NONE:
            # with the label it becomes one with all around it that have it
            label, member = sets[target, LABEL], comp
            grows = 1 if sets[target, AREA] < limit else 0
            while member != NONE:
                for k in range(start[member], start[member + 1]):
                    other = find(parents, links[k, 0])
                    if (
                        other != target
                        and sets[other, LABEL] == label
                        and sets[other, AREA] < limit
                    ):
                        _unite(other, target, grows, sets, parents)
                member = sets[member, NEXT]
            _unite(comp, target, grows, sets, parents)
        if grows and sets[target, AREA] < limit and sets[target, OPENED] == 0:
            heap[0, 0], heap[0, 1] = _size(sets[target, AREA]), sets[target, FIRST]
            heap[0, 2] = target
        else:
            count -= 1
            for k in range(3):
                heap[0, k] = heap[count, k]
        _sink(heap, count)


@callee
def _sink(heap: Any, count: int) -> None:
    """Bring the first of a heap, which may be too large, to its place."""
    at = 0
    while 2 * at + 1 < count:
        least = at
        for child in range(2 * at + 1, min(count, 2 * at + 3)):
            if heap[child, 0] < heap[least, 0] or (
                heap[child, 0] == heap[least, 0] and heap[child, 1] < heap[least, 1]
            ):
                least = child
        if least == at:
            break
        for k in range(3):
            heap[at, k], heap[least, k] = heap[least, k], heap[at, k]
        at = least


def _sizes(areas: NDArray[np.int64]) -> NDArray[np.int64]:
    return (areas + (1 << (_SIXTEENTH - 1))) >> _SIXTEENTH


class Merging:
    """Gives each component below a limit the label of its largest neighbour.

    See :class:`~geounet.polygonize.sieve.Sieve`. What is at the limit or above never changes, so
    that clusters do not depend on each other.

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
        self.tall = max(TALL, 16 * math.ceil(side))

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
            heap = np.stack([_sizes(comps.area[actors]), comps.first[actors], actors], axis=1)
            heap = heap[np.lexsort((heap[:, 1], heap[:, 0]))]
            around = graph.neighbours(ready)
            votes = np.empty((len(around.links), 3), np.int64)
            sets = np.empty((len(small), 6), np.int64)
            sets[:, AREA], sets[:, LABEL], sets[:, FIRST] = comps.area, comps.label, comps.first
            sets[:, OPENED], sets[:, NEXT], sets[:, LAST] = graph.opened, NONE, parents
            merge_small(heap, votes, *around, self.grade.below, sets, parents)
            comps.area[:], comps.label[:], comps.first[:] = (
                sets[:, AREA],
                sets[:, LABEL],
                sets[:, FIRST],
            )
        return roots(parents)
