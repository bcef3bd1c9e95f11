"""Image file directories: what a TIFF says of each of its images.

TIFF 6.0, section 2, and BigTIFF, where numbers of bytes have eight bytes
(https://www.awaresystems.be/imaging/tiff/bigtiff.html).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_SAMPLES, _PLANAR, _COLORS, _FORMAT, _NODATA = 277, 284, 320, 339, 42113
_TILE_WIDTH, _TILE_HEIGHT, _OFFSETS, _COUNTS = 322, 323, 324, 325
_LAYOUT = {254, 256, 257, 259, 273, 278, 279, 322, 323, 324, 325}
"""Tags that say how the pixels of one image lie."""

_IMAGE = {_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _COLORS, _FORMAT, _NODATA}
"""Tags that overviews have, too."""

_SHORT, _LONG, _LONG8 = 3, 4, 16
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8, 17: 8}
"""Of each type of values."""

_ADOBE_DEFLATE = 8
_REDUCED = 1


class Value(NamedTuple):
    """Of a tag."""

    kind: int
    """TIFF's number of the type."""
    values: int
    """How many."""
    data: bytes


GDALTags = Mapping[int, Value]
"""What GDAL says of a raster, but for its size and how its pixels lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One of the images of a file."""

    shape: tuple[int, int]
    """Rows and columns."""
    block: int
    """Side of its blocks."""
    offsets: NDArray[np.int64]
    """(blocks,) where each is, row by row."""
    sizes: NDArray[np.int64]
    """(blocks,) bytes of each."""
    overview: bool
    """Whether it is the raster itself, thinned out."""


def tags_of(tiff: bytes) -> GDALTags:
    """The tags of the only image of a little-endian classic TIFF.

    Raises:
        ValueError: It is something else.
    """
    if tiff[:4] != b"II*\0":
        raise ValueError(f"a file that begins with {tiff[:4]!r} is no little-endian TIFF")
    (start,) = struct.unpack_from("<I", tiff, 4)
    (entries,) = struct.unpack_from("<H", tiff, start)
    tags = {}
    for k in range(entries):
        at = start + 2 + 12 * k
        tag, kind, count = struct.unpack_from("<HHI", tiff, at)
        size, place = count * _BYTES[kind], at + 8
        if size > 4:
            (place,) = struct.unpack_from("<I", tiff, place)
        if tag not in _LAYOUT:
            tags[tag] = Value(kind, count, tiff[place : place + size])
    return tags


def directories(images: Sequence[Image], tags: GDALTags, start: int, *, big: bool) -> bytes:
    """The directories of all images, one after the other, each followed by its longer values.

    Args:
        images: The raster first.
        tags: Of the raster.
        start: Where in the file the first one goes.
        big: Whether it is a BigTIFF. How many bytes there are depends on nothing else but the
            number of blocks.
    """
    parts = []
    for k, image in enumerate(images):
        part = _directory(_tags(image, tags, big=big), start, big=big, last=k + 1 == len(images))
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _tags(image: Image, tags: GDALTags, *, big: bool) -> dict[int, Value]:
    height, width = image.shape
    kept = {tag: value for tag, value in tags.items() if tag in _IMAGE or not image.overview}
    wide = _LONG8 if big else _LONG
    return kept | {
        _SUBFILE: _numbers(_LONG, [_REDUCED if image.overview else 0]),
        _WIDTH: _numbers(_LONG, [width]),
        _HEIGHT: _numbers(_LONG, [height]),
        _COMPRESSION: _numbers(_SHORT, [_ADOBE_DEFLATE]),
        _TILE_WIDTH: _numbers(_SHORT, [image.block]),
        _TILE_HEIGHT: _numbers(_SHORT, [image.block]),
        _OFFSETS: _numbers(wide, image.offsets),
        _COUNTS: _numbers(_LONG, image.sizes),
    }


def _numbers(kind: int, values: Sequence[int] | NDArray[np.int64]) -> Value:
    data = np.asarray(values, np.int64).astype(f"<u{_BYTES[kind]}").tobytes()
    return Value(kind, len(values), data)


def _directory(tags: Mapping[int, Value], start: int, *, big: bool, last: bool) -> bytes:
    count, entry, word = ("<Q", "<HHQ", 8) if big else ("<H", "<HHI", 4)
    size = struct.calcsize(count) + len(tags) * (struct.calcsize(entry) + word) + word
    head, tail = [struct.pack(count, len(tags))], []
    end = start + size
    for tag, value in sorted(tags.items()):
        data = value.data
        if len(data) > word:
            tail.append(data + bytes(-len(data) % 8))
            data = end.to_bytes(word, "little")
            end += len(tail[-1])
        head.append(struct.pack(entry, tag, value.kind, value.values) + data.ljust(word, b"\0"))
    padding = -size % 2  # a directory starts at an even byte
    following = 0 if last else end + padding
    head.append(following.to_bytes(word, "little"))
    return b"".join([*head, *tail]) + bytes(padding)
