"""What happened to each band and each scene of a batch, one line of JSON each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
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
        self.path = folder / NAME

    def add(self, **row: Any) -> None:
        """Append a row; the time is added."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": stamp, **row}, default=str).encode() + b"\n"
        try:
            with self.path.open("ab+", buffering=0) as file:
                file.write(b"\n" + line if _is_torn(file) else line)
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror}): free some disk space; the same"
                " command goes on with what is finished"
            ) from error

    def rows(self) -> Iterator[Row]:
        """Those of earlier runs and of this one; what is no row is passed over."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            return
        for line in lines:
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


def _is_torn(file: Any) -> bool:
    """Whether the last row of the file was cut short."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) != b"\n")
