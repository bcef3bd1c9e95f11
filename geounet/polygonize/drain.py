"""Compiled: complete features out of the pools."""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import NONE
from geounet.polygonize.packing import unpack
from geounet.polygonize.pools import (
    AFTER,
    EDGE,
    FEATURES,
    FIRST,
    FIRST_PART,
    LABEL,
    LEAST,
    PARTS,
    PINCHED,
    RINGS,
    give,
)
from geounet.polygonize.rings import add_rings


@jit()
def measure(f: Any, slots: Any) -> tuple[int, int, int, int]:
    """Vertices, rings and parts of complete features, and vertices of their longest ring."""
    vertices = rings = parts = longest = 0
    for feature in range(len(slots)):
        part = f.features[slots[feature], FIRST_PART]
        while part != NONE:
            parts += 1
            ring = f.parts[part, FIRST]
            while ring != NONE:
                size, chunk = 0, f.rings[ring, 0]
                while chunk != NONE:
                    size += f.chunks[chunk, 0]
                    chunk = f.chunks[chunk, 2]
                vertices += size
                longest = max(longest, size)
                rings += 1
                ring = f.rings[ring, 1]
            part = f.parts[part, AFTER]
    return vertices, rings, parts, longest


@callee
def _unpack_ring(f: Any, ring: int, marked: bool, raw: Any) -> int:
    """The vertices of a ring, whose chunks are freed; ``~v`` where only the end of a band was.

    That is not told of vertices that are marked.
    """
    size, chunk, free = np.int64(0), np.int64(f.rings[ring, 0]), 0
    opening = f.chunks[chunk, 3] & 1
    while chunk != NONE:
        after, start = np.int64(f.chunks[chunk, 2]), size
        both = free & f.chunks[chunk, 3] & 1
        free = f.chunks[chunk, 3] >> 1
        size = unpack(f, chunk, raw, size)
        if marked and start > 0:
            # only the lower band knows that the vertex where two meet is a junction
            raw[start - 1] = raw[start] = raw[start - 1] | raw[start]
        if both and not marked:
            raw[start] = ~raw[start]
        chunk = after
    if marked:
        raw[0] = raw[size - 1] = raw[0] | raw[size - 1]
    if opening and free and not marked:
        raw[0] = ~raw[0]
    return size


@jit()
def drain(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    f: Any, slots: Any, exact: bool, marked: bool, raw: Any, out: Any, stops: Any, outer: Any,
    part_stops: Any, feature_stops: Any, label: Any, sums: Any, notes: Any,
) -> None:  # fmt: skip
    """The rings of complete features, which are freed."""
    top = rings = parts = np.int64(0)
    for feature in range(len(slots)):
        label[feature] = f.features[slots[feature], LABEL]
        part = np.int64(f.features[slots[feature], FIRST_PART])
        sums[feature] = 0
        notes[feature, 0], notes[feature, 1] = 0, f.parts[part, LEAST]
        while part != NONE:
            ring = np.int64(f.parts[part, FIRST])
            while ring != NONE:
                size = _unpack_ring(f, ring, marked, raw)
                top, rings = add_rings(
                    raw, size, f.parts[part, PINCHED] != 0, exact, out, stops, outer, top, rings
                )
                after = np.int64(f.rings[ring, 1])
                give(f.used[RINGS], f.free_rings, ring)
                ring = after
            part_stops[parts] = rings
            parts += 1
            for k in range(f.sums.shape[1]):
                sums[feature, k] += f.sums[part, k]
            notes[feature, 0] |= f.parts[part, EDGE]
            notes[feature, 1] = min(notes[feature, 1], f.parts[part, LEAST])
            after = np.int64(f.parts[part, AFTER])
            give(f.used[PARTS], f.free_parts, part)
            part = after
        feature_stops[feature] = parts
        give(f.used[FEATURES], f.free_features, np.int64(slots[feature]))
