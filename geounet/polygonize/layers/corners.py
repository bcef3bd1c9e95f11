"""Compiled: the coordinates of polygons, and their nesting as the brackets of GeoJSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.compiled import callee, jit
from geounet.polygonize.layers.boxes import KINDS, u32
from geounet.polygonize.layers.pages import copy

_OPEN, _CLOSE, _COMMA = 91, 93, 44  # "[", "]", ","


def corners(
    chunk: PolygonBatch, geometry_type: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(m, 2) x and y of all corners of sound polygons, and (n + 1,) where those of each start."""
    out = np.empty((len(chunk.wkb) // 16, 2))
    wkb = np.ascontiguousarray(chunk.wkb)
    starts = np.zeros(len(chunk) + 1, np.int64)
    _corners(wkb, chunk.offsets, KINDS[geometry_type], out, starts)
    return out[: starts[-1]], starts


def brackets(
    chunk: PolygonBatch, geometry_type: str, texts: NDArray[np.uint8], stops: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The member ``coordinates`` of each polygon.

    Args:
        chunk: Sound polygons.
        geometry_type: Their type.
        texts: The numbers x, y, x, ... of all corners as text, one after the other.
        stops: (2 m + 1,) where each starts.

    Returns:
        The texts one after the other, and (n + 1,) where each starts.
    """
    # around each number a comma, half a pair of brackets; the counts of the binary form are bytes
    # enough for the brackets of rings and parts
    out = np.empty(len(texts) + 2 * len(stops) + len(chunk.wkb), np.uint8)
    starts = np.zeros(len(chunk) + 1, np.int32)
    wkb = np.ascontiguousarray(chunk.wkb)
    _brackets(wkb, chunk.offsets, KINDS[geometry_type], texts, stops, out, starts)
    return out[: starts[-1]], starts


@jit()
def _corners(wkb: Any, offsets: Any, kind: int, out: Any, starts: Any) -> None:
    top = 0
    for k in range(len(offsets) - 1):
        at, parts = offsets[k], 1
        if kind == 6:
            parts = u32(wkb, at + 5)
            at += 9
        for _ in range(parts):
            rings = u32(wkb, at + 5)
            at += 9
            for _ in range(rings):
                size = u32(wkb, at)
                at += 4
                ring = wkb[at : at + 16 * size].view(np.float64)
                for i in range(size):
                    out[top + i, 0], out[top + i, 1] = ring[2 * i], ring[2 * i + 1]
                at += 16 * size
                top += size
        starts[k + 1] = top


@jit()
def _brackets(
    wkb: Any, offsets: Any, kind: int, texts: Any, stops: Any, out: Any, starts: Any
) -> None:
    top = corner = 0
    for k in range(len(offsets) - 1):
        at, parts = offsets[k], 1
        if kind == 6:
            parts = u32(wkb, at + 5)
            at += 9
            top = _put(out, top, _OPEN)
        for part in range(parts):
            if part:
                top = _put(out, top, _COMMA)
            rings = u32(wkb, at + 5)
            at += 9
            top = _put(out, top, _OPEN)
            for ring in range(rings):
                if ring:
                    top = _put(out, top, _COMMA)
                size = u32(wkb, at)
                at += 4 + 16 * size
                top = _ring(texts, stops, corner, size, out, top)
                corner += size
            top = _put(out, top, _CLOSE)
        if kind == 6:
            top = _put(out, top, _CLOSE)
        starts[k + 1] = top


@callee
def _ring(texts: Any, stops: Any, corner: int, size: int, out: Any, top: int) -> int:
    for i in range(corner, corner + size):
        top = _put(out, top, _OPEN if i == corner else _COMMA)
        top = _put(out, top, _OPEN)
        top = copy(out, top, texts, stops[2 * i], stops[2 * i + 1])
        top = _put(out, top, _COMMA)
        top = copy(out, top, texts, stops[2 * i + 1], stops[2 * i + 2])
        top = _put(out, top, _CLOSE)
    return _put(out, top, _CLOSE)


@callee
def _put(out: Any, at: int, byte: int) -> int:
    out[at] = byte
    return at + 1
