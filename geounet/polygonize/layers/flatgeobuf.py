"""FlatGeobuf: GDAL makes the header; features and index are written while the polygons pass.

The index lies before the features and its size is known only at the end, so that both grow in
unnamed files beside the layer until then. Polygons of a chunk are sorted by place: they lie in the
file in the order of the index, as the format wants it, not in that in which they came.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.layers.boxes import shelves
from geounet.polygonize.layers.empty import empty_file
from geounet.polygonize.layers.features import features
from geounet.polygonize.layers.fields import Fields
from geounet.polygonize.layers.layout import PolygonLayout
from geounet.polygonize.layers.room import Room

_NODE = np.dtype([("box", "<f8", 4), ("offset", "<u8")])
_WIDTH = 16  # nodes under a node, which is GDAL's and the header's
_MAGIC = 8
_ENVELOPE, _COUNT = 1, 8  # fields of the header
_COPY = 4 << 20


class FlatGeobuf:
    """An :class:`geounet.polygonize.layers.writer.Encoder` of FlatGeobuf 3 with its index."""

    def __init__(self, path: Path, layout: PolygonLayout) -> None:
        self._layout = layout
        self._head = empty_file(layout)
        self._leaves = _Leaves()
        with contextlib.ExitStack() as opened:
            self._file = opened.enter_context(path.open("wb"))
            self._features, self._index = (
                opened.enter_context(tempfile.TemporaryFile(dir=path.parent)) for _ in range(2)
            )
            self._opened = opened.pop_all()
        self._bytes, self._room = 0, Room()

    def write(self, chunk: PolygonBatch, boxes: NDArray[np.float64]) -> None:
        """Take the next polygons and their (n, 4) boxes."""
        fields = Fields.of(chunk, self._layout)
        order = shelves(boxes, _WIDTH)
        data, starts = features(chunk, fields, order, self._layout.geometry_type, self._room)
        self._features.write(data.data)
        nodes = np.empty(len(chunk), _NODE)
        nodes["box"], nodes["offset"] = boxes[order], self._bytes + starts[:-1]
        self._index.write(nodes.tobytes())
        self._leaves.add(nodes["box"])
        self._bytes += int(starts[-1])

    def finish(self) -> None:
        """Put header, index and features together."""
        count = self._leaves.count
        if count:
            levels = self._leaves.levels()
            self._file.write(self._header(count, levels[0][0]))
            self._file.write(_inner(levels).tobytes())
            for part in (self._index, self._features):
                _append(self._file, part)
        else:
            self._file.write(self._head)
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._opened.close()

    def _header(self, count: int, box: NDArray[np.float64]) -> bytes:
        """GDAL's header of a layer of one polygon, with another number and another box."""
        head = bytearray(empty_file(self._layout, polygons=1))
        size = int.from_bytes(head[_MAGIC : _MAGIC + 4], "little")
        del head[_MAGIC + 4 + size :]
        at = _field(head, _COUNT)
        head[at : at + 8] = count.to_bytes(8, "little")
        at = _field(head, _ENVELOPE)
        at += int.from_bytes(head[at : at + 4], "little") + 4  # behind the length of the vector
        head[at : at + 32] = box.astype("<f8").tobytes()
        return bytes(head)


class _Leaves:
    """The boxes above the lowest nodes of the index, one for sixteen of those."""

    def __init__(self) -> None:
        self.count = 0
        self._above: list[NDArray[np.float64]] = []
        self._rest = np.empty((0, 4))

    def add(self, boxes: NDArray[np.float64]) -> None:
        """Take the boxes of the next polygons in the file."""
        self.count += len(boxes)
        boxes = np.concatenate([self._rest, boxes])
        whole = len(boxes) // _WIDTH * _WIDTH
        self._above.append(_joined(boxes[:whole]))
        self._rest = boxes[whole:]

    def levels(self) -> list[NDArray[np.float64]]:
        """The boxes of each level above the polygons, from the single top one downwards."""
        levels = [np.concatenate([*self._above, _joined(self._rest)])]
        while len(levels[0]) > 1:
            levels.insert(0, _joined(levels[0]))
        return levels


def _joined(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The boxes around every sixteen."""
    starts = np.arange(0, len(boxes), _WIDTH)
    if not len(starts):
        return np.empty((0, 4))
    low = np.minimum.reduceat(boxes[:, :2], starts)
    return np.concatenate([low, np.maximum.reduceat(boxes[:, 2:], starts)], axis=1)


def _inner(levels: list[NDArray[np.float64]]) -> NDArray[np.void]:
    """The nodes above the polygons; each has the number of the first one under it."""
    sizes = [len(level) for level in levels]
    nodes = np.empty(sum(sizes), _NODE)
    nodes["box"] = np.concatenate(levels)
    below = np.cumsum(sizes)  # where the next level begins
    nodes["offset"] = np.concatenate(
        [start + np.arange(size) * _WIDTH for start, size in zip(below, sizes, strict=True)]
    )
    return nodes


def _field(head: bytearray, number: int) -> int:
    """Where a field of the header lies."""

    def word(at: int, size: int) -> int:
        return int.from_bytes(head[at : at + size], "little")

    table = _MAGIC + 4 + word(_MAGIC + 4, 4)
    vtable = table - word(table, 4)
    return table + word(vtable + 4 + 2 * number, 2)


def _append(file: IO[bytes], part: IO[bytes]) -> None:
    part.seek(0)
    shutil.copyfileobj(part, file, _COPY)
