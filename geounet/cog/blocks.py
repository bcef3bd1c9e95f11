"""Compressed blocks, kept in a file until it is known where in a COG they go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geounet.classes import NODATA
from geounet.cores import usable_cores
from geounet.deflate import deflated

BLOCK = 512
"""Side of a block in pixels."""

LEADER = TRAILER = 4
"""Bytes before a block, its size, and after it, its last ones again: so GDAL can tell that a file
was not changed by what knows nothing of its layout, and reads it in fewer requests
(https://gdal.org/en/stable/drivers/raster/cog.html)."""

_MOST_THREADS = 4


class BlockStore:
    """A file of blocks of several levels, in the order in which they come.

    Args:
        path: A temporary name.
        levels: How many.
        labels: Whether pixels are class codes, see :func:`geounet.deflate.deflated`.

    Raises:
        OSError: The file cannot be opened; so do all methods where it cannot be written.
    """

    def __init__(self, path: Path, levels: int, *, labels: bool) -> None:
        self.path = path
        self._compressed = partial(deflated, labels=labels)
        self._sizes: list[list[int]] = [[] for _ in range(levels)]
        self._starts: list[list[int]] = [[] for _ in range(levels)]
        self._end = 0
        self._file = path.open("wb", buffering=0)
        self._pool = ThreadPoolExecutor(min(_MOST_THREADS, usable_cores()), "geounet-deflate")

    def put(self, level: int, rows: NDArray[np.uint8]) -> None:
        """Take the next row of blocks of a level, (BLOCK or less, width)."""
        height, width = rows.shape
        across = -(-width // BLOCK)
        padded = np.full((BLOCK, across * BLOCK), NODATA, np.uint8)
        padded[:height, :width] = rows
        blocks = [padded[:, k * BLOCK : (k + 1) * BLOCK] for k in range(across)]
        framed = []
        for data in self._pool.map(self._compressed, blocks):
            framed.append(_framed(data))
            self._starts[level].append(self._end)
            self._sizes[level].append(len(data))
            self._end += len(framed[-1])
        self._write(b"".join(framed))

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:  # the system may take a part at a time
            rest = rest[self._file.write(rest) :]

    def finish(self) -> None:
        """No more blocks come."""
        self._pool.shutdown()
        self._file.close()

    def close(self) -> None:
        """Let go of the file, complete or not."""
        self._pool.shutdown(cancel_futures=True)
        self._file.close()

    def sizes(self, level: int) -> NDArray[np.int64]:
        """(blocks,) bytes of each, without what is around it."""
        return np.array(self._sizes[level], np.int64)

    def runs(self, level: int) -> list[tuple[int, int]]:
        """Where the blocks of a level lie, with what is around them: start and stop of each run."""
        start = np.array(self._starts[level], np.int64)
        stop = start + self.sizes(level) + LEADER + TRAILER
        cuts = np.flatnonzero(start[1:] != stop[:-1]) + 1
        first, last = np.append(0, cuts), np.append(cuts, len(start)) - 1
        return list(zip(start[first].tolist(), stop[last].tolist(), strict=True))


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(LEADER, "little") + data + data[-TRAILER:]
