"""Compiled: the regions of a band, those that are complete in it and those that are not."""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.faces import find
from geounet.polygonize.rings import add_rings


@jit()
def number_sets(parents: Any, set_of: Any) -> int:
    """Number the sets of a union-find by their first item; how many there are.

    Args:
        parents: (items,) of which the first of each set is the root.
        set_of: (items,) int32, filled.
    """
    sets = 0
    for item in range(len(parents)):
        root = find(parents, item)
        if root == item:
            set_of[item] = sets
            sets += 1
        else:
            set_of[item] = set_of[root]
    return sets


@jit()
def sum_paths(halves: Any, span: Any, region_of: Any, arc_values: Any, region_values: Any) -> None:
    """Add the value of each arc to the region on its left, and take it from that on its right."""
    for path in range(len(span)):
        total = region_values[region_of[path]]
        for k in range(span[path, 0], span[path, 1]):
            half = halves[k]
            value = arc_values[half >> 1]
            total += -value if half & 1 else value
        region_values[region_of[path]] = total


@jit()
def add_notes(
    halves: Any, span: Any, region_of: Any, half_scores: Any, half_notes: Any, sums: Any, notes: Any
) -> None:
    """Add to each region the score of its halves, the least one, and whether it is at an edge."""
    for path in range(len(span)):
        region = region_of[path]
        for k in range(span[path, 0], span[path, 1]):
            half = halves[k]
            sums[region, 2] += half_scores[half]
            notes[region, 0] |= half_notes[half, 0]
            notes[region, 1] = min(notes[region, 1], half_notes[half, 1])


@callee
def copy_path(halves: Any, path: Any, span: Any, vertices: Any, raw: Any) -> int:
    """The vertices of a path, where two halves meet but once; how many there are."""
    top = 0
    for k in range(path[0], path[1]):
        half = halves[k]
        low, high = span[half >> 1, 0], span[half >> 1, 1]
        top = max(top - 1, 0)
        if half & 1:
            for i in range(high - 1, low - 1, -1):
                raw[top] = vertices[i]
                top += 1
        else:
            for i in range(low, high):
                raw[top] = vertices[i]
                top += 1
    return top


@jit()
def closed_features(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    closed: Any,
    feature_start: Any,
    feature_order: Any,
    start: Any,
    order: Any,
    pinched: Any,
    halves: Any,
    path_span: Any,
    path_ports: Any,  # noqa: ARG001  as in join_band, which takes the same
    span: Any,
    vertices: Any,
    region_label: Any,
    region_sums: Any,
    region_notes: Any,
    exact: bool,
    raw: Any,
    out: Any,
    stops: Any,
    outer: Any,
    part_stops: Any,
    feature_stops: Any,
    label: Any,
    sums: Any,
    notes: Any,
) -> int:
    """The rings of every feature that is complete; how many there are of those."""
    top = rings = parts = np.int64(0)
    found = 0
    for feature in range(len(closed)):
        if not closed[feature]:
            continue
        first = feature_order[feature_start[feature]]
        label[found] = region_label[first]
        sums[found] = 0
        notes[found, 0], notes[found, 1] = 0, region_notes[first, 1]
        for j in range(feature_start[feature], feature_start[feature + 1]):
            region = feature_order[j]
            for k in range(start[region], start[region + 1]):
                path = order[k]
                size = copy_path(halves, path_span[path], span, vertices, raw)
                pinch = pinched[path] != 0
                top, rings = add_rings(raw, size, pinch, exact, out, stops, outer, top, rings)
            part_stops[parts] = rings
            parts += 1
            for k in range(sums.shape[1]):
                sums[found, k] += region_sums[region, k]
            notes[found, 0] |= region_notes[region, 0]
            notes[found, 1] = min(notes[found, 1], region_notes[region, 1])
        feature_stops[found] = parts
        found += 1
    return found
