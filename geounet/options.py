"""The options of a segmentation, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from geounet.errors import OptionError
from geounet.fit import Reading

MAX_TILE = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOptions:
    """What ``geounet segment`` was asked to do."""

    model: str | Path | None = None
    """Name of a bundled model or path of a bundle; None: the bundled one whose bands fit."""
    out: Path | None = None
    """The class map; None: ``<scene>.<model>.tif`` in the current folder."""
    polygons: Path | bool = True
    """The polygon layer; True: beside the class map; False: none."""
    confidence: bool = False
    """Also write ``<out>.confidence.tif`` and the mean confidence of each polygon."""
    reading: Reading = field(default_factory=Reading)
    """Bands, scale and offset, where the scene does not say."""
    aoi: Path | None = None
    """A vector file; outside its polygons the output is nodata."""
    tile: int | None = None
    """Side of a tile's core in pixels; None: by device."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    precision: str = "auto"
    """``auto``, ``fp32``, ``bf16`` or ``fp16``."""
    overwrite: bool = False
    """Replace outputs that exist."""

    def __post_init__(self) -> None:
        if self.tile is not None and not 1 <= self.tile <= MAX_TILE:
            raise OptionError(f"--tile {self.tile}: a tile has 1 to {MAX_TILE} pixels")
        if self.out is not None and self.out.suffix.lower() not in (".tif", ".tiff"):
            raise OptionError(f"-o {self.out}: the class map is a GeoTIFF: end it in .tif")
        if isinstance(self.polygons, Path) and self.polygons.suffix.lower() != ".gpkg":
            raise OptionError(f"--polygons {self.polygons}: end it in .gpkg (GeoPackage)")
