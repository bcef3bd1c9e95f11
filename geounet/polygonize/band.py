"""A band of rows traced by itself: a pure function, so that bands can be traced at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.arcs import Arcs, trace_arcs
from geounet.polygonize.areas import ArcAreas
from geounet.polygonize.corners import EDGES, NONE, link_corners, mark_corners
from geounet.polygonize.faces import RING, join_notches, join_pinches, trace_paths
from geounet.polygonize.marking import mark_junctions
from geounet.polygonize.meridian import NO_CUT
from geounet.polygonize.regions import (
    add_notes,
    closed_features,
    number_sets,
    sum_paths,
)
from geounet.polygonize.seam import join_seam
from geounet.polygonize.sets import by_set
from geounet.polygonize.simplify import choose_vertices, drop_vertices, keep_siblings
from geounet.polygonize.sums import mark_edges, sum_scores
from geounet.polygonize.tolerance import Tolerance

SUMS = 3
"""Of a region: pixels, area, score."""

_WORD = 8  # marks are looked at eight at a time
_DEGREE = np.array([edges.bit_count() for edges in range(16)])
_MOST = 1 << 30  # a score above all


class Rings(NamedTuple):
    """Complete features: each has parts, each part has rings."""

    vertices: NDArray[np.int64]
    """Of all rings, each closed."""
    stops: NDArray[np.int64]
    """(rings,) where each stops in them."""
    outer: NDArray[np.uint8]
    """(rings,) 1: the outer ring of its part, 0: a hole."""
    part_stops: NDArray[np.int64]
    """(parts,) where each stops in the rings."""
    feature_stops: NDArray[np.int64]
    """(features,) where each stops in the parts."""
    label: NDArray[np.int32]
    """(features,)."""
    sums: NDArray[np.float64]
    """(features, SUMS) pixels, area, score."""
    notes: NDArray[np.int32]
    """(features, 2) whether at the edge of the raster, least score."""

    @classmethod
    def room(cls, vertices: int, rings: int, parts: int, features: int) -> Rings:
        """Arrays to be filled."""
        return cls(
            vertices=np.empty(vertices, np.int64),
            stops=np.empty(rings, np.int64),
            outer=np.empty(rings, np.uint8),
            part_stops=np.empty(parts, np.int64),
            feature_stops=np.empty(features, np.int64),
            label=np.empty(features, np.int32),
            sums=np.empty((features, SUMS)),
            notes=np.empty((features, 2), np.int32),
        )

    def trimmed(self, features: int) -> Rings:
        """Of this many features, which were filled."""
        parts = int(self.feature_stops[features - 1]) if features else 0
        rings = int(self.part_stops[parts - 1]) if parts else 0
        return Rings(
            vertices=self.vertices[: int(self.stops[rings - 1]) if rings else 0],
            stops=self.stops[:rings],
            outer=self.outer[:rings],
            part_stops=self.part_stops[:parts],
            feature_stops=self.feature_stops[:features],
            label=self.label[:features],
            sums=self.sums[:features],
            notes=self.notes[:features],
        )


class Open(NamedTuple):
    """The features of a band, for joining those that are not complete.

    In the order of :func:`~geounet.polygonize.front.join_band`.
    """

    closed: NDArray[np.uint8]
    feature_start: NDArray[np.int64]
    feature_order: NDArray[np.int32]
    start: NDArray[np.int64]
    order: NDArray[np.int32]
    pinched: NDArray[np.uint8]
    halves: NDArray[np.int32]
    path_span: NDArray[np.int64]
    path_ports: NDArray[np.int32]
    span: NDArray[np.int64]
    vertices: NDArray[np.int64]
    label: NDArray[np.int32]
    sums: NDArray[np.float64]
    notes: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What a band alone tells."""

    rings: Rings
    """Of the regions that are complete in it."""
    open: Open
    """All of it."""

    @property
    def steps(self) -> int:
        """Most vertices of its paths, those where two arcs meet counted twice."""
        return 2 * int((self.open.span[:, 1] - self.open.span[:, 0]).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class BandTracer:
    """Traces bands, in any order and at once.

    Args:
        height: Rows of the raster.
        areas: Of arcs; None: there are none.
        simplify: None: borders follow the pixels.
        smooth: Whether rings are to be smoothed: their vertices are marked then.
        diagonal: Whether what touches at a corner is one feature (8-connectivity).
        cut: Column of nothing that parts no features, see
            :class:`~geounet.polygonize.meridian.Meridian`.
    """

    height: int
    areas: ArcAreas | None = None
    simplify: Tolerance | None = None
    smooth: bool = False
    diagonal: bool = False
    cut: int = NO_CUT

    def __call__(
        self, labels: NDArray[np.int32], row: int, scores: NDArray[np.uint8] | None = None
    ) -> Band:
        """Trace the regions of a band.

        Args:
            labels: (rows + 1, width + 2): the row above the band first, a margin of
                :data:`~geounet.polygonize.corners.OUTSIDE` at either side.
            row: Of the raster, of the first row of the band.
            scores: (rows, width) to be summed, and of which the least is wanted.
        """
        corners = _corners(labels, row)
        arcs = _arcs(corners, labels, row)
        seam = None if self.cut == NO_CUT else partial(join_seam, labels, row, self.cut)
        paths = _paths(corners, arcs, seam, diagonal=self.diagonal)
        sums = np.zeros((len(paths.start) - 1, SUMS))
        notes = np.zeros((len(sums), 2), np.int32)
        half_notes = np.zeros((2 * len(arcs.span), 2), np.int32)
        width = labels.shape[1] - 2
        mark_edges(arcs.span, arcs.sides, arcs.vertices, width, self.height, half_notes)
        sum_paths(paths.halves, paths.span, paths.region_of, arcs.pixels.astype(float), sums[:, 0])
        if self.areas is not None:
            areas = self.areas(row, len(labels) - 1, arcs.span, arcs.vertices)
            sum_paths(paths.halves, paths.span, paths.region_of, areas, sums[:, 1])
        half_scores = np.zeros(len(half_notes))
        if scores is not None:
            half_notes[:, 1] = _MOST
            sum_scores(labels, scores, row, arcs.span, arcs.vertices, half_scores, half_notes)
            notes[:, 1] = _MOST
        add_notes(paths.halves, paths.span, paths.region_of, half_scores, half_notes, sums, notes)
        if self.simplify is not None:
            _simplify(arcs, corners, row, self.height, self.cut, self.simplify)
        if self.smooth:
            mark_junctions(arcs, len(corners.corners))
        exact = self.simplify is None and not self.smooth
        return _band(arcs, paths, sums, notes, exact=exact)


class _Corners(NamedTuple):
    """See :func:`~geounet.polygonize.corners.link_corners`."""

    corners: NDArray[np.int32]
    ports: NDArray[np.int32]
    notches: NDArray[np.int32]
    marks: NDArray[np.uint8]


class _Paths(NamedTuple):
    """See :func:`~geounet.polygonize.faces.trace_paths`; and the regions they bound."""

    halves: NDArray[np.int32]
    span: NDArray[np.int64]
    ports: NDArray[np.int32]
    pinched: NDArray[np.uint8]
    region_of: NDArray[np.int32]
    start: NDArray[np.int64]
    order: NDArray[np.int32]
    closed: NDArray[np.uint8]
    feature_start: NDArray[np.int64]
    feature_order: NDArray[np.int32]


def _corners(labels: NDArray[np.int32], row: int) -> _Corners:
    rows, columns = labels.shape[0] - 1, labels.shape[1] - 1
    marks = np.empty((rows, -(-columns // _WORD) * _WORD), np.uint8)
    marks[:, columns:] = 0
    mark_corners(labels, marks)
    count = int(np.count_nonzero(marks))
    corners = np.empty((count, 8), np.int32)
    ports, notches = np.empty(2 * columns, np.int32), np.empty((count, 2), np.int32)
    last = np.empty(columns, np.int32)
    words = marks.view(np.uint64)
    found = link_corners(labels, marks, words, row, corners, last, ports, notches)
    return _Corners(corners=corners, ports=ports, notches=notches[:found], marks=marks)


def _arcs(corners: _Corners, labels: NDArray[np.int32], row: int) -> Arcs:
    meeting = np.bincount(corners.corners[:, EDGES], minlength=16) * (_DEGREE > 2)
    ended = (int(meeting @ _DEGREE) + int(np.count_nonzero(corners.ports != NONE))) // 2
    turns = len(corners.corners) - int(meeting.sum())
    loops = turns // 4  # a loop has four corners at least
    room = Arcs(
        vertices=np.empty(turns + 2 * ended + loops, np.int64),
        span=np.empty((ended + loops, 2), np.int64),
        ends=np.empty((ended + loops, 4), np.int32),
        sides=np.empty((ended + loops, 2), np.int32),
        pixels=np.empty(ended + loops, np.int64),
    )
    count = trace_arcs(labels, row, corners.corners, corners.ports, *room)
    return room._replace(
        span=room.span[:count],
        ends=room.ends[:count],
        sides=room.sides[:count],
        pixels=room.pixels[:count],
    )


def _paths(
    corners: _Corners, arcs: Arcs, seam: Callable[..., None] | None, *, diagonal: bool
) -> _Paths:
    most = 2 * len(arcs.span)
    path_of = np.full(most, NONE, np.int32)
    halves, span = np.empty(most, np.int32), np.empty((most, 2), np.int64)
    ports, pinched = np.empty((most, 2), np.int32), np.zeros(most, np.uint8)
    count = trace_paths(
        corners.corners, corners.ports, arcs.ends, arcs.sides, path_of, halves, span, ports, pinched
    )
    span, ports = span[:count], ports[:count]
    parents = np.arange(count, dtype=np.int32)
    join_notches(corners.corners, corners.ports, corners.notches, path_of, parents)
    region_of = np.empty(count, np.int32)
    regions = number_sets(parents, region_of)
    start, order = by_set(region_of, regions)
    parents = np.arange(regions, dtype=np.int32)
    if diagonal:
        join_pinches(corners.corners, arcs.sides, path_of, region_of, parents)
    if seam is not None:
        of_half = region_of[path_of]  # of nothing, too, but nobody asks
        seam(arcs, corners.ports, of_half, parents, diagonal=diagonal)
    feature_of = np.empty(regions, np.int32)
    features = number_sets(parents, feature_of)
    feature_start, feature_order = by_set(feature_of, features)
    closed = np.ones(features, np.uint8)
    closed[feature_of[region_of[ports[:, 1] != RING]]] = 0
    return _Paths(
        halves=halves,
        span=span,
        ports=ports,
        pinched=pinched[:count],
        region_of=region_of,
        start=start,
        order=order,
        closed=closed,
        feature_start=feature_start,
        feature_order=feature_order,
    )


def _simplify(
    arcs: Arcs, corners: _Corners, row: int, height: int, cut: int, tolerance: Tolerance
) -> None:
    """Drop vertices of arcs in place."""
    size, columns = len(corners.corners), len(corners.ports) // 2
    corners.marks[0, :columns] |= corners.ports[:columns] != NONE
    keep = np.zeros(len(arcs.vertices), np.uint8)
    kx, ky = tolerance.pixel
    choose_vertices(
        arcs.vertices, arcs.span, arcs.ends, size, columns, tolerance.distance**2, kx, ky,
        corners.marks, row, height, cut, keep,
    )  # fmt: skip
    keep_siblings(arcs.span, arcs.ends, corners.corners, keep)
    drop_vertices(arcs.vertices, arcs.span, keep)


def _band(
    arcs: Arcs, paths: _Paths, sums: NDArray[np.float64], notes: NDArray[np.int32], *, exact: bool
) -> Band:
    first = paths.halves[paths.span[paths.order[paths.start[:-1]], 0]]
    opened = Open(
        closed=paths.closed,
        feature_start=paths.feature_start,
        feature_order=paths.feature_order,
        start=paths.start,
        order=paths.order,
        pinched=paths.pinched,
        halves=paths.halves,
        path_span=paths.span,
        path_ports=paths.ports,
        span=arcs.span,
        vertices=arcs.vertices,
        label=arcs.sides[first >> 1, first & 1],
        sums=sums,
        notes=notes,
    )
    most = 2 * int((arcs.span[:, 1] - arcs.span[:, 0]).sum())
    paths_and_splits = most // 3 + len(paths.order)
    rings = Rings.room(most + len(paths.order), paths_and_splits, len(sums), len(paths.closed))
    features = closed_features(*opened, exact, np.empty(most, np.int64), *rings)
    return Band(rings=rings.trimmed(features), open=opened)
