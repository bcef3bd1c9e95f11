"""Compiled: polygons and their fields as features of a FlatGeobuf.

A feature is a FlatBuffer behind its size (https://flatgeobuf.org, https://flatbuffers.dev/internals):
tables say in a small table of their own (the vtable) where each of their fields lies. Here the
parts of a feature stand in one fixed order, each before what it points to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.compiled import jit
from geounet.polygonize.layers.boxes import KINDS, u32
from geounet.polygonize.layers.fields import BOOL, INT32, REAL, TEXT, Fields
from geounet.polygonize.layers.pages import copy

_HEAD = 28  # bytes of a feature before its geometry


def features(
    chunk: PolygonBatch, fields: Fields, order: NDArray[np.int64], geometry_type: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Features in this order, one after the other, and (n + 1,) where each starts."""
    count, columns = fields.words.shape
    a_feature = _HEAD + 48 + columns * 14 + (fields.longest if TEXT in fields.kinds else 0)
    # a ring takes 4 bytes in either form, a part 9 there and at most 44 here
    geometry = len(chunk.wkb) * (1 if geometry_type == "Polygon" else 2)
    out = np.empty(geometry + count * a_feature, np.uint8)
    starts = np.zeros(count + 1, np.int64)
    tables = fields.kinds, fields.words, fields.texts, fields.stops
    wkb = np.ascontiguousarray(chunk.wkb)
    _features(wkb, chunk.offsets, *tables, order, KINDS[geometry_type], out, starts)
    return out[: starts[-1]], starts


@jit
def put_le(out: Any, at: int, size: int, value: int) -> int:
    """Write a little-endian number of ``size`` bytes; returns where the next goes."""
    for k in range(size):
        out[at + k] = np.uint8(value >> 8 * k & 255)
    return at + size


@jit
def _features(  # noqa: PLR0913  arrays, not a tuple of them: see jit
    wkb: Any,
    offsets: Any,
    kinds: Any,
    words: Any,
    texts: Any,
    stops: Any,
    order: Any,
    kind: int,
    out: Any,
    starts: Any,
) -> None:
    top = 0
    for k in range(len(order)):
        row = order[k]
        at = put_le(out, top + 4, 4, top + 16 - (top + 4))
        at = _vtable(out, at, 12, 4, 8)  # geometry, properties
        at = put_le(out, at, 4, 8)
        at = put_le(out, at, 4, 16)  # the geometry follows this table, its vtable first
        properties = at
        at += 4
        begin = offsets[row]
        if kind == 3:
            at, begin = _polygon(wkb, begin, out, at, top)
        else:
            at = _multipolygon(wkb, begin, out, at, top)
        put_le(out, properties, 4, at - properties)
        size = at
        at += 4
        for j in range(len(kinds)):
            at = _property(out, at, j, kinds[j], words[row, j], texts, stops)
        put_le(out, size, 4, at - size - 4)
        at = _pad(out, at, top, 0)
        put_le(out, top, 4, at - top - 4)
        top = at
        starts[k + 1] = top


@jit
def _vtable(out: Any, at: int, size: int, first: int, second: int) -> int:
    """Of a table of ``size`` bytes: where in it the first and the second field are; 0: nowhere."""
    at = put_le(out, at, 2, 8)
    at = put_le(out, at, 2, size)
    at = put_le(out, at, 2, first)
    return put_le(out, at, 2, second)


@jit
def _pad(out: Any, at: int, top: int, rest: int) -> int:
    """Zeros until a place that is ``rest`` behind a multiple of 8."""
    while (at - top) % 8 != rest:
        out[at] = 0
        at += 1
    return at


@jit
def _polygon(wkb: Any, begin: int, out: Any, at: int, top: int) -> tuple[int, int]:
    """Write the polygon at ``begin``; returns where to go on in ``out`` and in ``wkb``."""
    rings = u32(wkb, begin + 5)
    at = _vtable(out, at, 12, 4 if rings > 1 else 0, 8)  # ends of the rings, coordinates
    at = put_le(out, at, 4, 8)
    ends = at
    at += 8
    if rings > 1:
        put_le(out, ends, 4, at - ends)
        at = put_le(out, at, 4, rings)
        total, ring = 0, begin + 9
        for _ in range(rings):
            corners = u32(wkb, ring)
            total += corners
            ring += 4 + 16 * corners
            at = put_le(out, at, 4, total)
    else:
        put_le(out, ends, 4, 0)
    at = _pad(out, at, top, 4)
    put_le(out, ends + 4, 4, at - ends - 4)
    size = at
    at += 4
    begin += 9
    for _ in range(rings):
        stop = begin + 4 + 16 * u32(wkb, begin)
        at = copy(out, at, wkb, begin + 4, stop)
        begin = stop
    put_le(out, size, 4, (at - size - 4) // 8)
    return at, begin


@jit
def _multipolygon(wkb: Any, begin: int, out: Any, at: int, top: int) -> int:
    """Write the multipolygon at ``begin``; returns where to go on in ``out``."""
    parts = u32(wkb, begin + 5)
    at = put_le(out, at, 2, 20)
    at = put_le(out, at, 2, 8)
    for field in range(8):  # the parts are the last field
        at = put_le(out, at, 2, 4 if field == 7 else 0)
    # what points to the geometry was written as if its vtable had 8 bytes
    put_le(out, top + 20, 4, at - top - 20)
    at = put_le(out, at, 4, 20)
    at = put_le(out, at, 4, 4)
    at = put_le(out, at, 4, parts)
    pointers = at
    at += 4 * parts
    begin += 9
    for part in range(parts):
        at = _pad(out, at, top, 4)
        pointer = pointers + 4 * part
        put_le(out, pointer, 4, at + 8 - pointer)  # a polygon begins with its vtable
        at, begin = _polygon(wkb, begin, out, at, top)
    return at


@jit
def _property(out: Any, at: int, column: int, kind: int, word: int, texts: Any, stops: Any) -> int:
    """Write a value behind the number of its column; NaN is none."""
    if kind == REAL and word & 0x7FFFFFFFFFFFFFFF > 0x7FF0000000000000:
        return at
    at = put_le(out, at, 2, column)
    if kind == TEXT:
        at = put_le(out, at, 4, stops[word + 1] - stops[word])
        return copy(out, at, texts, stops[word], stops[word + 1])
    return put_le(out, at, 1 if kind == BOOL else 4 if kind == INT32 else 8, word)
