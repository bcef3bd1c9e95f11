"""What all layers share: a thread that writes, chunks, and errors in one line."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pyproj.exceptions import ProjError

from geounet.errors import OutputError
from geounet.pipeline import Behind
from geounet.polygonize.batch import Chunks, PolygonBatch
from geounet.polygonize.layers.boxes import boxes
from geounet.polygonize.layers.layout import PolygonLayout

POLYGONS = 1 << 15
"""Polygons of a chunk at most."""

BYTES = 8 << 20
"""Bytes of geometry of a chunk at most, unless one polygon has more."""

_DEPTH = 2  # chunks that wait for the thread


class LayerWriter(Protocol):
    """Takes polygons and writes a layer; one thread calls it.

    Law: the file does not depend on how the polygons were cut into batches.
    """

    def write(self, batch: PolygonBatch) -> None:
        """Take polygons; returns before they are written.

        Raises:
            OptionError: The batch is not of the layout, or its bytes are no polygons; that may
                also be told by the next call.
            OutputError: The file cannot be written.
        """

    def finish(self) -> None:
        """Complete the file.

        Raises:
            OptionError: As :meth:`write`.
            OutputError: As :meth:`write`.
        """

    def abort(self) -> None:
        """Stop and let go of the file, which is not complete; after :meth:`finish` no more."""


class Encoder(Protocol):
    """Writes the chunks of one format, all in one thread but for :meth:`close`."""

    def write(self, chunk: PolygonBatch, boxes: NDArray[np.float64]) -> None:
        """Take the next polygons and their (n, 4) boxes."""

    def finish(self) -> None:
        """Complete the file and let go of it."""

    def close(self) -> None:
        """Let go of the file, complete or not; may be called again."""


class ThreadedWriter:
    """A :class:`LayerWriter` that encodes in a thread of its own.

    Args:
        path: The file to write (a temporary name: the caller renames).
        layout: What the layer looks like.
        encoder: Opens the file.

    Raises:
        OutputError: The file cannot be opened.
    """

    def __init__(
        self, path: Path, layout: PolygonLayout, encoder: Callable[[Path, PolygonLayout], Encoder]
    ) -> None:
        self._path, self._layout = path, layout
        self._chunks = Chunks(POLYGONS, BYTES)
        with told(path):
            self._encoder = encoder(path, layout)
        self._thread = Behind(self._encode, depth=_DEPTH)
        self._thread.__enter__()
        self._open = True

    def write(self, batch: PolygonBatch) -> None:
        """See :class:`LayerWriter`."""
        self._layout.check(batch)
        with self._ending_on_error():
            for chunk in self._chunks.add(batch):
                self._thread.put(chunk)

    def finish(self) -> None:
        """See :class:`LayerWriter`."""
        with self._ending_on_error():
            for chunk in self._chunks.rest():
                self._thread.put(chunk)
            self._thread.__exit__(None, None, None)
            self._encoder.finish()
            self._open = False

    def abort(self) -> None:
        """See :class:`LayerWriter`."""
        if self._open:
            self._open = False
            stop = GeneratorExit()
            self._thread.__exit__(type(stop), stop, None)
            # what is buffered cannot be written to a full disk, and is not wanted
            with contextlib.suppress(*_refusals()):
                self._encoder.close()

    def _encode(self, chunk: PolygonBatch) -> None:
        self._encoder.write(chunk, boxes(chunk, self._layout.geometry_type))

    @contextlib.contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        """An error ends the thread."""
        try:
            with told(self._path):
                yield
        except BaseException:
            self.abort()
            raise


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """What the system and the libraries report becomes OutputError."""
    try:
        yield
    except _refusals() as error:
        line = " ".join(str(getattr(error, "strerror", None) or error).split())[:160]
        raise OutputError(
            f"{path.parent.absolute()}: the polygons cannot be written ({line}): free some disk"
            " space, or choose another folder"
        ) from error


def _refusals() -> tuple[type[Exception], ...]:
    """What the system and the libraries raise; known only when it is needed."""
    import pyarrow as pa

    return OSError, sqlite3.Error, ProjError, pa.ArrowException
