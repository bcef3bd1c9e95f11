"""Outputs that appear together under their final names, or not at all."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from geounet.errors import OutputError

_HIDDEN = re.compile(r"\.(\d+)\.(?:partial|scratch)\.")
"""In temporary names, with the number of the process."""


@dataclass(slots=True)
class Staging:
    """Temporary names beside the final ones, renamed on :meth:`commit`.

    A context manager: whatever was not committed is removed on the way out, so that a failed or
    interrupted run leaves nothing behind and touches no earlier result.
    """

    _pairs: list[tuple[Path, Path]] = field(default_factory=list)
    _scratch: list[Path] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for path in [*(temporary for temporary, _ in self._pairs), *self._scratch]:
            # with what GDAL and SQLite keep beside it (-journal, .aux.xml)
            for left in path.parent.glob(f"{glob.escape(path.name)}*"):
                left.unlink(missing_ok=True)

    def stage(self, final: Path) -> Path:
        """The temporary path to write ``final`` to; same folder, same suffix, hidden.

        What a process that was killed has left under such names is removed.
        """
        _sweep(final)
        temporary = _hidden(final, "partial")
        self._pairs.append((temporary, final))
        return temporary

    def scratch(self, final: Path) -> Path:
        """A temporary path beside ``final`` that never becomes an output."""
        path = _hidden(final, "scratch")
        self._scratch.append(path)
        return path

    def commit(self) -> None:
        """Give every staged file its final name, in the order in which they were staged.

        Raises:
            OutputError: A rename failed.
        """
        while self._pairs:
            temporary, final = self._pairs[0]
            try:
                _drop_log(final)
                temporary.replace(final)
            except OSError as error:
                raise OutputError(f"{final} cannot be written ({error.strerror})") from error
            self._pairs.pop(0)


def _drop_log(final: Path) -> None:
    """Remove what SQLite keeps beside a GeoPackage that QGIS has open.

    SQLite would apply it to the new file of that name, which is then malformed
    (https://www.sqlite.org/howtocorrupt.html, section 4.4).
    """
    for suffix in ("-wal", "-shm", "-journal"):
        final.with_name(f"{final.name}{suffix}").unlink(missing_ok=True)


def check_outputs(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse outputs that could not be written, before any work is done.

    Raises:
        OutputError: A folder is missing or read-only, or a file exists and must not be replaced.
    """
    for path in paths:
        folder = path.parent
        if not folder.is_dir():
            raise OutputError(f"{path}: the folder {folder} does not exist: make it first")
        if not os.access(folder, os.W_OK):
            raise OutputError(f"{path}: the folder {folder} is read-only: choose another")
        if path.is_dir():
            raise OutputError(f"{path} is a folder: give a file name")
        if path.exists() and not overwrite:
            raise OutputError(
                f"{path} exists: pass --overwrite to replace it, or give another name"
            )


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[str | Path], what: str) -> None:
    """Refuse to replace what is read, whatever is allowed to be replaced; links are seen through.

    Args:
        outputs: What will be written.
        inputs: Files that are read, or URLs.
        what: What messages call an input.

    Raises:
        OutputError: An output is one of the inputs.
    """
    here = [path for path in outputs if path.exists()]
    for source in filter(os.path.exists, inputs):  # of a long URL, pathlib would raise
        for path in here:
            if path.samefile(source):
                raise OutputError(f"{path} is {what} itself: choose another name")


def _hidden(final: Path, what: str) -> Path:
    return final.with_name(f".{final.stem}.{os.getpid()}.{what}{final.suffix}")


def _sweep(final: Path) -> None:
    """Remove temporary files of dead processes beside ``final``, of its name or longer ones."""
    for path in final.parent.glob(f".{glob.escape(final.stem)}.*"):
        found = _HIDDEN.search(path.name)
        if found and not is_running(int(found[1])):
            path.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Whether there is a process of this number; on Windows always."""
    if sys.platform == "win32":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True
