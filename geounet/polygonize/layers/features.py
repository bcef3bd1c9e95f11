"""Compiled: polygons and their fields as features of a FlatGeobuf.

A feature is a FlatBuffer behind its size (https://flatgeobuf.org, https://flatbuffers.dev/internals):
tables say in a small table of their own (the vtable) where each of their fields lies. Here the
parts of a feature stand in one fixed order, each before what it points to, in words of 4 bytes. Its
place is counted in words as well: ``words[at]`` is the number there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.layers.boxes import KINDS, u32
from geounet.polygonize.layers.fields import BOOL, INT32, REAL, TEXT, Fields
from geounet.polygonize.layers.pages import copy
from geounet.polygonize.layers.room import Room

_HEAD = 28  # bytes of a feature before its geometry

# a table of three words, the first of which points back to its vtable, and the places of two fields
_BOTH = (8 | 12 << 16, 4 | 8 << 16)
_SECOND = (8 | 12 << 16, 8 << 16)


def features(
    chunk: PolygonBatch, fields: Fields, order: NDArray[np.int64], geometry_type: str, room: Room
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Features in this order, one after the other, and (n + 1,) where each starts; in ``room``."""
    count, columns = fields.words.shape
    a_feature = _HEAD + 48 + columns * 14 + (fields.longest if TEXT in fields.kinds else 0)
    # a ring takes 4 bytes in either form, a part 9 there and at most 44 here
    geometry = len(chunk.wkb) * (1 if geometry_type == "Polygon" else 2)
    out = room.of((geometry + count * a_feature) // 8 * 8 + 8)
    starts = np.zeros(count + 1, np.int64)
    tables = fields.kinds, fields.words, fields.texts, fields.stops
    wkb = np.ascontiguousarray(chunk.wkb)
    _features(wkb, chunk.offsets, *tables, order, KINDS[geometry_type], out, starts)
    return out[: starts[-1]], starts


@jit()
def _features(  # noqa: PLR0913  arrays, not a tuple of them: see jit
    wkb: Any,
    offsets: Any,
    kinds: Any,
    values: Any,
    texts: Any,
    stops: Any,
    order: Any,
    kind: int,
    out: Any,
    starts: Any,
) -> None:
    words = out.view(np.int32)
    for k in range(len(order)):
        row, top = order[k], starts[k] // 4
        words[top + 1] = 12  # to the table of the feature: geometry, properties
        words[top + 2], words[top + 3] = _BOTH
        words[top + 4] = 8
        at, begin = top + 7, offsets[row]
        if kind == 3:
            words[top + 5] = 16  # to the table of the geometry, behind its vtable
            at, begin = _polygon(wkb, begin, out, words, at)
        else:
            at = _multipolygon(wkb, begin, out, words, top, at)
        words[top + 6] = 4 * (at - top - 6)
        begin = 4 * at + 4
        end = begin
        for j in range(len(kinds)):
            end = _property(out, end, j, kinds[j], values[row, j], texts, stops)
        words[at] = end - begin
        while end % 8:
            out[end] = 0
            end += 1
        words[top] = end - 4 * top - 4
        starts[k + 1] = end


@callee
def _polygon(wkb: Any, begin: int, out: Any, words: Any, at: int) -> tuple[int, int]:
    """Write the polygon at ``begin``; returns where to go on in ``words`` and in ``wkb``."""
    rings = u32(wkb, begin + 5)
    words[at], words[at + 1] = _BOTH if rings > 1 else _SECOND  # ends of the rings, coordinates
    words[at + 2], words[at + 3] = 8, 8
    pointer = at + 4
    at += 5
    if rings > 1:
        words[at] = rings
        total, ring = 0, begin + 9
        for k in range(1, rings + 1):
            corners = u32(wkb, ring)
            total += corners
            ring += 4 + 16 * corners
            words[at + k] = total
        at += 1 + rings
    if at % 2 == 0:  # coordinates begin at a multiple of 8 bytes
        words[at] = 0
        at += 1
    words[pointer] = 4 * (at - pointer)
    size = at
    begin += 9
    for _ in range(rings):
        stop = begin + 4 + 16 * u32(wkb, begin)
        copy(out, 4 * at + 4, wkb, begin + 4, stop)
        at += (stop - begin - 4) // 4
        begin = stop
    words[size] = (at - size) // 2
    return at + 1, begin


@callee
def _multipolygon(wkb: Any, begin: int, out: Any, words: Any, top: int, at: int) -> int:
    """Write the multipolygon at ``begin``; returns where to go on in ``words``."""
    parts = u32(wkb, begin + 5)
    # a vtable of eight fields, the last of which are the parts
    words[at] = 20 | 8 << 16
    words[at + 1 : at + 4] = 0
    words[at + 4] = 4 << 16
    at += 5
    words[top + 5] = 4 * (at - top - 5)
    words[at], words[at + 1], words[at + 2] = 20, 4, parts
    pointer = at + 3
    at = pointer + parts
    begin += 9
    for _ in range(parts):
        if at % 2 == 0:
            words[at] = 0
            at += 1
        words[pointer] = 4 * (at + 2 - pointer)  # a polygon begins with its vtable
        pointer += 1
        at, begin = _polygon(wkb, begin, out, words, at)
    return at


@callee
def _property(out: Any, at: int, column: int, kind: int, value: int, texts: Any, stops: Any) -> int:
    """Write a value behind the number of its column; NaN is none."""
    if kind == REAL and value & 0x7FFFFFFFFFFFFFFF > 0x7FF0000000000000:
        return at
    # np.int64: or numba compiles the callee once more for each constant
    at = _put_le(out, at, np.int64(2), column)
    if kind == TEXT:
        at = _put_le(out, at, np.int64(4), stops[value + 1] - stops[value])
        return copy(out, at, texts, stops[value], stops[value + 1])
    return _put_le(out, at, np.int64(1 if kind == BOOL else 4 if kind == INT32 else 8), value)


@callee
def _put_le(out: Any, at: int, size: Any, value: int) -> int:
    for k in range(size):
        out[at + k] = np.uint8(value >> 8 * k & 255)
    return at + size
