"""From a class map to a layer of polygons: read, trace and write at once."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet import qgis
from geounet.classes import ClassDef
from geounet.cores import usable_cores
from geounet.errors import OptionError, SceneError
from geounet.legend import read_legend
from geounet.outputs import shown_grid
from geounet.pipeline import Ahead
from geounet.polygonize import (
    OUTSIDE,
    PolygonBatch,
    PolygonLayout,
    Sieve,
    StripPolygonizer,
    Tracing,
    check_suffix,
    layer_name,
    open_layer,
)
from geounet.polygonize.rehearsal import Rehearsal
from geounet.polygonize.tolerance import parse_length, tolerance_of
from geounet.polygonize.warm import get_ready
from geounet.samegrid import check_same_grid
from geounet.scene import SceneInfo, SceneReader, SceneSource, open_scene
from geounet.scene.remote import Watch
from geounet.staging import Staging, check_outputs, refuse_inputs
from geounet.window import Window

Say = Callable[[str], object]
Progress = Callable[[int, int], object]

Strip = tuple[NDArray[Any], NDArray[np.uint8] | None]

STRIP_PIXELS = 4 << 20
"""Pixels that are read at once."""

_CODES = np.iinfo(np.int32)
_SURE = 100  # percent
_LOG = logging.getLogger("geounet")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTotal:
    """How much of a layer one class takes."""

    polygons: int
    """Number of polygons."""
    pixels: int
    """Their pixels."""
    area_m2: float | None
    """Their area on the ellipsoid; None without a CRS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonizeReport:
    """The result of ``geounet polygonize``."""

    layer: Path
    """The file."""
    polygons: int
    """How many."""
    pixels: int
    """Of the raster."""
    seconds: float
    """From opening the raster to the finished layer."""
    mpx_per_s: float
    """Million pixels a second."""
    classes: Mapping[str, LayerTotal]
    """Class name (or code) -> totals, by code."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), default=str)


def polygonize_raster(
    raster: SceneSource,
    out: str | Path,
    options: PolygonizeOptions | None = None,
    *,
    say: Say = _LOG.info,
    warn: Say = warnings.warn,
    progress: Progress | None = None,
) -> PolygonizeReport:
    """Turn a raster of class codes into a layer of polygons.

    Polygons are joined over the whole raster, whatever its size; memory holds a few rows and the
    borders that are not closed yet. Neighbours share their borders, simplified and smoothed ones
    too.

    Args:
        raster: Path, URL, DataArray or reader with a band of whole numbers.
        out: The layer: ``.gpkg``, ``.fgb``, ``.parquet`` or ``.geojson``.
        options: See :class:`PolygonizeOptions`.
        say: Hears what a person may want to know.
        warn: Hears what may spoil the result.
        progress: Hears how many of the pixels are done.

    Returns:
        What was written.

    Raises:
        SceneError: The raster cannot be read or holds no codes.
        OptionError: Options that cannot be.
        OutputError: The layer exists, or cannot be written. Nothing half-written stays.
    """
    start, options, out = time.perf_counter(), options or PolygonizeOptions(), Path(out)
    check_suffix(out, "the layer")
    with ExitStack() as stack:
        scene = stack.enter_context(closing(open_scene(raster)))
        info = scene.info
        refuse_inputs([out], info.files, "the raster")
        check_outputs([out], overwrite=options.overwrite)
        watch = Watch(info.files)
        codes = _Codes(scene, options, stack)
        if info.geobox.crs is None:
            warn(f"{info.source} has no CRS, so the layer has none either, nor areas")
        sieved = bool(options.min_area or options.max_hole)
        run = Rehearsal(tracing=codes.tracing, sieved=sieved, suffix=out.suffix.lower())
        get_ready(info.window.size, say, run)
        staging = stack.enter_context(Staging())
        totals = _Totals(codes.legend)
        layout = codes.layout(layer_name(out.stem))
        layer = open_layer(staging.stage(out), layout)
        stack.callback(layer.abort)
        tracer = StripPolygonizer(codes.tracing, threads=options.threads or usable_cores())
        stack.callback(tracer.close)
        done = 0
        with Ahead(codes.strips(), depth=1) as strips:
            for labels, confidence in strips:
                batch = tracer.write(labels, confidence)
                totals.add(batch)
                layer.write(batch)
                done += labels.size
                if progress is not None:
                    progress(done, info.window.size)
        batch = tracer.finish()
        totals.add(batch)
        layer.write(batch)
        layer.finish()
        watch.check()
        if not totals.polygons:
            say(f"{info.source} has no pixel of the classes asked for: the layer is empty")
        staging.commit()
    seconds = time.perf_counter() - start
    return PolygonizeReport(
        layer=out,
        polygons=totals.polygons,
        pixels=info.window.size,
        seconds=round(seconds, 3),
        mpx_per_s=round(info.window.size / seconds / 1e6, 3),
        classes=totals.classes(placed=info.geobox.crs is not None),
    )


class _Codes:
    """The codes of a raster, strip by strip, and what is known of them."""

    def __init__(self, scene: SceneReader, options: PolygonizeOptions, stack: ExitStack) -> None:
        self._scene, self._options, info = scene, options, scene.info
        self._band = _band(info, options.band)
        self.legend = read_legend(info.path or info.source)
        self._wanted = _wanted(options.classes, self.legend)
        self._confidence = None
        if options.confidence is not None:
            self._confidence = stack.enter_context(closing(open_scene(options.confidence)))
            check_same_grid(info, self._confidence.info)
        self.tracing = Tracing(
            geobox=shown_grid(info),
            nodata=OUTSIDE,
            simplify=tolerance_of(options.simplify, info.geobox),
            smooth=options.smooth,
            diagonal=options.diagonal,
            confidence=self._confidence is not None,
            objects=options.objects,
        )

    def layout(self, name: str) -> PolygonLayout:
        """Of the layer."""
        crs, tracing = self.tracing.geobox.crs, self.tracing
        return PolygonLayout(
            name=name,
            columns=tracing.columns,
            names={code: one.name for code, one in self.legend.items()} or None,
            crs=None if crs is None else crs.to_wkt(),
            style=qgis.polygon_qml(list(self.legend.values())) if self.legend else None,
            geometry_type="MultiPolygon" if tracing.multi else "Polygon",
        )

    def strips(self) -> Iterator[Strip]:
        """What is traced: rows of labels, OUTSIDE where there is none, and of confidence."""
        options, tracing = self._options, self.tracing
        if not (options.min_area or options.max_hole):
            yield from self._read()
            return
        sieve = Sieve(
            geobox=tracing.geobox,
            nodata=OUTSIDE,
            min_area=options.min_area,
            max_hole=options.max_hole,
            diagonal=tracing.diagonal,
        )
        for labels, confidence in self._read():
            yield from sieve.add(labels, confidence)
        yield from sieve.rest()

    def _read(self) -> Iterator[Strip]:
        info = self._scene.info
        block = max(1, info.block[0])
        rows = max(1, STRIP_PIXELS // info.width // block) * block
        for row in range(0, info.height, rows):
            height = min(rows, info.height - row)
            window = Window(row_off=row, col_off=0, height=height, width=info.width)
            yield self._labels(window), self._confidences(window)

    def _labels(self, window: Window) -> NDArray[Any]:
        raster = self._scene.read(window, [self._band])
        data: NDArray[Any] = raster.data[0]
        if data.dtype.itemsize >= _CODES.dtype.itemsize and data.dtype != _CODES.dtype:
            values = data[raster.valid]
            if values.size and not _CODES.min < values.min() <= values.max() <= _CODES.max:
                raise SceneError(
                    f"{self._scene.info.source} holds values from {values.min()} to"
                    f" {values.max()}; class codes are between {_CODES.min + 1} and {_CODES.max}"
                )
        kept = raster.valid if self._wanted is None else raster.valid & np.isin(data, self._wanted)
        if data.dtype.kind in "iu" and kept.all():
            return data
        labels: NDArray[np.int32] = data.astype(np.int32)
        labels[~kept] = OUTSIDE
        return labels

    def _confidences(self, window: Window) -> NDArray[np.uint8] | None:
        if self._confidence is None:
            return None
        raster = self._confidence.read(window, [1])
        values = raster.data[0][raster.valid]
        source, dtype = self._confidence.info.source, raster.data.dtype
        if dtype.kind not in "iu" or (
            values.size and not 0 <= values.min() <= values.max() <= _SURE
        ):
            raise SceneError(
                f"{source} of type {dtype} is no confidence in percent: give whole numbers from 0"
                f" to {_SURE}, as geounet segment --confidence writes them"
            )
        return np.where(raster.valid, raster.data[0], 0).astype(np.uint8)


class _Totals:
    """Counts what was written."""

    def __init__(self, legend: Mapping[int, ClassDef]) -> None:
        self._legend = legend
        self._polygons: Counter[int] = Counter()
        self._pixels: Counter[int] = Counter()
        self._areas: Counter[int] = Counter()

    @property
    def polygons(self) -> int:
        """All of them."""
        return self._polygons.total()

    def add(self, batch: PolygonBatch) -> None:
        """Count these."""
        codes, index = np.unique(batch.columns["class"], return_inverse=True)
        areas = batch.columns.get("area_m2")
        for counter, weights in (
            (self._polygons, None),
            (self._pixels, batch.columns["pixels"]),
            (self._areas, areas),
        ):
            sums = np.bincount(index, weights=weights, minlength=len(codes))
            if counter is not self._areas or areas is not None:
                counter.update(dict(zip(codes.tolist(), sums.tolist(), strict=True)))

    def classes(self, *, placed: bool) -> dict[str, LayerTotal]:
        """By name."""
        return {
            self._legend[code].name if code in self._legend else str(code): LayerTotal(
                polygons=int(count),
                pixels=int(self._pixels[code]),
                area_m2=round(self._areas[code], 2) if placed else None,
            )
            for code, count in sorted(self._polygons.items())
        }


def _band(info: SceneInfo, asked: int | None) -> int:
    """The band with the codes, from 1."""
    bands = [i for i, band in enumerate(info.bands, start=1) if not band.is_alpha]
    if asked is None and len(bands) != 1:
        raise OptionError(
            f"{info.source} has {len(bands)} bands: say which has the codes with --band N"
        )
    band = bands[0] if asked is None else asked
    if not 1 <= band <= len(info.bands):
        raise OptionError(f"--band {band}: {info.source} has {len(info.bands)} bands, from 1 on")
    dtype = info.bands[band - 1].dtype
    if np.dtype(dtype).kind not in "iub":
        raise SceneError(
            f"{info.source} holds {dtype}; class codes are whole numbers: give a class map, or"
            " round it first (gdal_translate -ot Int32)"
        )
    return band


def _wanted(classes: Sequence[str | int], legend: Mapping[int, ClassDef]) -> list[int] | None:
    """Codes of these names and codes; None: all."""
    if not classes:
        return None
    by_name = {one.name: code for code, one in legend.items()}
    codes = []
    for one in classes:
        if isinstance(one, str) and one in by_name:
            codes.append(by_name[one])
            continue
        try:
            codes.append(int(one))
        except ValueError:
            known = f"it names {', '.join(by_name)}" if by_name else "it names none: give codes"
            raise OptionError(f"--classes {one}: no class of the raster; {known}") from None
    return codes
