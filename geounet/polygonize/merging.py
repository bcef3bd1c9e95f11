"""Small components merged into their neighbours."""

from __future__ import annotations

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
def _choose(
    comp: int, start: Any, to: Any, border: Any, area: Any, label: Any, parents: Any, after: Any,
    votes: Any,
) -> int:  # fmt: skip
    """The neighbour into which a component goes, or NONE.

    ``votes`` (neighbours, 3) int64 is scratch: label, largest of it, length of the common border.
    """
    found, member = 0, comp
    while member != NONE:
        for k in range(start[member], start[member + 1]):
            other = find(parents, np.int64(to[k]))
            if other == comp or border[k] == 0 or label[other] == OUTSIDE:
                continue
            slot = 0
            while slot < found and votes[slot, 0] != label[other]:
                slot += 1
            if slot == found:
                votes[slot, 0], votes[slot, 1], votes[slot, 2] = label[other], other, 0
                found += 1
            if area[other] > area[votes[slot, 1]]:
                votes[slot, 1] = other
            votes[slot, 2] += border[k]
        member = np.int64(after[member, 0])
    if found == 0:
        return NONE
    best = 0
    for slot in range(1, found):
        more = _size(area[votes[slot, 1]]) - _size(area[votes[best, 1]])
        if more == 0:
            more = votes[slot, 2] - votes[best, 2]
        if more > 0 or (more == 0 and votes[slot, 0] < votes[best, 0]):
            best = slot
    target, member = votes[best, 1], comp
    while member != NONE:  # one that is larger may touch at a corner
        for k in range(start[member], start[member + 1]):
            other = find(parents, np.int64(to[k]))
            if label[other] == label[target] and area[other] > area[target]:
                target = other
        member = np.int64(after[member, 0])
    return target


@jit
def _unite(
    one: int, target: int, grows: bool, opened: Any, area: Any, first: Any, parents: Any, after: Any
) -> None:
    """Make a component part of another one, and if that grows add up what is known of them."""
    parents[one] = target
    if grows:
        area[target] += area[one]
        first[target] = min(first[target], first[one])
        opened[target] |= opened[one]
        after[after[target, 1], 0] = one
        after[target, 1] = after[one, 1]


@jit
def merge_small(
    heap: Any, votes: Any, after: Any, start: Any, to: Any, border: Any, limit: int, opened: Any,
    area: Any, label: Any, first: Any, parents: Any,
) -> None:  # fmt: skip
    """Merge components below the limit, the smallest first, as :class:`Merging` says.

    Args:
        heap: (n, 3) int64, ascending: size, first pixel and number of each that is to be merged;
            used up.
        votes: (neighbours, 3) int64, scratch.
        after: (components, 2) int32: next of the same set, NONE; last of the set, itself; filled in.
        start: Of :class:`~geounet.polygonize.graph.Neighbours`, and so ``to`` and ``border``.
        to: See there.
        border: See there.
        limit: Units.
        opened: (components,) those that must wait; filled in.
        area: (components,) units, filled in for those that absorb others.
        label: (components,) filled in: OUTSIDE where nothing is around.
        first: (components,) first pixel, filled in.
        parents: (components,) union-find, filled in.
    """
    count = len(heap)
    while count > 0:
        comp, target, grows = heap[0, 2], np.int64(NONE), False
        if parents[comp] == comp and area[comp] < limit and _size(area[comp]) == heap[0, 0]:
            target = _choose(comp, start, to, border, area, label, parents, after, votes)
            if target == NONE:
                label[comp], area[comp] = OUTSIDE, limit
        if target != NONE:
            # with the label it becomes one with all around it that have it
            grows, member = area[target] < limit, comp
            while member != NONE:
                for k in range(start[member], start[member + 1]):
                    other = find(parents, np.int64(to[k]))
                    if label[other] == label[target] and area[other] < limit and other != target:
                        _unite(other, target, grows, opened, area, first, parents, after)
                member = np.int64(after[member, 0])
            _unite(comp, target, grows, opened, area, first, parents, after)
        if grows and area[target] < limit and not opened[target]:
            heap[0, 0], heap[0, 1], heap[0, 2] = _size(area[target]), first[target], target
        else:
            count -= 1
            for k in range(3):
                heap[0, k] = heap[count, k]
        _sink(heap, count)


@jit
def _sink(heap: Any, count: int) -> None:
    """Bring the first of a heap, which may be too large, to its place."""
    at = 0
    while 2 * at + 1 < count:
        least = at
        for child in range(2 * at + 1, min(2 * at + 3, count)):
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
            after = np.stack([np.full(len(small), NONE, np.int32), parents], axis=1)
            heap = np.stack([_sizes(comps.area[actors]), comps.first[actors], actors], axis=1)
            heap = heap[np.lexsort((heap[:, 1], heap[:, 0]))]
            votes = np.empty((len(around.to), 3), np.int64)
            merge_small(
                heap, votes, after, *around, self.grade.below, graph.opened, comps.area, comps.label,
                comps.first, parents,
            )  # fmt: skip
        return roots(parents)
