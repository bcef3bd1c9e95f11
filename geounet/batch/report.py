"""What a batch did, as one value that turns into a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """The result of ``geounet batch``; what lies in a bucket is told by its address."""

    manifest: Path | str
    """What happened, line by line."""
    done: tuple[Path | str, ...]
    """Class maps that were made."""
    kept: tuple[Path | str, ...]
    """Class maps that an earlier run had made."""
    mosaic: Path | str | None
    """Of all class maps; None where it was not asked for, or where a scene failed."""
    failed: Mapping[str, str]
    """Scene -> why."""
    pixels: int
    """Of the scenes that were made; what earlier runs had computed of them counts."""
    seconds: float
    """From the first look at the scenes to the end."""
    mpx_per_s: float
    """Million pixels a second."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), default=str)
