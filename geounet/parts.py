"""Finished strips on disk, so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from geounet.errors import OutputError, UnreachableError
from geounet.fingerprint import Fingerprint
from geounet.lock import Lock
from geounet.stitch import Strip
from geounet.stripfile import (
    is_whole,
    read_strip,
    rows_of,
    strip_path,
    strip_paths,
    write_strip,
    write_whole,
)
from geounet.window import Window

COMMITTING = "committing"
"""Is there while outputs get their names."""

RECORD = "run.json"
"""Says what the strips depend on."""

LOCK = "lock"
"""Is had by whoever makes strips."""

PATIENCE = 60.0
"""Seconds in which a worker that was told to stop finishes its strip."""


class Kept(Protocol):
    """Where finished strips are kept; one thread keeps them, and another may read them."""

    def has(self, window: Window) -> bool:
        """Whether an earlier run has made this strip."""

    def strip(self, window: Window) -> Strip:
        """A strip that an earlier run has made."""

    def keep(self, strip: Strip) -> None:
        """Keep a strip, unless an earlier run has."""

    def commit(self) -> None:
        """Note that files get their final names from here on: a later run may replace them."""

    def drop(self) -> None:
        """Forget them."""


class Nowhere:
    """A :class:`Kept` that keeps nothing."""

    def has(self, window: Window) -> bool:  # noqa: ARG002
        """No."""
        return False

    def strip(self, window: Window) -> Strip:
        """There is none.

        Raises:
            KeyError: Always.
        """
        raise KeyError(window)

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
        lasting: Whether nothing but :func:`remove_parts` removes the strips: they are made by many
            workers, and neither an error nor the end of this run is the end of theirs. What cannot
            be written is an error then.

    Raises:
        OutputError: Another process has the folder; or, if it is lasting, it cannot be written.
    """

    def __init__(
        self,
        raster: Path,
        fingerprint: Fingerprint,
        say: Callable[[str], object],
        *,
        lasting: bool = False,
    ) -> None:
        self._raster, self._folder = raster, folder_of(raster)
        self._fingerprint, self._say, self._lasting = fingerprint, say, lasting
        self._opened = ExitStack()
        self._found: set[Path] = set()
        self._is_kept = True

    def __enter__(self) -> Self:
        with self._or_without():
            self._folder.mkdir(exist_ok=True)
            patience = PATIENCE if self._lasting else 0
            lock = Lock(self._folder / LOCK, busy(self._raster), patience=patience)
            self._opened.enter_context(lock)
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

    def has(self, window: Window) -> bool:
        """See :class:`Kept`."""
        return strip_path(self._folder, window) in self._found

    def strip(self, window: Window) -> Strip:
        """See :class:`Kept`."""
        return read_strip(strip_path(self._folder, window))

    def keep(self, strip: Strip) -> None:
        """See :class:`Kept`."""
        if self._is_kept and not self.has(strip.window):
            with self._or_without():
                write_strip(self._folder, strip)

    def commit(self) -> None:
        """See :class:`Kept`."""
        if self._is_kept:
            with self._or_without():
                mark_commit(self._raster)

    def drop(self) -> None:
        """Remove the folder, unless it is lasting."""
        if not self._lasting:
            self._found = set()
            _remove(self._folder, self._opened)

    def _has_strips(self) -> bool:
        return not self._lasting and any(strip_paths(self._folder))

    def _take_over(self) -> None:
        """Find what an earlier run has left, or remove it."""
        record = self._folder / RECORD
        changed = changed_since(record, self._fingerprint)
        if changed is None:
            self._found = set(_whole(self._folder))
            if self._found:
                self._say(going_on(self._raster, self._found))
            return
        if changed:
            self._say(starting_anew(self._raster, changed))
        for path in strip_paths(self._folder):
            path.unlink()
        write_whole(record, json.dumps(self._fingerprint).encode())

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """What the system refuses ends the keeping, not the run; unless strips are lasting."""
        try:
            yield
        except OSError as error:
            if self._lasting:
                raise unwritable(self._raster, error) from error
            self._is_kept = False
            self.drop()


def mark_commit(raster: Path) -> None:
    """Note that outputs get their final names from here on."""
    write_whole(folder_of(raster) / COMMITTING, b"")


def was_committing(raster: Path) -> bool:
    """Whether a run was killed while it gave its outputs their final names."""
    return (folder_of(raster) / COMMITTING).exists()


def has_parts(raster: Path) -> bool:
    """Whether strips of a class map are kept."""
    return any(strip_paths(folder_of(raster)))


def remove_parts(raster: Path) -> None:
    """Remove what is kept of a class map, if anything is and nobody has it.

    Raises:
        OutputError: Another run has it.
    """
    folder = folder_of(raster)
    if folder.is_dir():
        with ExitStack() as opened:
            opened.enter_context(Lock(folder / LOCK, busy(raster), patience=PATIENCE))
            _remove(folder, opened)


def folder_of(raster: Path) -> Path:
    """Where strips of a class map are kept."""
    return raster.with_name(f".{raster.name}.parts")


def _remove(folder: Path, opened: ExitStack) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    opened.close()  # Windows removes no file that is open
    shutil.rmtree(folder, ignore_errors=True)


def going_on(raster: Path, strips: Iterable[Path]) -> str:
    """What is said where an earlier run has left these strips."""
    rows = sum(len(rows_of(path)) for path in strips)
    return (
        f"an earlier run of {raster} was interrupted: going on with {rows} rows that are finished"
    )


def starting_anew(raster: Path, changed: str) -> str:
    """What is said where those that it has left are of no use."""
    return f"{_earlier(raster)}, and {changed} changed since then: starting anew"


def _earlier(raster: Path) -> str:
    return f"an earlier run of {raster} was interrupted"


def busy(raster: Path) -> OutputError:
    """The error where another process has that folder."""
    return OutputError(
        f"{raster} is being written by another run: wait for it, or give another name with -o"
    )


def unwritable(raster: Path, error: OSError) -> OutputError:
    """The error where nothing can be written there."""
    return OutputError(
        f"{raster.parent}: finished strips of {raster.name} cannot be kept ({error.strerror}):"
        " free some disk space, or choose another folder with -o"
    )


def changed_since(record: Path, now: Fingerprint) -> str | None:
    """What is not as it was when the record was written; empty: there is none; None: nothing."""
    try:
        return changes(record.read_bytes(), now)
    except FileNotFoundError:
        return ""


def changes(record: bytes, now: Fingerprint) -> str | None:
    """As :func:`changed_since`, of what is in the record."""
    try:
        before = json.loads(record)
    except ValueError:
        return ""
    return " and ".join(what for what in now if before.get(what) != now[what]) or None


def _whole(folder: Path) -> Iterator[Path]:
    """Strips that can be read; others are removed."""
    for path in strip_paths(folder):
        if is_whole(path):
            yield path
        else:
            path.unlink()
