"""Finished polygons as bytes and columns: a batch costs no Python object a polygon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolygonBatch:
    """Finished polygons; the arrays must not change once the batch was given to a writer."""

    wkb: NDArray[np.uint8]
    """(bytes,) well-known binary of all polygons, one after the other, little endian."""
    offsets: NDArray[np.int64]
    """(n + 1,) where each polygon starts in ``wkb``, and where the last one ends; 0 first."""
    columns: Mapping[str, NDArray[Any]]
    """Name -> (n,) values."""
    boxes: NDArray[np.float64] | None = None
    """(n, 4) west, south, east and north of each, by whoever has made sound polygons; None: they
    are looked at before they are written."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def cut(self, start: int, stop: int) -> PolygonBatch:
        """Polygons ``start`` to ``stop`` (half-open), without copying any but the offsets."""
        first, last = self.offsets[start], self.offsets[stop]
        return PolygonBatch(
            wkb=self.wkb[first:last],
            offsets=self.offsets[start : stop + 1] - first,
            columns={name: values[start:stop] for name, values in self.columns.items()},
            boxes=None if self.boxes is None else self.boxes[start:stop],
        )

    @classmethod
    def join(cls, batches: Sequence[PolygonBatch]) -> PolygonBatch:
        """All polygons of batches (at least one) that have the same columns, in order."""
        if len(batches) == 1:
            return batches[0]
        ends = np.cumsum([0, *(len(b.wkb) for b in batches)])
        offsets = [b.offsets[1:] + end for b, end in zip(batches, ends[:-1], strict=True)]
        boxes = [b.boxes for b in batches if b.boxes is not None]
        return cls(
            wkb=np.concatenate([b.wkb for b in batches]),
            offsets=np.concatenate([np.zeros(1, np.int64), *offsets]),
            columns={
                name: np.concatenate([b.columns[name] for b in batches])
                for name in batches[0].columns
            },
            boxes=np.concatenate(boxes) if len(boxes) == len(batches) else None,
        )


def grouped(batches: Iterable[PolygonBatch], size: int) -> Iterator[PolygonBatch]:
    """The same polygons in batches of at least ``size`` bytes of geometry, but for the last."""
    group: list[PolygonBatch] = []
    bytes_ = 0
    for batch in batches:
        group.append(batch)
        bytes_ += len(batch.wkb)
        if bytes_ >= size:
            yield PolygonBatch.join(group)
            group, bytes_ = [], 0
    if group:
        yield PolygonBatch.join(group)


class Chunks:
    """Batches of any size in, chunks out whose cuts depend on the polygons alone.

    Law: the chunks do not depend on how the polygons were cut into batches.

    Args:
        polygons: A chunk has at most so many polygons.
        size: And so many bytes of geometry, unless a single polygon has more.
    """

    def __init__(self, polygons: int, size: int) -> None:
        self._polygons, self._size = polygons, size
        self._parts: list[PolygonBatch] = []
        self._count = self._bytes = 0

    def add(self, batch: PolygonBatch) -> Iterator[PolygonBatch]:
        """Take polygons; gives the chunks that are full (to be exhausted before the next)."""
        start = 0
        while start < len(batch):
            stop = self._fitting(batch, start)
            if stop > start:
                self._keep(batch.cut(start, stop))
            if stop < len(batch) or self._count == self._polygons:
                yield self._take()
            start = stop

    def rest(self) -> Iterator[PolygonBatch]:
        """The last chunk, if there is one."""
        if self._parts:
            yield self._take()

    def _fitting(self, batch: PolygonBatch, start: int) -> int:
        """Where the part of the batch ends that still fits into the chunk."""
        limit = batch.offsets[start] + self._size - self._bytes
        by_size = int(np.searchsorted(batch.offsets, limit, side="right")) - 1
        # the first polygon always fits, and may leave less than no room for the next
        by_size = max(by_size, start if self._count else start + 1)
        return min(by_size, start + self._polygons - self._count, len(batch))

    def _keep(self, part: PolygonBatch) -> None:
        self._parts.append(part)
        self._count += len(part)
        self._bytes += len(part.wkb)

    def _take(self) -> PolygonBatch:
        chunk = PolygonBatch.join(self._parts)
        self._parts, self._count, self._bytes = [], 0, 0
        return chunk
