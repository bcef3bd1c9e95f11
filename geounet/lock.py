"""A file that one process at a time has, or several that do not mind each other."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_POLL = 0.2  # seconds


class Lock:
    """Has a file until it is left, or until the process dies, however that happens.

    Args:
        path: The file; it is made.
        refusal: The error where another process has it.
        shared: Whether others that share it may have it, too (on Windows: nobody is refused).
        patience: Seconds to wait for it.
    """

    def __init__(
        self, path: Path, refusal: Exception, *, shared: bool = False, patience: float = 0
    ) -> None:
        self._path, self._refusal, self._shared = path, refusal, shared
        self._patience = patience
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        file = self._path.open("ab")
        try:
            self._wait(file)
        except BaseException:
            file.close()
            raise
        self._file = file
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _wait(self, file: IO[bytes]) -> None:
        end = time.monotonic() + self._patience
        while True:
            try:
                return _lock(file, shared=self._shared)
            except OSError:
                if time.monotonic() >= end:
                    raise self._refusal from None
                time.sleep(_POLL)


def _lock(file: IO[bytes], *, shared: bool) -> None:
    if sys.platform == "win32":
        import msvcrt

        if not shared:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
