"""Finished strips of one class map that several processes make and one joins."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from geounet.errors import OutputError
from geounet.fingerprint import Fingerprint
from geounet.lock import Lock
from geounet.parts import (
    LOCK,
    PATIENCE,
    RECORD,
    busy,
    changed_since,
    folder_of,
    mark_commit,
    unwritable,
)
from geounet.stitch import Strip
from geounet.stripfile import BROKEN, is_whole, read_strip, strip_path, write_strip
from geounet.window import Window

_FOLLOWER = "follower"

_POLL = 0.1
"""Seconds after which a folder is looked into again."""


class SharedParts:
    """The folder of :class:`geounet.parts.Parts` for one of many workers: a ``Kept``.

    A context manager. :class:`~geounet.parts.Parts` with the same fingerprint has made the folder
    before; while a worker is in it, nobody else may take it over.

    Args:
        raster: The class map.
        fingerprint: Of the run.

    Raises:
        OutputError: A run of its own has the folder, or it is another run's; a strip cannot be
            written.
    """

    def __init__(self, raster: Path, fingerprint: Fingerprint) -> None:
        self._raster, self._folder = raster, folder_of(raster)
        self._fingerprint = fingerprint
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        refusal = busy(self._raster)
        try:
            self._opened.enter_context(Lock(self._folder / LOCK, refusal, shared=True))
            if changed_since(self._folder / RECORD, self._fingerprint) is not None:
                raise refusal
        except OSError as error:
            raise unwritable(self._raster, error) from error
        except OutputError:
            self._opened.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def has(self, window: Window) -> bool:
        """See :class:`geounet.parts.Kept`: whoever made it."""
        path = strip_path(self._folder, window)
        return path.exists() and is_whole(path)

    def strip(self, window: Window) -> Strip:
        """See :class:`geounet.parts.Kept`."""
        return read_strip(strip_path(self._folder, window))

    def keep(self, strip: Strip) -> None:
        """See :class:`geounet.parts.Kept`."""
        try:
            write_strip(self._folder, strip)
        except OSError as error:
            raise unwritable(self._raster, error) from error

    def commit(self) -> None:
        """Nothing: outputs are another's."""

    def drop(self) -> None:
        """Nothing: strips are another's."""


class FollowedParts(SharedParts):
    """The same folder for the one who joins the strips while workers still make them: a ``Kept``.

    It has all strips: :meth:`strip` waits for one that is not there yet. One process at a time
    follows.

    Args:
        raster: The class map.
        fingerprint: Of the run.
        is_wanted: Whether to wait on.

    Raises:
        OutputError: As :class:`SharedParts`; or another process follows, too.
    """

    def __init__(
        self, raster: Path, fingerprint: Fingerprint, is_wanted: Callable[[], bool]
    ) -> None:
        super().__init__(raster, fingerprint)
        self._is_wanted = is_wanted
        self.waited = 0.0
        """Seconds that went by in waiting."""

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            lock = Lock(self._folder / _FOLLOWER, busy(self._raster), patience=PATIENCE)
            self._opened.enter_context(lock)
        except BaseException:
            self._opened.close()
            raise
        return self

    def has(self, window: Window) -> bool:  # noqa: ARG002
        """Yes, or it will."""
        return True

    def strip(self, window: Window) -> Strip:
        """The strip, as soon as it is there.

        Raises:
            OutputError: Nobody wants it any more; or it cannot be read.
        """
        path, start = strip_path(self._folder, window), time.perf_counter()
        while not path.exists():
            if not self._is_wanted():
                raise OutputError(f"{self._raster} is not wanted any more")
            time.sleep(_POLL)
        self.waited += time.perf_counter() - start
        try:
            return read_strip(path)
        except BROKEN as error:
            raise OutputError(f"{path} cannot be read: its rows are to be made again") from error

    def keep(self, strip: Strip) -> None:
        """Nothing: it is kept."""

    def commit(self) -> None:
        """See :class:`geounet.parts.Kept`.

        Raises:
            OutputError: It cannot be noted.
        """
        try:
            mark_commit(self._raster)
        except OSError as error:
            raise unwritable(self._raster, error) from error


def wait_for_follower(raster: Path) -> None:
    """Until nobody follows the strips of a class map, or for a minute."""
    lock = Lock(folder_of(raster) / _FOLLOWER, busy(raster), patience=PATIENCE)
    with suppress(OSError, OutputError), lock:
        pass
