"""What ``geounet polygonize`` may be asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geounet.errors import OptionError
from geounet.polygonize.tolerance import parse_length
from geounet.scene import SceneSource


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonizeOptions:
    """What ``geounet polygonize`` was asked to do."""

    simplify: str | float | None = None
    """How far borders may move: pixels (``1.5``, ``"1.5px"``) or metres (``"20m"``)."""
    smooth: bool = False
    """Whether borders run smoothly, less than half a pixel from the edges of the pixels; after
    ``simplify``, corners are rounded instead."""
    min_area: float = 0.0
    """Square metres (pixels without a CRS): what is smaller takes the class of its largest
    neighbour, see :class:`geounet.polygonize.Sieve`."""
    max_hole: float = 0.0
    """In the same unit: holes up to this size, with all that is in them, are filled."""
    diagonal: bool = False
    """Whether pixels that touch at a corner belong together (8-connectivity)."""
    classes: Sequence[str | int] = ()
    """Names or codes of the classes that get polygons; none: all."""
    confidence: SceneSource | None = None
    """A raster of 0..100 on the same grid: its mean and minimum become columns."""
    objects: bool = False
    """Whether polygons are numbered, with centroid and bounding box."""
    band: int | None = None
    """Which band has the codes, from 1; None: the only one."""
    threads: int | None = None
    """Bands of rows that are traced at once; None: as many as there are cores."""
    overwrite: bool = False
    """Replace a layer that exists."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise OptionError(f"--threads {self.threads}: give at least 1")
        for name, value in (("--min-area", self.min_area), ("--max-hole", self.max_hole)):
            if not value >= 0:
                raise OptionError(f"{name} {value:g}: give square metres, 0 or more")
        if self.simplify is not None:
            parse_length(str(self.simplify), "--simplify")
