"""Compiled: parts and features that are open, and how two become one.

A part is a region whose pixels hang together by their sides, a feature is what gets a row in the
layer: one part, or with 8-connectivity all that touch at corners.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import callee
from geounet.polygonize.corners import NONE
from geounet.polygonize.faces import find
from geounet.polygonize.pools import (
    AFTER,
    BEFORE,
    COUNT,
    EDGE,
    FEATURE,
    FEATURES,
    FIRST,
    FIRST_PART,
    LABEL,
    LAST,
    LAST_PART,
    LEAST,
    OPEN,
    PARTS,
    PINCHED,
    RINGS,
    give,
    take,
)


@callee
def new_feature(f: Any, label: int) -> int:
    """A feature without a part."""
    feature = take(f.used[FEATURES], f.free_features)
    record = f.features[feature]
    record[COUNT], record[OPEN], record[LABEL] = 0, 0, label
    record[FIRST_PART] = record[LAST_PART] = NONE
    return feature


@callee
def new_part(f: Any, feature: int, sums: Any, notes: Any) -> int:
    """A part of a feature, with what is known of a region."""
    slot = take(f.used[PARTS], f.free_parts)
    part, record = f.parts[slot], f.features[feature]
    f.parents[slot] = slot
    part[FIRST] = part[LAST] = part[AFTER] = NONE
    part[PINCHED], part[EDGE], part[LEAST] = 0, notes[0], notes[1]
    part[FEATURE], part[BEFORE] = feature, record[LAST_PART]
    if record[LAST_PART] == NONE:
        record[FIRST_PART] = slot
    else:
        f.parts[record[LAST_PART], AFTER] = slot
    record[LAST_PART] = slot
    record[COUNT] += 1
    for k in range(len(sums)):
        f.sums[slot, k] = sums[k]
    return slot


@callee
def _merge(f: Any, a: int, b: int) -> int:
    """One feature of two; the shorter list of parts is put after the other."""
    if a == b:
        return a
    if f.features[a, COUNT] < f.features[b, COUNT]:
        a, b = b, a
    one, other = f.features[a], f.features[b]
    part = other[FIRST_PART]
    while part != NONE:
        f.parts[part, FEATURE] = a
        part = f.parts[part, AFTER]
    f.parts[one[LAST_PART], AFTER] = other[FIRST_PART]
    f.parts[other[FIRST_PART], BEFORE] = one[LAST_PART]
    one[LAST_PART] = other[LAST_PART]
    one[COUNT] += other[COUNT]
    one[OPEN] += other[OPEN]
    give(f.used[FEATURES], f.free_features, b)
    return a


@callee
def _unlink(f: Any, part: int) -> None:
    """Take a part out of its feature, which has others."""
    feature = f.features[f.parts[part, FEATURE]]
    before, after = f.parts[part, BEFORE], f.parts[part, AFTER]
    if before == NONE:
        feature[FIRST_PART] = after
    else:
        f.parts[before, AFTER] = after
    if after == NONE:
        feature[LAST_PART] = before
    else:
        f.parts[after, BEFORE] = before
    feature[COUNT] -= 1


@callee
def unite_parts(f: Any, a: int, b: int, dropped: Any, count: int) -> int:
    """One part of two; the other is freed when nothing refers to it any more."""
    a, b = find(f.parents, a), find(f.parents, b)
    if a == b:
        return count
    _merge(f, np.int64(f.parts[a, FEATURE]), np.int64(f.parts[b, FEATURE]))
    _unlink(f, b)
    one, other = f.parts[a], f.parts[b]
    f.parents[b] = a
    if other[FIRST] != NONE:
        if one[FIRST] == NONE:
            one[FIRST] = other[FIRST]
        else:
            f.rings[one[LAST], 1] = other[FIRST]
        one[LAST] = other[LAST]
    one[PINCHED] |= other[PINCHED]
    one[EDGE] |= other[EDGE]
    one[LEAST] = min(one[LEAST], other[LEAST])
    for k in range(f.sums.shape[1]):
        f.sums[a, k] += f.sums[b, k]
    dropped[count] = b
    return count + 1


@callee
def add_open(f: Any, part: int, ends: int) -> None:
    """Add to the open ends of a part's feature."""
    f.features[f.parts[find(f.parents, part), FEATURE], OPEN] += ends


@callee
def hang_ring(f: Any, part: int, chunk: int) -> None:
    """A closed ring of a part."""
    ring = take(f.used[RINGS], f.free_rings)
    f.rings[ring, 0], f.rings[ring, 1] = chunk, NONE
    record = f.parts[find(f.parents, part)]
    if record[FIRST] == NONE:
        record[FIRST] = ring
    else:
        f.rings[record[LAST], 1] = ring
    record[LAST] = ring
