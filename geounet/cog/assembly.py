"""Compressed blocks into the file that they are for."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from geounet.cog.blocks import BLOCK, LEADER, TRAILER, BlockStore
from geounet.cog.directory import GDALTags, Image, directories

_LAYOUT = (
    b"LAYOUT=IFDS_BEFORE_DATA\n"
    b"BLOCK_ORDER=ROW_MAJOR\n"
    b"BLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n"
    b"KNOWN_INCOMPATIBLE_EDITION=NO\n "
)
"""What GDAL looks for after the header (https://gdal.org/en/stable/drivers/raster/cog.html)."""

_CLASSIC = 1 << 32
"""Bytes that a file without 64-bit offsets cannot have."""

_PIECE = 8 << 20
"""Bytes that are copied at once."""


def assemble(
    path: Path, store: BlockStore, shapes: Sequence[tuple[int, int]], tags: GDALTags
) -> None:
    """Write the COG: directories, blocks of the smallest overview, of the next, of the raster.

    Args:
        path: The file.
        store: All blocks, finished.
        shapes: Of the levels, the raster first.
        tags: Of the raster, as GDAL makes them.

    Raises:
        OSError: It cannot be written.
    """
    head = _head(store, shapes, tags, big=False)
    blocks = sum(stop - start for k in range(len(shapes)) for start, stop in store.runs(k))
    if len(head) + blocks >= _CLASSIC:
        head = _head(store, shapes, tags, big=True)
    with store.path.open("rb") as source, path.open("wb") as target:
        target.write(head)
        for level in reversed(range(len(shapes))):
            for start, stop in store.runs(level):
                _copy(source, target, start, stop)


def _head(
    store: BlockStore, shapes: Sequence[tuple[int, int]], tags: GDALTags, *, big: bool
) -> bytes:
    """All that comes before the blocks."""
    layout = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_LAYOUT) + _LAYOUT
    layout += bytes(-len(layout) % 8)
    start = (16 if big else 8) + len(layout)
    # how long the directories are depends on how many blocks there are, not on where
    size = len(directories(_images(store, shapes, 0), tags, start, big=big))
    found = directories(_images(store, shapes, start + size), tags, start, big=big)
    if big:
        return struct.pack("<2sHHHQ", b"II", 43, 8, 0, start) + layout + found
    return struct.pack("<2sHI", b"II", 42, start) + layout + found


def _images(store: BlockStore, shapes: Sequence[tuple[int, int]], start: int) -> list[Image]:
    """The images, whose blocks begin at ``start``."""
    sizes = [store.sizes(level) for level in range(len(shapes))]
    ends = np.cumsum([start, *(int((s + LEADER + TRAILER).sum()) for s in reversed(sizes))])
    places = [low for low, _ in pairwise(ends.tolist())][::-1]
    return [
        Image(
            shape=shape,
            block=BLOCK,
            offsets=place + LEADER + _before(own + LEADER + TRAILER),
            sizes=own,
            overview=level > 0,
        )
        for level, (shape, own, place) in enumerate(zip(shapes, sizes, places, strict=True))
    ]


def _before(sizes: np.ndarray) -> np.ndarray:
    """The sum of all that come before each."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]])


def _copy(source: BinaryIO, target: BinaryIO, start: int, stop: int) -> None:
    source.seek(start)
    while start < stop:
        piece = source.read(min(_PIECE, stop - start))
        if not piece:
            raise OSError("the blocks of the raster are gone from its temporary file")
        target.write(piece)
        start += len(piece)
