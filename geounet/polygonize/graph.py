"""The components of the rows so far, as far as something about them is still open."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.corners import OUTSIDE
from geounet.polygonize.pixelunits import PixelUnits
from geounet.polygonize.regions import number_sets
from geounet.polygonize.runs import join_runs, join_small, list_borders
from geounet.polygonize.sets import by_set


class Graded(NamedTuple):
    """Which components are small, and what is told of them."""

    below: int
    """Units: a component is small if it has less."""
    cap: int
    """Units: no area is counted further."""
    diagonal: bool
    """Whether pixels that touch at a corner are of one component."""
    corners: bool
    """Whether components that touch at a corner are neighbours."""
    nodata: bool
    """Whether nodata has components that may be small."""
    rim: bool
    """Whether what touches the edge of the raster may be small."""


class Components(NamedTuple):
    """All of shape (components,)."""

    label: NDArray[np.int32]
    area: NDArray[np.int64]
    """Units, up to a cap."""
    first: NDArray[np.int64]
    """First pixel, row * width + column."""
    last: NDArray[np.int64]
    """Last row."""
    settled: NDArray[np.bool_]
    """Whether its label is final."""

    def those(self, wanted: NDArray[np.bool_]) -> Components:
        """Some of them."""
        return Components(
            label=self.label[wanted],
            area=self.area[wanted],
            first=self.first[wanted],
            last=self.last[wanted],
            settled=self.settled[wanted],
        )


class Runs(NamedTuple):
    """Runs of pixels, all of shape (runs,)."""

    starts: NDArray[np.int32]
    """First column."""
    ends: NDArray[np.int32]
    """Column after the last."""
    comps: NDArray[np.int32]
    """Component."""


class Neighbours(NamedTuple):
    """Of small components: those of component c are ``start[c]`` to ``start[c + 1]``."""

    start: NDArray[np.int64]
    links: NDArray[np.int64]
    """(neighbours, 2) which it is, and the length of a common border in pixels, 0 at a corner; one
    may come several times."""


class Graph:
    """Components and where they touch, from block to block.

    Kept are the components of the last row, and those that are small and not settled with their
    neighbours and pixels, in arrays that are made anew for each block: so memory follows what is
    open.

    Args:
        grade: Of the components.
        units: Areas of the grid.
        shape: Of the raster.
    """

    def __init__(self, grade: Graded, units: PixelUnits, shape: tuple[int, int]) -> None:
        self._grade, self._units = grade, units
        self._height, self._width = shape
        self._above = Runs(*(np.empty(0, np.int32) for _ in Runs._fields))
        self.comps = Components(
            label=np.empty(0, np.int32),
            area=np.empty(0, np.int64),
            first=np.empty(0, np.int64),
            last=np.empty(0, np.int64),
            settled=np.empty(0, np.bool_),
        )
        self.edges = np.empty((0, 3), np.int32)
        """Two components, of which one is small, and the length of a common border."""
        self.pixels = np.empty((0, 3), np.int32)
        """Those of small components: row, first column, column after the last."""
        self.owner = np.empty(0, np.int32)
        """Component of each."""
        self.opened = np.empty(0, np.bool_)
        """(components,) whether the next rows may have more of it."""

    @property
    def small(self) -> NDArray[np.bool_]:
        """(components,) whether below the limit and not settled."""
        return ~self.comps.settled & (self.comps.area < self._grade.below)

    @property
    def first_row(self) -> NDArray[np.int64]:
        """(components,) their first row."""
        return self.comps.first // self._width

    def add(self, labels: NDArray[np.int32], row: int, *, last: bool) -> None:
        """Go on with a block of rows; ``last``: there are none below it."""
        runs, first, label_of, set_of = self._join(labels)
        sets = int(set_of.max(initial=-1)) + 1
        new = Runs(*(values[first[1] :] for values in runs))
        row_of = np.repeat(np.arange(len(labels)), np.diff(first[1:]))
        self.comps = self._summed(new, row, row_of, set_of, sets)
        self.comps.label[set_of] = label_of
        self.opened = np.zeros(sets, np.bool_)
        self._above = Runs(*(values[first[-2] :] for values in runs))
        if not self._grade.nodata:
            self.comps.settled[self.comps.label == OUTSIDE] = True
        if not self._grade.rim:
            self._settle_rim(runs.comps, first, row, last=last)
        if not last:
            self.opened[self._above.comps] = True
        small = self.small
        mine = np.flatnonzero(small[new.comps])
        self._renumber(set_of)
        self._drop_edges(small)
        self.owner = np.concatenate([self.owner, new.comps[mine]])
        spans = [row + row_of[mine].astype(np.int32), new.starts[mine], new.ends[mine]]
        self.pixels = np.concatenate([self.pixels, np.stack(spans, axis=1, dtype=np.int32)])
        edges = np.empty((4 * len(runs.comps), 3), np.int32)
        corner = int(self._grade.corners)
        found = list_borders(*runs, first, small, corner, edges)
        self.edges = np.concatenate([self.edges, edges[:found]])

    def clusters(self, small: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
        """(components,) number of the set of small ones that touch; how many sets there are."""
        parents = np.arange(len(small), dtype=np.int32)
        join_small(self.edges, small, parents)
        cluster = np.empty(len(small), np.int32)
        return cluster, number_sets(parents, cluster)

    def neighbours(self, small: NDArray[np.bool_]) -> Neighbours:
        """Of each of these small components."""
        a, b, border = self.edges.T
        ours, theirs = np.flatnonzero(small[a]), np.flatnonzero(small[b])
        one = np.concatenate([a[ours], b[theirs]])
        start, order = by_set(one, len(small))
        links = np.empty((len(one), 2), np.int64)
        links[:, 0] = np.concatenate([b[ours], a[theirs]])[order]
        links[:, 1] = np.concatenate([border[ours], border[theirs]])[order]
        return Neighbours(start=start, links=links)

    def take_settled(self, root: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Forget what is settled.

        Args:
            root: (components,) the component of which each is a part now.

        Returns:
            Pixels (runs, 3) whose label is final, and their labels (runs,).
        """
        self._renumber(root)
        self._above = self._above._replace(comps=root[self._above.comps])
        small = self.small
        mine = small[self.owner]
        done, waiting = np.flatnonzero(~mine), np.flatnonzero(mine)
        painted, labels = self.pixels.take(done, axis=0), self.comps.label[self.owner[done]]
        self.owner, self.pixels = self.owner[waiting], self.pixels.take(waiting, axis=0)
        self._drop_edges(small)
        live = np.zeros(len(root), np.bool_)
        live[self._above.comps] = True
        live[self.edges[:, 0]] = True
        live[self.edges[:, 1]] = True
        live[self.owner] = True
        number = (np.cumsum(live) - 1).astype(np.int32)
        self.comps = self.comps.those(live)
        self._above = self._above._replace(comps=number[self._above.comps])
        self._renumber(number)
        return painted, labels

    def _join(
        self, labels: NDArray[np.int32]
    ) -> tuple[Runs, NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """Runs of the row above and the block, where rows start, labels and sets of components."""
        before, above = len(self.comps.label), len(self._above.comps)
        size = len(labels) + int(np.count_nonzero(labels[:, 1:] != labels[:, :-1]))
        runs = Runs(*(np.concatenate([v, np.empty(size, np.int32)]) for v in self._above))
        first = np.zeros(len(labels) + 2, np.int64)
        first[1] = above
        parents = np.arange(before + size, dtype=np.int32)
        label_of = np.empty(before + size, np.int32)
        label_of[:before] = self.comps.label
        corner = int(self._grade.diagonal)
        count = join_runs(labels, corner, *runs, first, parents, label_of, before)
        set_of = np.empty(count, np.int32)
        number_sets(parents[:count], set_of)
        runs.comps[:] = set_of[runs.comps]
        return runs, first, label_of[:count], set_of

    def _summed(
        self, new: Runs, row: int, row_of: NDArray[np.int64], set_of: NDArray[np.int32], sets: int
    ) -> Components:
        """What is known of each set, from the components before and the new runs."""
        old = set_of[: len(self.comps.label)]
        areas = self._units.of_runs(row, row_of, new.starts, new.ends)
        area = np.bincount(new.comps, areas, sets) + np.bincount(old, self.comps.area, sets)
        first, last = np.full(sets, 1 << 62, np.int64), np.zeros(sets, np.int64)
        # of several values the last one stays
        first[new.comps[::-1]] = ((row + row_of) * self._width + new.starts)[::-1]
        np.minimum.at(first, old, self.comps.first)
        np.maximum.at(last, old, self.comps.last)
        last[new.comps] = row + row_of
        settled = np.zeros(sets, np.bool_)
        settled[old[self.comps.settled]] = True
        return Components(
            label=np.empty(sets, np.int32),
            area=np.minimum(area, self._grade.cap).astype(np.int64),
            first=first,
            last=last,
            settled=settled,
        )

    def _settle_rim(
        self, comps: NDArray[np.int32], first: NDArray[np.int64], row: int, *, last: bool
    ) -> None:
        settled = self.comps.settled
        settled[comps[first[1:-1]]] = True
        settled[comps[first[2:] - 1]] = True
        if row == 0:
            settled[comps[first[1] : first[2]]] = True
        if last:
            settled[comps[first[-2] :]] = True

    def _renumber(self, number: NDArray[np.int32]) -> None:
        self.owner = number.take(self.owner)
        for side in (0, 1):
            self.edges[:, side] = number.take(self.edges[:, side])

    def _drop_edges(self, small: NDArray[np.bool_]) -> None:
        a, b, _ = self.edges.T
        # of rows, take is far faster than a mask
        kept = np.flatnonzero((a != b) & (small[a] | small[b]))
        self.edges = self.edges.take(kept, axis=0)


def roots(parents: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of each item of a union-find."""
    while True:
        above = parents[parents]
        if np.array_equal(above, parents):
            return above
        parents = above
