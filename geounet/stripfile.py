"""One finished strip in one file: what is read back is what was written, or it is not whole."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, load_file, save

from geounet.deflate import deflated
from geounet.stitch import Strip
from geounet.window import Window

_LEVEL = 1
"""Of zlib, for confidence."""

BROKEN = (OSError, SafetensorError, zlib.error, ValueError, KeyError)
"""Errors of reading what is not a whole strip."""


def strip_path(folder: Path, window: Window) -> Path:
    """Where a strip lies in a folder."""
    return folder / strip_name(window)


def strip_name(window: Window) -> str:
    """What a strip is called; names sort top to bottom."""
    return f"{window.row_off:010}-{window.row_end:010}.strip"


def strip_paths(folder: Path) -> Iterator[Path]:
    """All strips in a folder, whole or not, top to bottom."""
    yield from sorted(folder.glob("*.strip"))


def rows_of(path: Path) -> range:
    """The rows of a strip, by its name."""
    start, _, stop = path.stem.partition("-")
    return range(int(start), int(stop))


def write_strip(folder: Path, strip: Strip) -> None:
    """Write a strip; it has its name only when it is complete, whoever else writes it meanwhile."""
    write_whole(strip_path(folder, strip.window), packed_strip(strip))


def packed_strip(strip: Strip) -> bytes:
    """What is in the file of a strip: the same for equal strips."""
    arrays = {"labels": _packed(strip.labels, labels=True)}
    if strip.confidence is not None:
        arrays["confidence"] = _packed(strip.confidence, labels=False)
    return save(arrays)


def read_strip(path: Path) -> Strip:
    """Read a strip; one of ``BROKEN`` is raised where it is not whole."""
    return _unpacked(rows_of(path), load_file(path))


def unpacked_strip(rows: range, content: bytes) -> Strip:
    """A strip from what is in its file; one of ``BROKEN`` is raised where it is not whole."""
    return _unpacked(rows, load(content))


def _unpacked(rows: range, arrays: Mapping[str, NDArray[np.uint8]]) -> Strip:
    shown = {
        name: np.frombuffer(zlib.decompress(packed.data), np.uint8).reshape(len(rows), -1)
        for name, packed in arrays.items()
    }
    labels = shown["labels"]
    window = Window(row_off=rows.start, col_off=0, height=len(rows), width=labels.shape[1])
    return Strip(window=window, labels=labels, confidence=shown.get("confidence"))


def is_whole(path: Path) -> bool:
    """Whether a strip can be read."""
    try:
        read_strip(path)
    except BROKEN:
        return False
    return True


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that has its name only when it is complete.

    The temporary name is nobody else's: workers on several machines may write one file at once.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)


def _packed(array: NDArray[np.uint8], *, labels: bool) -> NDArray[np.uint8]:
    return np.frombuffer(deflated(array, labels=labels, level=_LEVEL), np.uint8)
