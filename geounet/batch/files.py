"""How outputs are known again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

Files = Mapping[str, tuple[int, int | str]]
"""Name of an output -> bytes, and time of change in nanoseconds; of an object its ETag."""


def files_of(paths: Iterable[Path]) -> Files:
    """Size and time of change of those that are there."""
    found = {path.name: path.stat() for path in paths if path.exists()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


def are_same(told: object, found: Files) -> bool:
    """Whether files are as a row of the manifest tells of them."""
    return isinstance(told, dict) and all(
        tuple(told.get(name, ())) == mark for name, mark in found.items()
    )
