"""Compiled: the regions that reach below the bands so far, and how the next band goes on with them.

Their boundary is kept as *chunks*: runs of vertices packed to about a byte a vertex, in linked
blocks. A strand that waits at a port for its other part has an *end* there, at its head or its
tail; the ends of one strand know each other. So memory follows what is open, not the raster.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import NONE
from geounet.polygonize.faces import RING, find
from geounet.polygonize.openparts import add_open, hang_ring, new_feature, new_part, unite_parts
from geounet.polygonize.packing import pack
from geounet.polygonize.pools import ENDS, FEATURE, OPEN, PARTS, PINCHED, give, take
from geounet.polygonize.regions import copy_path


@callee
def _new_end(f: Any, chunk: int, region: int) -> int:
    end = take(f.used[ENDS], f.free_ends)
    f.ends[end, 1], f.ends[end, 2] = chunk, region
    return end


@callee
def _join_strand(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    f: Any, heads: Any, tails: Any, part: int, chunk: int, entry: int, leave: int, dropped: Any,
    count: int,
) -> int:  # fmt: skip
    """Put a strand where its ports say; ``heads`` and ``tails`` are (2, columns): above, below."""
    columns = heads.shape[1]
    above = entry < columns, leave < columns
    if above[0] and above[1]:
        tail, head = np.int64(tails[0, entry]), np.int64(heads[0, leave])
        count = unite_parts(f, part, np.int64(f.ends[tail, 2]), dropped, count)
        count = unite_parts(f, part, np.int64(f.ends[head, 2]), dropped, count)
        f.chunks[f.ends[tail, 1], 2] = chunk
        first, last = np.int64(f.ends[tail, 0]), np.int64(f.ends[head, 0])
        if first == head:
            hang_ring(f, part, np.int64(f.ends[head, 1]))
        else:
            f.chunks[chunk, 2] = f.ends[head, 1]
            f.ends[first, 0], f.ends[last, 0] = last, first
        give(f.used[ENDS], f.free_ends, tail)
        give(f.used[ENDS], f.free_ends, head)
        add_open(f, part, np.int64(-2))
    elif above[0]:
        tail = np.int64(tails[0, entry])
        count = unite_parts(f, part, np.int64(f.ends[tail, 2]), dropped, count)
        f.chunks[f.ends[tail, 1], 2] = chunk
        f.ends[tail, 1] = chunk
        tails[1, leave - columns] = tail
    elif above[1]:
        head = np.int64(heads[0, leave])
        count = unite_parts(f, part, np.int64(f.ends[head, 2]), dropped, count)
        f.chunks[chunk, 2] = f.ends[head, 1]
        f.ends[head, 1] = chunk
        heads[1, entry - columns] = head
    else:
        head, tail = _new_end(f, chunk, part), _new_end(f, chunk, part)
        f.ends[head, 0], f.ends[tail, 0] = tail, head
        add_open(f, part, np.int64(2))
        heads[1, entry - columns], tails[1, leave - columns] = head, tail
    return count


@callee
def _free_ends(halves: Any, path: Any, ports: Any, span: Any, columns: int) -> int:
    """Which ends of a path are no corner: an arc from an upper port that is one has one vertex."""
    if ports[1] == RING:
        return 0
    first, last = halves[path[0]] >> 1, halves[path[1] - 1] >> 1
    free = 0
    if ports[0] >= columns or span[first, 1] - span[first, 0] > 1:
        free = 1
    if ports[1] >= columns or span[last, 1] - span[last, 0] > 1:
        free += 2
    return free


@jit()
def join_band(  # noqa: C901, PLR0912, PLR0913  compiled: a tuple of arrays costs compile time
    f: Any,
    heads: Any,
    tails: Any,
    closed: Any,
    feature_start: Any,
    feature_order: Any,
    start: Any,
    order: Any,
    pinched: Any,
    halves: Any,
    path_span: Any,
    path_ports: Any,
    span: Any,
    vertices: Any,
    label: Any,
    sums: Any,
    notes: Any,
    raw: Any,
    slots: Any,
    dropped: Any,
) -> int:
    """Go on with the features of a band that are not complete in it.

    ``slots`` is filled with the complete ones; how many those are.
    """
    count = found = np.int64(0)
    for feature in range(len(feature_start) - 1):
        slots[feature] = NONE
        if closed[feature]:
            continue
        whole = new_feature(f, label[feature_order[feature_start[feature]]])
        for j in range(feature_start[feature], feature_start[feature + 1]):
            region = feature_order[j]
            part = new_part(f, whole, sums[region], notes[region])
            if j == feature_start[feature]:
                slots[feature] = part
            for k in range(start[region], start[region + 1]):
                path = order[k]
                size = copy_path(halves, path_span[path], span, vertices, raw)
                free = _free_ends(halves, path_span[path], path_ports[path], span, heads.shape[1])
                chunk = pack(f, raw, size, free)
                f.parts[find(f.parents, part), PINCHED] |= pinched[path]
                if path_ports[path, 1] == RING:
                    hang_ring(f, part, chunk)
                else:
                    count = _join_strand(
                        f, heads, tails, part, chunk, path_ports[path, 0], path_ports[path, 1],
                        dropped, count,
                    )  # fmt: skip
            whole = np.int64(f.parts[find(f.parents, part), FEATURE])
    for feature in range(len(feature_start) - 1):
        if slots[feature] != NONE:
            whole = np.int64(f.parts[find(f.parents, np.int64(slots[feature])), FEATURE])
            if f.features[whole, OPEN] == 0:
                f.features[whole, OPEN] = NONE  # taken
                slots[found] = whole
                found += 1
    for k in range(heads.shape[1]):
        for ends in (heads, tails):
            end = np.int64(ends[1, k])
            ends[0, k] = end
            ends[1, k] = NONE
            if end != NONE:
                f.ends[end, 2] = find(f.parents, np.int64(f.ends[end, 2]))
    for k in range(count):
        give(f.used[PARTS], f.free_parts, np.int64(dropped[k]))
    return found
