"""Compiled: the box of each polygon, and whether its bytes are a polygon at all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError
from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.compiled import callee, jit

KINDS = {"Polygon": 3, "MultiPolygon": 6}
"""Codes of the geometry types in well-known binary."""


def boxes(batch: PolygonBatch, geometry_type: str) -> NDArray[np.float64]:
    """(n, 4) west, south, east and north of each polygon.

    Raises:
        OptionError: A polygon is not a little-endian ``geometry_type`` of finite coordinates.
    """
    if batch.boxes is not None:
        return batch.boxes
    out = np.empty((len(batch), 4))
    wrong = _boxes(np.ascontiguousarray(batch.wkb), batch.offsets, KINDS[geometry_type], out)
    if wrong >= 0:
        start, stop = batch.offsets[wrong : wrong + 2]
        raise OptionError(
            f"polygon {wrong} of {len(batch)}: its {stop - start} bytes are no little-endian"
            f" well-known binary of a {geometry_type} with finite coordinates"
        )
    return out


def outward(box: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, 4) boxes in single precision that hold those given."""
    near = box.astype(np.float32)
    low, high = near[:, :2], near[:, 2:]
    np.copyto(low, np.nextafter(low, np.float32(-np.inf)), where=low > box[:, :2])
    np.copyto(high, np.nextafter(high, np.float32(np.inf)), where=high < box[:, 2:])
    return near


def shelves(box: NDArray[Any], size: int) -> NDArray[np.int64]:
    """An order of boxes in which every ``size`` of them lie close together.

    Sort-tile-recursive packing: Leutenegger, Lopez & Edgington (1997), "STR: A Simple and Efficient
    Algorithm for R-Tree Packing".
    """
    count = len(box)
    columns = max(1, round((count / size) ** 0.5))
    column = np.empty(count, np.int64)
    by_x = np.argsort(box[:, 0] + box[:, 2], kind="stable")
    column[by_x] = np.arange(count) * columns // max(count, 1)
    return np.lexsort((box[:, 1] + box[:, 3], column))


@callee
def u32(data: Any, at: int) -> int:
    """The little-endian number of four bytes at ``at``."""
    value = np.int64(0)
    for k in range(4):
        value |= np.int64(data[at + k]) << 8 * k
    return value  # type: ignore[return-value]


@jit()
def _boxes(wkb: Any, offsets: Any, kind: int, out: Any) -> int:
    """Fill ``out``; returns the first polygon whose bytes are wrong, or -1."""
    for k in range(len(out)):
        at, end = offsets[k], offsets[k + 1]
        out[k, 0] = out[k, 1] = np.inf
        out[k, 2] = out[k, 3] = -np.inf
        if end - at < 9 or wkb[at] != 1 or u32(wkb, at + 1) != kind:
            return k
        if kind == 3:
            at = _grow(wkb, at, end, out[k])
        else:
            parts = u32(wkb, at + 5)
            at += 9
            while parts > 0 and at >= 0:
                at = _grow(wkb, at, end, out[k])
                parts -= 1
        if at != end or not out[k, 0] <= out[k, 2] or not out[k, 1] <= out[k, 3]:
            return k
    return -1


@callee
def _grow(wkb: Any, at: int, end: int, box: Any) -> int:
    """Let a box hold the polygon at ``at``; returns where it ends, or -1 where it is none."""
    if end - at < 9 or wkb[at] != 1 or u32(wkb, at + 1) != 3:
        return -1
    rings = u32(wkb, at + 5)
    at += 9
    for _ in range(rings):
        if end - at < 4:
            return -1
        size = 16 * u32(wkb, at)
        at += 4
        if size == 0 or end - at < size:
            return -1
        corners = wkb[at : at + size].view(np.float64)
        for i in range(0, len(corners), 2):
            x, y = corners[i], corners[i + 1]
            if not (np.isfinite(x) and np.isfinite(y)):
                return -1
            box[0], box[1] = min(box[0], x), min(box[1], y)
            box[2], box[3] = max(box[2], x), max(box[3], y)
        at += size
    return at
