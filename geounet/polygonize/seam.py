"""Regions that are one across the column at which a raster is cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.arcs import Arcs
from geounet.polygonize.corners import NONE, OUTSIDE, ROW
from geounet.polygonize.faces import unite
from geounet.polygonize.rings import LOW


def join_seam(  # noqa: PLR0913  what a band knows
    labels: NDArray[np.int32],
    row: int,
    cut: int,
    arcs: Arcs,
    ports: NDArray[np.int32],
    region_of_half: NDArray[np.int32],
    parents: NDArray[np.int32],
    *,
    diagonal: bool,
) -> None:
    """Unite the regions left and right of a cut where their labels are the same.

    Args:
        labels: Of the band.
        row: Of the raster, of the first row of the band.
        cut: Column of nothing.
        arcs: Of the band.
        ports: As :func:`~geounet.polygonize.arcs.trace_arcs` left them.
        region_of_half: (halves,).
        parents: Union-find over regions, of which the first of each set is the root.
        diagonal: Whether those that touch at a corner are united, too.
    """
    sides = np.stack(
        [_along(labels, row, edge, arcs, ports, region_of_half) for edge in (cut, cut + 1)]
    )
    left, right = labels[:, cut], labels[:, cut + 2]
    met = [(sides[0], sides[1], left == right)]
    if diagonal:
        met += [
            (sides[0, :-1], sides[1, 1:], left[:-1] == right[1:]),
            (sides[0, 1:], sides[1, :-1], left[1:] == right[:-1]),
        ]
    for one, other, same in met:
        both = same & (one != NONE) & (other != NONE)
        for a, b in np.unique(np.stack([one[both], other[both]]), axis=1).T.tolist():
            unite(parents, a, b)


def _along(
    labels: NDArray[np.int32],
    row: int,
    edge: int,
    arcs: Arcs,
    ports: NDArray[np.int32],
    region_of_half: NDArray[np.int32],
) -> NDArray[np.int32]:
    """(rows + 1,) the region at an edge of the cut, of the row above the band first; or NONE."""
    regions = np.full(len(labels), NONE, np.int32)
    inner = (arcs.sides[:, 0] == OUTSIDE).astype(np.int64)  # the half whose face is no nothing
    if ports[edge] != NONE:
        arc = (-2 - int(ports[edge])) >> 1
        regions[0] = region_of_half[2 * arc + inner[arc]]
    top = int(arcs.span[-1, 1]) if len(arcs.span) else 0
    on = np.flatnonzero(arcs.vertices[:top] & LOW == edge)
    of = np.searchsorted(arcs.span[:, 1], on, side="right")
    follows = (np.diff(on) == 1) & (of[1:] == of[:-1])
    lines = (arcs.vertices[on] >> ROW) - row + 1
    for k in np.flatnonzero(follows).tolist():
        first, last = sorted((int(lines[k]), int(lines[k + 1])))
        regions[first:last] = region_of_half[2 * of[k] + inner[of[k]]]
    return regions
