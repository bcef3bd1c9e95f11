"""Compiled: the regions that reach below the bands so far, and how the next band goes on with them.

Their boundary is kept as *chunks*: runs of vertices packed to about a byte a vertex, in linked
blocks. A strand that waits at a port for its other part has an *end* there, at its head or its
tail; the ends of one strand know each other. So memory follows what is open, not the raster.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.corners import NONE, ROW
from geounet.polygonize.faces import RING, find
from geounet.polygonize.regions import copy_path
from geounet.polygonize.rings import LOW, add_rings

PAYLOAD = 60
"""Bytes of a block: with its link 64."""

STEP_BYTES = 13
"""Most bytes of a packed step."""

BLOCKS, CHUNKS, ENDS, RINGS, PARTS, FEATURES = 0, 1, 2, 3, 4, 5
"""Pools, rows of ``Front.used``; its columns are slots ever used, and slots that are free again.

A part is a region whose pixels hang together by their sides, a feature is what gets a row in the
layer: one part, or with 8-connectivity all that touch at corners.
"""

FIRST, LAST, PINCHED, EDGE, LEAST, FEATURE, BEFORE, AFTER = 0, 1, 2, 3, 4, 5, 6, 7
"""Columns of ``Front.parts``."""

COUNT, OPEN, FIRST_PART, LAST_PART, LABEL = 0, 1, 2, 3, 4
"""Columns of ``Front.features``."""


class Front(NamedTuple):
    """Pools of records, each with a stack of free slots."""

    used: NDArray[np.int64]
    """(6, 2)."""
    free_blocks: NDArray[np.int32]
    free_chunks: NDArray[np.int32]
    free_ends: NDArray[np.int32]
    free_rings: NDArray[np.int32]
    free_parts: NDArray[np.int32]
    free_features: NDArray[np.int32]
    block_next: NDArray[np.int32]
    """The next block of the chunk, or NONE."""
    bytes: NDArray[np.uint8]
    """(blocks * PAYLOAD,) packed steps."""
    chunk_vertex: NDArray[np.int64]
    """The first vertex."""
    chunks: NDArray[np.int32]
    """(chunks, 4) vertices, first block, next chunk or NONE; whether its first (1) and its last
    vertex (2) are there only because a band ends."""
    ends: NDArray[np.int32]
    """(ends, 3) the other end of the strand, its chunk there, its part."""
    rings: NDArray[np.int32]
    """(rings, 2) first chunk, next ring of the part or NONE."""
    parents: NDArray[np.int32]
    """Union-find over parts."""
    parts: NDArray[np.int32]
    """(parts, 8) first and last ring, whether pinched, whether at the edge of the raster, least
    score, feature, part before and after it in the feature."""
    sums: NDArray[np.float64]
    """(parts, 3) pixels, area, score."""
    features: NDArray[np.int32]
    """(features, 5) number of parts, open ends, first and last part, label."""


@callee
def _take(used: Any, free: Any) -> int:
    if used[1] > 0:
        used[1] -= 1
        return np.int64(free[used[1]])
    used[0] += 1
    return used[0] - 1


@callee
def _give(used: Any, free: Any, slot: int) -> None:
    free[used[1]] = slot
    used[1] += 1


@callee
def _pack(f: Any, raw: Any, size: int, free: int) -> int:
    """A chunk of these vertices.

    A step is (zigzag << 2 | kind) in 7 bits a byte, the last byte below 128; kind 0 along a row, 1
    along a column, 2 both, with a second number for the rows.
    """
    chunk = _take(f.used[CHUNKS], f.free_chunks)
    block = _take(f.used[BLOCKS], f.free_blocks)
    f.chunk_vertex[chunk] = raw[0]
    f.chunks[chunk, 0], f.chunks[chunk, 1] = size, block
    f.chunks[chunk, 2], f.chunks[chunk, 3] = NONE, free
    bytes_, at = f.bytes, block * PAYLOAD
    end = at + PAYLOAD
    for k in range(1, size):
        cols = (raw[k] & LOW) - (raw[k - 1] & LOW)
        rows = (raw[k] >> ROW) - (raw[k - 1] >> ROW)
        kind = 0 if rows == 0 else 1 if cols == 0 else 2
        step = rows if kind == 1 else cols
        value = (step << 1 ^ step >> 63) << 2 | kind
        while True:
            if at == end:
                following = _take(f.used[BLOCKS], f.free_blocks)
                f.block_next[block] = following
                block, at = following, following * PAYLOAD
                end = at + PAYLOAD
            if value < 128:
                bytes_[at] = value
                at += 1
                if kind != 2:
                    break
                kind = 1
                value = (rows << 1 ^ rows >> 63) << 2 | kind
            else:
                bytes_[at] = value & 127 | 128
                at += 1
                value >>= 7
    f.block_next[block] = NONE
    return chunk


@callee
def _unpack(f: Any, chunk: int, raw: Any, top: int) -> int:
    """Append the vertices of a chunk, which is freed."""
    block = np.int64(f.chunks[chunk, 1])
    vertex = f.chunk_vertex[chunk]
    raw[top] = vertex
    top += 1
    bytes_, at = f.bytes, block * PAYLOAD
    end = at + PAYLOAD
    value = shift = np.int64(0)
    left = np.int64(f.chunks[chunk, 0]) - 1
    while left > 0:
        if at == end:
            after = np.int64(f.block_next[block])
            _give(f.used[BLOCKS], f.free_blocks, block)
            block, at = after, after * PAYLOAD
            end = at + PAYLOAD
        byte = np.int64(bytes_[at])
        at += 1
        value |= (byte & 127) << shift
        if byte > 127:
            shift += 7
            continue
        step = value >> 3 ^ -(value >> 2 & 1)
        vertex += step << ROW if value & 1 else step
        if value & 2 == 0:
            raw[top] = vertex
            top += 1
            left -= 1
        value = shift = np.int64(0)
    _give(f.used[BLOCKS], f.free_blocks, block)
    _give(f.used[CHUNKS], f.free_chunks, chunk)
    return top


@callee
def _new_end(f: Any, chunk: int, region: int) -> int:
    end = _take(f.used[ENDS], f.free_ends)
    f.ends[end, 1], f.ends[end, 2] = chunk, region
    return end


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
    _give(f.used[FEATURES], f.free_features, b)
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
def _unite(f: Any, a: int, b: int, dropped: Any, count: int) -> int:
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
def _open(f: Any, part: int, ends: int) -> None:
    """Add to the open ends of a part's feature."""
    f.features[f.parts[find(f.parents, part), FEATURE], OPEN] += ends


@callee
def _hang(f: Any, part: int, chunk: int) -> None:
    """A closed ring of a part."""
    ring = _take(f.used[RINGS], f.free_rings)
    f.rings[ring, 0], f.rings[ring, 1] = chunk, NONE
    record = f.parts[find(f.parents, part)]
    if record[FIRST] == NONE:
        record[FIRST] = ring
    else:
        f.rings[record[LAST], 1] = ring
    record[LAST] = ring


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
        count = _unite(f, part, np.int64(f.ends[tail, 2]), dropped, count)
        count = _unite(f, part, np.int64(f.ends[head, 2]), dropped, count)
        f.chunks[f.ends[tail, 1], 2] = chunk
        first, last = np.int64(f.ends[tail, 0]), np.int64(f.ends[head, 0])
        if first == head:
            _hang(f, part, np.int64(f.ends[head, 1]))
        else:
            f.chunks[chunk, 2] = f.ends[head, 1]
            f.ends[first, 0], f.ends[last, 0] = last, first
        _give(f.used[ENDS], f.free_ends, tail)
        _give(f.used[ENDS], f.free_ends, head)
        _open(f, part, np.int64(-2))
    elif above[0]:
        tail = np.int64(tails[0, entry])
        count = _unite(f, part, np.int64(f.ends[tail, 2]), dropped, count)
        f.chunks[f.ends[tail, 1], 2] = chunk
        f.ends[tail, 1] = chunk
        tails[1, leave - columns] = tail
    elif above[1]:
        head = np.int64(heads[0, leave])
        count = _unite(f, part, np.int64(f.ends[head, 2]), dropped, count)
        f.chunks[chunk, 2] = f.ends[head, 1]
        f.ends[head, 1] = chunk
        heads[1, entry - columns] = head
    else:
        head, tail = _new_end(f, chunk, part), _new_end(f, chunk, part)
        f.ends[head, 0], f.ends[tail, 0] = tail, head
        _open(f, part, np.int64(2))
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


@callee
def _new_feature(f: Any, label: int) -> int:
    feature = _take(f.used[FEATURES], f.free_features)
    record = f.features[feature]
    record[COUNT], record[OPEN], record[LABEL] = 0, 0, label
    record[FIRST_PART] = record[LAST_PART] = NONE
    return feature


@callee
def _new_part(f: Any, feature: int, sums: Any, notes: Any) -> int:
    slot = _take(f.used[PARTS], f.free_parts)
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
        whole = _new_feature(f, label[feature_order[feature_start[feature]]])
        for j in range(feature_start[feature], feature_start[feature + 1]):
            region = feature_order[j]
            part = _new_part(f, whole, sums[region], notes[region])
            if j == feature_start[feature]:
                slots[feature] = part
            for k in range(start[region], start[region + 1]):
                path = order[k]
                size = copy_path(halves, path_span[path], span, vertices, raw)
                free = _free_ends(halves, path_span[path], path_ports[path], span, heads.shape[1])
                chunk = _pack(f, raw, size, free)
                f.parts[find(f.parents, part), PINCHED] |= pinched[path]
                if path_ports[path, 1] == RING:
                    _hang(f, part, chunk)
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
        _give(f.used[PARTS], f.free_parts, np.int64(dropped[k]))
    return found


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
        size = _unpack(f, chunk, raw, size)
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
                _give(f.used[RINGS], f.free_rings, ring)
                ring = after
            part_stops[parts] = rings
            parts += 1
            for k in range(f.sums.shape[1]):
                sums[feature, k] += f.sums[part, k]
            notes[feature, 0] |= f.parts[part, EDGE]
            notes[feature, 1] = min(notes[feature, 1], f.parts[part, LEAST])
            after = np.int64(f.parts[part, AFTER])
            _give(f.used[PARTS], f.free_parts, part)
            part = after
        feature_stops[feature] = parts
        _give(f.used[FEATURES], f.free_features, np.int64(slots[feature]))
