"""Compiled: polygons and their fields as rows of a GeoPackage.

A row is a record of SQLite's (https://www.sqlite.org/fileformat2.html, section 2.1); a geometry is
well-known binary behind a header that holds its box (OGC 12-128r15, clause 2.1.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.layers.fields import REAL, TEXT, Fields
from geounet.polygonize.layers.pages import copy, put_be, put_varint, varint_size
from geounet.polygonize.layers.room import Room

_BLOB_HEAD = 40


def rows(
    chunk: PolygonBatch, boxes: NDArray[np.float64], fields: Fields, srs: int, room: Room
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Records of the polygons, one after the other, and (n + 1,) where each starts; in ``room``."""
    count, columns = fields.words.shape
    a_row = _BLOB_HEAD + 10 + columns * 17 + (fields.longest if TEXT in fields.kinds else 0)
    out = room.of(len(chunk.wkb) + count * a_row)
    starts = np.zeros(count + 1, np.int64)
    # west, east, south, north
    sides = np.ascontiguousarray(boxes[:, [0, 2, 1, 3]]).view(np.int64)
    wkb = np.ascontiguousarray(chunk.wkb)
    tables = fields.kinds, fields.words, fields.texts, fields.stops
    _rows(wkb, chunk.offsets, sides, *tables, srs, out, starts)
    return out, starts


@jit()
def _rows(  # noqa: PLR0913  arrays, not a tuple of them: see jit
    wkb: Any,
    offsets: Any,
    sides: Any,
    kinds: Any,
    words: Any,
    texts: Any,
    stops: Any,
    srs: int,
    out: Any,
    starts: Any,
) -> None:
    types = np.empty(len(kinds), np.int64)
    top = 0
    for k in range(len(words)):
        blob = offsets[k + 1] - offsets[k] + _BLOB_HEAD
        head = 1 + varint_size(12 + 2 * blob)  # the row number is not in the record: type 0
        for j in range(len(kinds)):
            types[j] = _type(kinds[j], words[k, j], stops)
            head += varint_size(types[j])
        top = put_varint(out, top, head + 1 if head < 127 else head + 2)
        out[top] = 0
        top = put_varint(out, top + 1, 12 + 2 * blob)
        for j in range(len(kinds)):
            top = put_varint(out, top, types[j])
        top = _blob_head(out, top, srs, sides[k])
        top = copy(out, top, wkb, offsets[k], offsets[k + 1])
        for j in range(len(kinds)):
            if kinds[j] == TEXT:
                text = words[k, j]
                top = copy(out, top, texts, stops[text], stops[text + 1])
            else:
                top = put_be(out, top, _bytes(types[j]), words[k, j])
        starts[k + 1] = top


@callee
def _type(kind: int, word: int, stops: Any) -> int:
    """SQLite's type of a value."""
    if kind == TEXT:
        return 13 + 2 * (stops[word + 1] - stops[word])
    if kind == REAL:
        # all bits of the exponent are set, and some other: NaN, which is NULL
        return 0 if word & 0x7FFFFFFFFFFFFFFF > 0x7FF0000000000000 else 7
    if word == 0 or word == 1:  # noqa: PLR1714  numba builds a tuple for "in"
        return 8 + word
    if -128 <= word <= 127:
        return 1
    if -32768 <= word <= 32767:
        return 2
    return 4 if -(1 << 31) <= word < 1 << 31 else 6


@callee
def _bytes(kind: int) -> int:
    """Bytes of a number of SQLite's type."""
    if kind == 0 or kind >= 8:
        return 0
    return 8 if kind >= 6 else kind


@callee
def _blob_head(out: Any, at: int, srs: int, sides: Any) -> int:
    out[at], out[at + 1] = 71, 80  # "GP"
    out[at + 2], out[at + 3] = 0, 3  # version 1; little endian, with a box
    at = _put_le(out, at + 4, np.int64(4), srs)
    for k in range(4):
        at = _put_le(out, at, np.int64(8), sides[k])
    return at


@callee
def _put_le(out: Any, at: int, size: Any, value: int) -> int:
    for k in range(size):
        out[at + k] = np.uint8(value >> 8 * k & 255)
    return at + size
