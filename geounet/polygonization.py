"""From a class map to a layer of polygons: read, trace and write at once."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.classes import ClassDef
from geounet.codes import Codes
from geounet.cores import usable_cores
from geounet.pipeline import Ahead
from geounet.polygonize import (
    LayerWriter,
    PolygonBatch,
    StripPolygonizer,
    check_suffix,
    layer_name,
    open_layer,
)
from geounet.polygonize.rehearsal import Rehearsal
from geounet.polygonize.warm import get_ready
from geounet.polygonoptions import PolygonizeOptions
from geounet.scene import SceneSource, open_scene
from geounet.scene.remote import Watch
from geounet.staging import Staging, check_outputs, refuse_inputs

__all__ = ["LayerTotal", "PolygonizeOptions", "PolygonizeReport", "polygonize_raster"]

Say = Callable[[str], object]
Progress = Callable[[int, int], object]

_LOG = logging.getLogger("geounet")


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
        codes = Codes(scene, options, stack)
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
                _pass_on(tracer.parts(labels, confidence), totals, layer)
                done += labels.size
                if progress is not None:
                    progress(done, info.window.size)
        _pass_on(tracer.last_parts(), totals, layer)
        layer.finish()
        watch.check()
        if not totals.polygons:
            what = "the classes asked for" if options.classes else "any class"
            say(f"{info.source} has no pixel of {what}: the layer is empty")
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


def _pass_on(batches: Sequence[PolygonBatch], totals: _Totals, layer: LayerWriter) -> None:
    if batches:
        totals.add(batches)
    for batch in batches:
        layer.write(batch)


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

    def add(self, batches: Sequence[PolygonBatch]) -> None:
        """Count these, one at least."""
        codes, index = np.unique(_column(batches, "class"), return_inverse=True)
        counted = [(self._polygons, None), (self._pixels, _column(batches, "pixels"))]
        if "area_m2" in batches[0].columns:
            counted.append((self._areas, _column(batches, "area_m2")))
        for counter, weights in counted:
            sums = np.bincount(index, weights=weights, minlength=len(codes))
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


def _column(batches: Sequence[PolygonBatch], name: str) -> NDArray[Any]:
    return np.concatenate([batch.columns[name] for batch in batches])
