"""Compiled: rings into well-known binary.

Little endian, two dimensions: OGC 06-103r4, clause 8.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.compiled import CALLEE, before_compiling, callee, jit
from geounet.polygonize.corners import ROW
from geounet.polygonize.rings import LOW

POLYGON, MULTI = 3, 6
_HEAD, _COUNT, _POINT = 9, 4, 16  # bytes


def _store(data: Any, at: int, value: Any) -> None:
    """``data[at:]`` gets the bytes of a number, wherever that lies."""
    stored = np.frombuffer(np.asarray(value).tobytes(), np.uint8)
    data[at : at + len(stored)] = stored


@before_compiling
def _compile_store() -> None:
    """One machine instruction, whatever the address."""
    from numba.core import types
    from numba.extending import intrinsic, overload

    def storing(typing: Any, data: Any, at: Any, value: Any) -> Any:  # noqa: ARG001  for numba
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = signature.args[0]
            array = context.make_array(kind)(context, builder, args[0])
            place = builder.gep(array.data, [args[1]])
            pointer = builder.bitcast(place, args[2].type.as_pointer())
            builder.store(args[2], pointer, align=1)
            return context.get_dummy_value()

        return types.void(data, types.intp, value), build

    put_number: Any = intrinsic(storing)

    @overload(_store, jit_options=CALLEE)
    def compiled(data: Any, at: Any, value: Any) -> Any:  # noqa: ARG001  types
        def put(data: Any, at: Any, value: Any) -> None:
            put_number(data, at, value)

        return put


def wkb_offsets(
    stops: NDArray[np.int64],
    part_stops: NDArray[np.int64],
    feature_stops: NDArray[np.int64],
    *,
    multi: bool,
) -> NDArray[np.int64]:
    """(features + 1,) where each feature starts, in bytes, and where the last one ends."""
    rings = part_stops[feature_stops - 1]
    vertices = stops[rings - 1]
    heads = feature_stops + np.arange(1, len(feature_stops) + 1) * multi
    ends = _HEAD * heads + _COUNT * rings + _POINT * vertices
    return np.concatenate([np.zeros(1, np.int64), ends])


@callee
def _write_ring(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    vertices: Any, start: int, stop: int, affine: Any, eastings: Any, steps: int, data: Any,
    at: int, backwards: bool, box: Any,
) -> int:  # fmt: skip
    _store(data, at, np.uint32(stop - start))
    at += _COUNT
    west, south, east, north = box[0], box[1], box[2], box[3]
    for k in range(start, stop):
        vertex = vertices[stop - 1 - (k - start) if backwards else k]
        col, row = float(vertex & LOW), float(vertex >> ROW)
        x = affine[0] * col + affine[1] * row + affine[2]
        if len(eastings) > 0:
            whole, part = (vertex & LOW) // steps, (vertex & LOW) % steps
            x = eastings[whole]
            if part > 0:
                x += (eastings[whole + 1] - x) * (part / steps)
        y = affine[3] * col + affine[4] * row + affine[5]
        _store(data, at, x)
        _store(data, at + 8, y)
        at += _POINT
        west, south, east, north = min(west, x), min(south, y), max(east, x), max(north, y)
    box[0], box[1], box[2], box[3] = west, south, east, north
    return at


@callee
def _write_head(kind: int, count: int, data: Any, at: int) -> int:
    data[at] = 1
    _store(data, at + 1, np.uint32(kind))
    _store(data, at + 5, np.uint32(count))
    return at + _HEAD


@jit()
def write_features(  # noqa: PLR0913  compiled: a tuple of arrays costs compile time
    vertices: Any, stops: Any, outer: Any, part_stops: Any, feature_stops: Any, multi: bool,
    affine: Any, eastings: Any, steps: int, data: Any, boxes: Any,
) -> None:  # fmt: skip
    """Each feature as a polygon, or ``multi`` as one of several; outer rings first.

    ``affine`` (6,) takes columns and rows to coordinates; outer rings run against the clock there.
    ``eastings``, if not empty, are those of columns instead, of which a vertex makes ``steps``.
    ``boxes`` (features, 4) are filled with west, south, east and north of each.
    """
    backwards = affine[0] * affine[4] - affine[1] * affine[3] > 0  # rows grow northwards
    at = part = first = np.int64(0)
    for feature in range(len(feature_stops)):
        box = boxes[feature]
        box[0] = box[1] = np.inf
        box[2] = box[3] = -np.inf
        if multi:
            at = _write_head(np.int64(MULTI), feature_stops[feature] - part, data, at)
        while part < feature_stops[feature]:
            last = part_stops[part]
            at = _write_head(np.int64(POLYGON), last - first, data, at)
            for wanted in (1, 0):
                for ring in range(first, last):
                    if outer[ring] == wanted:
                        begin = stops[ring - 1] if ring else np.int64(0)
                        at = _write_ring(
                            vertices, begin, stops[ring], affine, eastings, steps, data, at,
                            backwards, box,
                        )  # fmt: skip
            first = last
            part += 1
