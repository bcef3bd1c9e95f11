"""What a run did, as one value that turns into a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTotal:
    """How much of a scene one class takes."""

    pixels: int
    """Number of pixels."""
    area_m2: float | None
    """Area in square metres on the ellipsoid; None without a CRS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentReport:
    """The result of ``geounet segment``."""

    raster: Path
    """The class map (GeoTIFF)."""
    polygons: Path | None
    """The polygon layer (GeoPackage); None where it was not asked for."""
    confidence: Path | None
    """The confidence raster; None where it was not asked for."""
    model: str
    """Name of the model."""
    model_sha256: str
    """Its hash."""
    pixels: int
    """Pixels of the scene."""
    valid_pixels: int
    """Those that got a class."""
    seconds: float
    """From opening the scene to finished outputs."""
    mpx_per_s: float
    """Million pixels of the scene a second."""
    engine: str
    """What ran the network: ``torch`` or ``openvino``."""
    device: str
    """Where the network ran."""
    precision: str
    """``fp32``, ``bf16``, ``fp16`` or ``int8``."""
    tile: int
    """Side of a tile's core in pixels."""
    halo: int
    """Context around it in pixels; where tiles are blended, half of what two of them share."""
    seam: str
    """How tiles were joined: ``exact`` (they change nothing) or ``blend``."""
    classes: Mapping[str, ClassTotal]
    """Class name -> pixels and area."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), default=str)
