"""From class maps to the files of a mosaic: read, join, write and polygonise at once."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from odc.geo.geobox import GeoBox

from geounet import heap
from geounet.errors import OptionError, SceneError
from geounet.mosaic.grid import GridChoice, choose_grid
from geounet.mosaic.item import mosaic_item
from geounet.mosaic.joining import Mosaic
from geounet.mosaic.maps import ClassMap, read_maps
from geounet.mosaic.placing import PlacedMap
from geounet.options import Progress
from geounet.outputs import MODEL_TAG, SHA256_TAG, MapKind, OutputPaths, Outputs, classes_json
from geounet.pipeline import Ahead
from geounet.polygonize.layers import check_suffix
from geounet.polygonize.tolerance import parse_length
from geounet.report import ClassTotal
from geounet.samegrid import crs_name
from geounet.scene import SceneInfo
from geounet.stac import write_item
from geounet.staging import Staging, check_outputs, refuse_inputs
from geounet.totals import Totals

Say = Callable[[str], object]

_SPARSE = 20
"""Pixels of a grid for each one of a map, from which somebody may wonder what takes so long."""

_LOG = logging.getLogger("geounet")


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicOptions:
    """What ``geounet mosaic`` was asked to do."""

    grid: GridChoice = field(default_factory=GridChoice)
    """The grid; by default the one that suits the maps."""
    polygons: Path | bool = False
    """The polygon layer; True: a GeoPackage beside the mosaic; False: none."""
    simplify: str | float | None = None
    """How far the polygons' borders may move: pixels (``1.5``) or metres (``"20m"``)."""
    smooth: bool = False
    """Whether the polygons' borders run smoothly, less than half a pixel from the pixels' edges."""
    stac: bool = False
    """Whether a STAC item is written beside the mosaic (``.json``)."""
    overwrite: bool = False
    """Replace outputs that exist."""

    def __post_init__(self) -> None:
        if isinstance(self.polygons, Path):
            check_suffix(self.polygons)
        if self.simplify is not None:
            parse_length(str(self.simplify), "--simplify")


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicReport:
    """The result of ``geounet mosaic``."""

    raster: Path
    """The mosaic (GeoTIFF)."""
    polygons: Path | None
    """The polygon layer; None where it was not asked for."""
    item: Path | None
    """The STAC item; None where it was not asked for."""
    maps: int
    """How many maps were put together."""
    copied: int
    """Of these, the ones whose pixels are those of the mosaic; the others were resampled."""
    pixels: int
    """Pixels of the mosaic."""
    valid_pixels: int
    """Those that have a class."""
    seconds: float
    """From opening the maps to finished outputs."""
    mpx_per_s: float
    """Million pixels of the mosaic a second."""
    classes: Mapping[str, ClassTotal]
    """Class name -> pixels and area."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), default=str)


def mosaic_maps(
    maps: Iterable[str | Path],
    out: str | Path,
    options: MosaicOptions | None = None,
    *,
    say: Say = _LOG.info,
    progress: Progress | None = None,
) -> MosaicReport:
    """Put class maps that overlap together on one grid.

    Where maps overlap, a pixel has the class of the map in which it is farther from the edge of
    what is valid; a valid pixel always beats nodata. See :class:`~geounet.mosaic.joining.Mosaic`.

    Args:
        maps: Class maps of one scheme of classes, as ``geounet segment`` writes them.
        out: The mosaic (``.tif``).
        options: See :class:`MosaicOptions`.
        say: Hears what a person may want to know.
        progress: Hears how many of the pixels are done.

    Returns:
        What was written.

    Raises:
        SceneError: A map cannot be read, has no place, or has other classes than the first.
        OptionError: Options that cannot be.
        OutputError: An output exists, is one of the maps, or cannot be written. Nothing
            half-written stays.
    """
    start, options, out = time.perf_counter(), options or MosaicOptions(), Path(out)
    heap.give_back_large()
    sources = read_maps(maps)
    paths = _paths(out, options)
    item = out.with_suffix(".json") if options.stac else None
    written = [*paths.all, *([item] if item else [])]
    files = [file for source in sources for file in source.info.files]
    refuse_inputs(written, files, "one of the maps")
    check_outputs(written, overwrite=options.overwrite)
    grid = choose_grid(sources, options.grid)
    placed = [PlacedMap(source, grid) for source in sources]
    copied = sum(one.is_copied for one in placed)
    _tell(sources, grid, copied, say)
    kind = _kind(sources)
    info = SceneInfo(name=out.stem, source=str(out), geobox=grid, georeferenced=True, bands=())
    totals = Totals(kind.classes, grid)
    with Staging() as staging:
        with Outputs(
            paths, staging, info, kind, simplify=options.simplify, smooth=options.smooth, say=say
        ) as outputs, Ahead(Mosaic(placed, grid).strips(), depth=1) as strips:  # fmt: skip
            for strip in strips:
                totals.add(strip)
                outputs.write(strip)
                heap.give_back()
                if progress is not None:
                    progress(strip.window.row_end * info.width, info.window.size)
            if totals.valid_pixels == 0:
                raise SceneError(_nothing(sources, options.grid))
            outputs.finish()
        staging.commit()
    seconds = time.perf_counter() - start
    report = MosaicReport(
        raster=paths.raster,
        polygons=paths.polygons,
        item=item,
        maps=len(sources),
        copied=copied,
        pixels=info.window.size,
        valid_pixels=totals.valid_pixels,
        seconds=round(seconds, 3),
        mpx_per_s=round(info.window.size / seconds / 1e6, 3),
        classes=totals.classes(),
    )
    if options.stac:
        write_item(out, mosaic_item(sources, out, paths.polygons, report))
    return report


def _paths(out: Path, options: MosaicOptions) -> OutputPaths:
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise OptionError(f"-o {out}: the mosaic is a GeoTIFF: end it in .tif")
    beside = out.with_suffix(".gpkg") if options.polygons else None
    return OutputPaths(
        raster=out,
        polygons=options.polygons if isinstance(options.polygons, Path) else beside,
        confidence=None,
    )


def _kind(sources: Sequence[ClassMap]) -> MapKind:
    """The classes of the first, the model if it is that of all, and where it all came from."""
    tags = {"GEOUNET_VERSION": version("geounet")}
    for tag in (MODEL_TAG, SHA256_TAG):
        said = {source.tags.get(tag) for source in sources}
        if len(said) == 1 and (one := said.pop()) is not None:
            tags[tag] = one
    tags["GEOUNET_MOSAIC"] = json.dumps([Path(source.path).name for source in sources])
    tags["GEOUNET_CLASSES"] = classes_json(sources[0].classes)
    return MapKind(classes=sources[0].classes, tags=tags)


def _tell(sources: Sequence[ClassMap], grid: GeoBox, copied: int, say: Say) -> None:
    """Which grid it is, where that is not plain."""
    height, width = grid.shape
    if copied < len(sources):
        crs = "no CRS" if grid.crs is None else crs_name(grid.crs)
        say(
            f"{len(sources) - copied} of {len(sources)} maps lie on other pixels: resampled"
            f" (nearest) to {width} x {height} pixels of {abs(grid.affine.a):.6g} in {crs}"
        )
    if height * width > _SPARSE * sum(source.info.window.size for source in sources):
        say(
            f"the maps lie far apart: the mosaic has {height * width / 1e6:,.0f} million pixels,"
            " most of them empty"
        )


def _nothing(sources: Sequence[ClassMap], choice: GridChoice) -> str:
    if choice.like is not None:
        return f"no map has a valid pixel on the grid of {choice.like}: do they lie there?"
    if len(sources) == 1:
        return f"{sources[0].path} has no valid pixel: check its nodata value"
    return f"none of the {len(sources)} maps has a valid pixel: check their nodata values"
