"""Compiled: runs of vertices packed to about a byte a vertex, in linked blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import callee
from geounet.polygonize.corners import NONE, ROW
from geounet.polygonize.pools import BLOCKS, CHUNKS, PAYLOAD, give, take
from geounet.polygonize.rings import LOW


@callee
def pack(f: Any, raw: Any, size: int, free: int) -> int:
    """A chunk of these vertices.

    A step is (zigzag << 2 | kind) in 7 bits a byte, the last byte below 128; kind 0 along a row, 1
    along a column, 2 both, with a second number for the rows.
    """
    chunk = take(f.used[CHUNKS], f.free_chunks)
    block = take(f.used[BLOCKS], f.free_blocks)
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
                following = take(f.used[BLOCKS], f.free_blocks)
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
def unpack(f: Any, chunk: int, raw: Any, top: int) -> int:
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
            give(f.used[BLOCKS], f.free_blocks, block)
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
    give(f.used[BLOCKS], f.free_blocks, block)
    give(f.used[CHUNKS], f.free_chunks, chunk)
    return top
