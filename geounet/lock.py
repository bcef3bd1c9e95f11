"""A file that one process at a time has."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self


class Lock:
    """Has a file until it is left, or until the process dies, however that happens.

    Args:
        path: The file; it is made.
        refusal: The error where another process has it.
    """

    def __init__(self, path: Path, refusal: Exception) -> None:
        self._path, self._refusal = path, refusal
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        file = self._path.open("ab")
        try:
            _lock(file)
        except OSError:
            file.close()
            raise self._refusal from None
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


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
