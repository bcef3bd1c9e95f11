"""What goes to workers, and what comes back: values that pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geounet.batch.files import Files
from geounet.batch.place import Place
from geounet.batch.source import Source
from geounet.fingerprint import Fingerprint
from geounet.options import SegmentOptions
from geounet.outputs import OutputPaths
from geounet.pool import EngineRecipe
from geounet.report import ClassTotal


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One scene and what is to be made of it."""

    name: str
    """As the user gave it, for messages."""
    source: Source
    """Where it lies."""
    options: SegmentOptions
    """With the paths of all outputs."""
    place: Place
    """Where these are."""
    pixels: int
    """Of the scene."""
    finished: Fingerprint | None = None
    """What outputs depend on that are there, by the manifest; None: there are none."""

    @property
    def outputs(self) -> list[Path]:
        """Every file that is made of it, the class map last."""
        raster, layer = self.options.out, self.options.polygons
        assert raster is not None  # noqa: S101  for the type checker
        return OutputPaths(
            raster=raster,
            polygons=layer if isinstance(layer, Path) else None,
            confidence=raster.with_suffix(".confidence.tif") if self.options.confidence else None,
        ).all


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a scene is computed."""

    job: Job
    """The scene, its options now the same on each worker."""
    recipe: EngineRecipe
    """How an engine is built."""
    fingerprint: Fingerprint | None
    """What strips depend on; None: the scene cannot be known again."""
    outputs: Fingerprint | None
    """What outputs depend on."""
    is_finished: bool
    """Whether the outputs are there."""
    missing: tuple[int, ...]
    """Rows of tiles whose strips are to be computed."""
    pixel_rows: Mapping[int, tuple[int, int]]
    """Row of tiles -> first row of its strip, and the one behind the last, in pixels."""
    height: int
    """Of a row of tiles, in pixels."""
    width: int
    """Of the scene, in pixels."""
    margin: int
    """Rows of pixels above and below a band that are read for it, too."""
    lead: int
    """Rows of tiles above a band that are computed for it, too."""
    said: tuple[str, ...] = ()
    """For the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The outputs of a scene."""

    files: Files
    """All of them."""
    warned: tuple[str, ...]
    """What may spoil the result."""
    classes: Mapping[str, ClassTotal]
    """Class name -> pixels and area."""
    valid_pixels: int
    """Those that got a class."""
    waited: float = 0.0
    """Seconds in which its strips were still computed by others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ended on its worker."""

    worker: str
    """Its address."""
    seconds: float
    """It took."""
    value: Any = None
    """What was made."""
    error: str | None = None
    """One line; None: it is done."""
