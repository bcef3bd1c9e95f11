"""What happened to each band and each scene of a batch, one line of JSON each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geounet.errors import OutputError

NAME = "manifest.jsonl"
"""In the folder of outputs."""

Row = Mapping[str, Any]
"""``time``, ``scene``, ``output``, ``rows`` (first, behind the last; None: all), ``state``
(``done``, ``kept`` from an earlier run, ``failed``, ``again``: failed and tried again), ``step``
of what failed (``plan``, ``band``, ``finish``),
``seconds``, ``worker``, ``model_sha256``, ``input_sha256`` (of where the scene lies, its size and
its time of change), ``error``; in rows of scenes that are done also ``fingerprint`` (what the
outputs depend on) and ``files`` (their sizes and times of change)."""


class Manifest:
    """Appends rows as things happen.

    A row is one write, so that a kill leaves whole rows, but perhaps for the last.

    Args:
        folder: Of the outputs.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    @property
    def path(self) -> Path | str:
        """Where it is."""
        return self._path

    def add(self, *, then: Callable[[], None] | None = None, **row: Any) -> None:
        """Append a row; the time is added.

        Args:
            then: What is done when the row is there, whatever is killed then.
            row: See ``Row``.
        """
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._append(json.dumps({"time": stamp, **row}, default=str).encode() + b"\n")
        self._after(then)

    def settle(self, *, now: bool = False) -> None:
        """Put down what waits, if it is time or if it must be ``now``: here nothing waits.

        Raises:
            OutputError: It must be, and cannot.
            ClusterError: Another batch has taken the place.
        """

    def watch(self, is_ours: Callable[[], bool]) -> None:
        """Hear how to find out whether another batch has taken the place: here it cannot."""

    def _after(self, then: Callable[[], None] | None) -> None:
        if then is not None:
            then()

    def _append(self, line: bytes) -> None:
        try:
            with self._path.open("ab+", buffering=0) as file:
                file.write(b"\n" + line if _is_torn(file) else line)
        except OSError as error:
            raise OutputError(
                f"{self._path} cannot be written ({error.strerror}): free some disk space; the same"
                " command goes on with what is finished"
            ) from error

    def rows(self) -> Iterator[Row]:
        """Those of earlier runs and of this one; what is no row is passed over."""
        for line in self._lines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row

    def finished(self) -> dict[str, Row]:
        """Name of a class map -> the last row that says it is done, with what it depends on."""
        return {
            row["output"]: row
            for row in self.rows()
            if row.get("state") == "done" and row.get("fingerprint") and row.get("output")
        }

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().split(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            return []


def _is_torn(file: Any) -> bool:
    """Whether the last row of the file was cut short."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) != b"\n")
