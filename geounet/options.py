"""The options of a segmentation, checked once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypedDict

from geounet.errors import OptionError
from geounet.fit import Reading
from geounet.polygonize.layers import check_suffix
from geounet.polygonize.tolerance import parse_length

MAX_TILE = 16384

_ADDRESS = re.compile(r"(?:s3a?|gc?s|az|abfss?|adl|https?|ftp):[/\\]", re.IGNORECASE)
"""What a path makes of the beginning of an address."""


class Progress(Protocol):
    """Called at the start and after each minibatch of tiles."""

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` pixels of the scene are finished."""


class SegmentKeywords(TypedDict, total=False):
    """The options of :func:`geounet.segment`; what is left out has the command line's default."""

    bands: str
    """Which band is which: ``"B02=1,B03=2,..."``."""
    scale: float
    """Stored value times this plus ``offset`` is the model's unit; default: the scene's tags."""
    offset: float
    """See ``scale``."""
    polygons: str | Path | bool
    """The polygon layer (``.gpkg``, ``.fgb``, ``.parquet`` or ``.geojson``); True: a GeoPackage
    beside the class map; False: none."""
    simplify: str | float
    """How far the polygons' borders may move: pixels (``1.5``) or metres (``"20m"``)."""
    smooth: bool
    """Whether the polygons' borders run smoothly, less than half a pixel from the pixels' edges."""
    confidence: bool
    """Also write how sure the network is, as a raster and as a column of the polygons."""
    aoi: str | Path
    """A vector file; outside its polygons the output is nodata."""
    tile: int
    """Side of a tile's core in pixels; where tiles are exact, the result does not depend on it."""
    engine: str
    """``auto``, ``torch`` or ``openvino``."""
    device: str
    """``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or several GPUs: ``cuda:0,cuda:1``."""
    precision: str
    """``auto``, ``fp32``, ``bf16``, ``fp16`` or ``int8``."""
    overwrite: bool
    """Replace outputs that exist."""
    progress: Progress | None
    """Hears how far the run is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOptions:
    """What ``geounet segment`` was asked to do."""

    model: str | Path | None = None
    """Name of a bundled model, or path of a bundle or ONNX file; None: the one that fits."""
    out: Path | None = None
    """The class map; None: ``<scene>.<model>.tif`` in the current folder."""
    polygons: Path | bool = True
    """The polygon layer; True: a GeoPackage beside the class map; False: none."""
    simplify: str | float | None = None
    """How far the polygons' borders may move: pixels (``1.5``) or metres (``"20m"``)."""
    smooth: bool = False
    """Whether the polygons' borders run smoothly, less than half a pixel from the pixels' edges."""
    confidence: bool = False
    """Also write ``<out>.confidence.tif`` and the mean confidence of each polygon."""
    reading: Reading = field(default_factory=Reading)
    """Bands, scale and offset, where the scene does not say."""
    aoi: Path | None = None
    """A vector file; outside its polygons the output is nodata."""
    tile: int | None = None
    """Side of a tile's core in pixels; None: as large as fits into about a gigabyte (CPU), or by
    device."""
    engine: str = "auto"
    """``auto``, ``torch`` or ``openvino``."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or several GPUs: ``cuda:0,cuda:1``."""
    precision: str = "auto"
    """``auto``, ``fp32``, ``bf16``, ``fp16`` or ``int8``."""
    overwrite: bool = False
    """Replace outputs that exist."""

    def __post_init__(self) -> None:
        if self.tile is not None and not 1 <= self.tile <= MAX_TILE:
            raise OptionError(f"--tile {self.tile}: a tile has 1 to {MAX_TILE} pixels")
        for path in (self.out, self.polygons):
            if isinstance(path, Path) and _ADDRESS.match(str(path)):
                raise OptionError(
                    f"{path}: one scene's outputs go to a folder; geounet batch -o takes addresses"
                    " of buckets, too"
                )
        if self.out is not None and self.out.suffix.lower() not in (".tif", ".tiff"):
            raise OptionError(f"-o {self.out}: the class map is a GeoTIFF: end it in .tif")
        if isinstance(self.polygons, Path):
            check_suffix(self.polygons)
        if self.simplify is not None:
            parse_length(str(self.simplify), "--simplify")

    @classmethod
    def of(
        cls, model: str | Path | None, out: str | Path | None, keywords: SegmentKeywords
    ) -> Self:
        """From the arguments of :func:`geounet.segment`, ``progress`` apart.

        Raises:
            OptionError: An option that does not exist, or one outside its limits.
        """
        given: dict[str, Any] = dict(keywords)
        unknown = set(given) - set(SegmentKeywords.__annotations__)
        if unknown:
            raise OptionError(
                f"geounet.segment has no option {', '.join(sorted(unknown))}: it takes"
                f" {', '.join(SegmentKeywords.__annotations__)}"
            )
        reading = Reading(**{k: given.pop(k) for k in ("bands", "scale", "offset") if k in given})
        for key in ("polygons", "aoi"):
            if isinstance(given.get(key), str):
                given[key] = Path(given[key])
        return cls(model=model, out=None if out is None else Path(out), reading=reading, **given)
