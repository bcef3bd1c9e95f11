"""Vertices that tell whether they are junctions."""

from __future__ import annotations

from geounet.polygonize.arcs import LOOP, Arcs
from geounet.polygonize.rings import LOW


def mark_junctions(arcs: Arcs, corners: int) -> None:
    """Double the columns of vertices in place, one more where three borders meet, or four.

    Whoever sees the rings alone knows then where other borders end.
    """
    vertices, span, ends = arcs.vertices, arcs.span, arcs.ends
    vertices += vertices & LOW
    for end, place in ((ends[:, 0], span[:, 0]), (ends[:, 2], span[:, 1] - 1)):
        vertices[place[(end != LOOP) & (end < corners)]] |= 1
