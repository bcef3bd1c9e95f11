"""Finished strips on disk, so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from geounet.errors import OutputError, UnreachableError
from geounet.fingerprint import Fingerprint
from geounet.lock import Lock
from geounet.stitch import Strip
from geounet.window import Window

_LEVEL = 1
"""Of zlib: class maps shrink to a few per cent at a hundred times the speed of a network."""


class Kept(Protocol):
    """Where finished strips are kept; one thread keeps them, and another may read them."""

    @property
    def rows(self) -> int:
        """Rows of the class map, from the top, that an earlier run has made."""

    def strips(self) -> Iterable[Strip]:
        """The strips that an earlier run has made, top to bottom."""

    def keep(self, strip: Strip) -> None:
        """Keep a strip, unless an earlier run has."""

    def commit(self) -> None:
        """Note that files get their final names from here on: a later run may replace them."""

    def drop(self) -> None:
        """Forget them."""


class Nowhere:
    """A :class:`Kept` that keeps nothing."""

    rows = 0

    def strips(self) -> Iterable[Strip]:
        """None."""
        return ()

    def keep(self, strip: Strip) -> None:
        """Nothing."""

    def commit(self) -> None:
        """Nothing."""

    def drop(self) -> None:
        """Nothing."""


class Parts:
    """The strips of one class map, in a hidden folder beside it: a :class:`Kept`.

    A context manager. Strips are kept until :meth:`drop`, or until an error ends the run; one that
    is killed or interrupted, or loses its connection to a remote scene, leaves them. One process at
    a time has the folder. Where it cannot be written, as on a full disk, what is there is removed,
    and the run goes on without.

    Law: what is read back is what was kept, or is made anew: a strip has its name only when it is
    complete.

    Args:
        raster: The class map.
        fingerprint: Of the run, see :func:`geounet.fingerprint.fingerprint`.
        say: Hears whether an earlier run is continued.

    Raises:
        OutputError: Another process has the folder.
    """

    def __init__(
        self, raster: Path, fingerprint: Fingerprint, say: Callable[[str], object]
    ) -> None:
        self._raster, self._folder = raster, _folder(raster)
        self._fingerprint, self._say = fingerprint, say
        self._opened = ExitStack()
        self._found: list[Path] = []
        self._is_kept = True

    def __enter__(self) -> Self:
        with self._or_without():
            self._folder.mkdir(exist_ok=True)
            refusal = OutputError(
                f"{self._raster} is being written by another run: wait for it, or give another name"
                " with -o"
            )
            self._opened.enter_context(Lock(self._folder / "lock", refusal))
            self._take_over()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, (KeyboardInterrupt, UnreachableError)) and self._has_strips():
            goes_on = f"the same command goes on with what is finished of {self._raster}"
            said = f"{error}; " if isinstance(error, UnreachableError) else ""
            error.args = (said + goes_on,)
        elif isinstance(error, (Exception, KeyboardInterrupt)):
            self.drop()
        self._opened.close()

    @property
    def rows(self) -> int:
        """See :class:`Kept`."""
        return int(self._found[-1].stem.split("-")[1]) if self._found else 0

    def strips(self) -> Iterator[Strip]:
        """See :class:`Kept`."""
        for path in self._found:
            yield _loaded(path)

    def keep(self, strip: Strip) -> None:
        """See :class:`Kept`."""
        window = strip.window
        if not self._is_kept or window.row_off < self.rows:
            return
        path = self._folder / f"{window.row_off:010}-{window.row_end:010}.strip"
        arrays = {"labels": _packed(strip.labels)}
        if strip.confidence is not None:
            arrays["confidence"] = _packed(strip.confidence)
        with self._or_without():
            _write(path, save(arrays))

    def commit(self) -> None:
        """See :class:`Kept`."""
        if self._is_kept:
            with self._or_without():
                _write(self._folder / "committing", b"")

    def drop(self) -> None:
        """Remove the folder."""
        self._found = []
        shutil.rmtree(self._folder, ignore_errors=True)
        self._opened.close()  # Windows removes no file that is open
        shutil.rmtree(self._folder, ignore_errors=True)

    def _has_strips(self) -> bool:
        return any(self._folder.glob("*.strip"))

    def _take_over(self) -> None:
        """Find what an earlier run has left, or remove it."""
        earlier = f"an earlier run of {self._raster} was interrupted"
        record = self._folder / "run.json"
        changed = _changed(record, self._fingerprint)
        if changed is None:
            self._found = list(_contiguous(self._folder))
            if self._found:
                self._say(f"{earlier}: going on at row {self.rows}")
            return
        if changed:
            self._say(f"{earlier}, and {changed} changed since then: starting anew")
        for path in self._folder.glob("*.strip"):
            path.unlink()
        _write(record, json.dumps(self._fingerprint).encode())

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """What the system refuses ends the keeping, not the run."""
        try:
            yield
        except OSError:
            self._is_kept = False
            self.drop()


def was_committing(raster: Path) -> bool:
    """Whether a run was killed while it gave its outputs their final names."""
    return (_folder(raster) / "committing").exists()


def _folder(raster: Path) -> Path:
    return raster.with_name(f".{raster.name}.parts")


def _changed(record: Path, now: Fingerprint) -> str | None:
    """What is not as it was when the record was written; empty: there is none; None: nothing."""
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    return " and ".join(what for what in now if before.get(what) != now[what]) or None


def _contiguous(folder: Path) -> Iterator[Path]:
    """Strips that follow one another from the first row on and can be read; others are removed."""
    end, broken = 0, False
    for path in sorted(folder.glob("*.strip")):
        start, _, stop = path.stem.partition("-")
        broken = broken or int(start) != end or not _is_whole(path)
        if broken:
            path.unlink()
        else:
            end = int(stop)
            yield path


def _is_whole(path: Path) -> bool:
    try:
        _loaded(path)
    except (SafetensorError, zlib.error, ValueError, KeyError):
        return False
    return True


def _packed(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.compress(np.ascontiguousarray(array).data, _LEVEL), np.uint8)


def _loaded(path: Path) -> Strip:
    start, stop = map(int, path.stem.split("-"))
    arrays, rows = load_file(path), stop - start
    shown = {
        name: np.frombuffer(zlib.decompress(packed.data), np.uint8).reshape(rows, -1)
        for name, packed in arrays.items()
    }
    labels = shown["labels"]
    window = Window(row_off=start, col_off=0, height=rows, width=labels.shape[1])
    return Strip(window=window, labels=labels, confidence=shown.get("confidence"))


def _write(path: Path, content: bytes) -> None:
    """Under the final name only when complete."""
    temporary = path.with_name(f"{path.name}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)
