"""The one place where all stages meet: read, compute, stitch, write and polygonise at once."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geounet import heap
from geounet.choose import Say, choose_model
from geounet.classes import NODATA
from geounet.errors import SceneError
from geounet.fit import Fit
from geounet.labels import labels_array
from geounet.options import Progress, SegmentOptions
from geounet.outputs import MapKind, OutputPaths, Outputs
from geounet.parts import Kept, Nowhere, was_committing
from geounet.report import SegmentReport
from geounet.run import Run, closing, drive
from geounet.scene import SceneSource, open_scene
from geounet.staging import Staging, check_outputs, refuse_inputs
from geounet.stitch import Strip
from geounet.totals import Totals
from geounet.warn import warn_caller, warn_of_place

if TYPE_CHECKING:
    import xarray as xr

    from geounet.engine import ModelEngine

_LOG = logging.getLogger("geounet")

Keeping = Callable[[Run, Path, Say], contextlib.AbstractContextManager[Kept]]
"""Opens the place where the strips of a run are kept, for the class map of this name."""


def run_segment(
    source: SceneSource,
    options: SegmentOptions,
    *,
    say: Say,
    warn: Say,
    progress: Progress | None = None,
    engines: Sequence[ModelEngine] | None = None,
    kept: Keeping = Run.kept,
) -> SegmentReport:
    """Segment a scene into files: :func:`geounet.segment` with its options as one value.

    Args:
        source: As there.
        options: What was asked for.
        say: Hears which model was chosen.
        warn: Hears what may spoil the result.
        progress: Hears how far the run is.
        engines: What runs the model; None: made as the options say.
        kept: Where finished strips are.
    """
    start = time.perf_counter()
    heap.give_back_large()
    with closing(open_scene(source)) as scene:
        bundle, fit = choose_model(scene, options, say)
        paths = OutputPaths.of(scene.info, bundle.spec.name, options)
        refuse_inputs(paths.all, scene.info.files, "the scene")
        if options.aoi is not None:
            refuse_inputs(paths.all, [options.aoi], "the area of --aoi")
        overwrite = options.overwrite or was_committing(paths.raster)
        check_outputs(reversed(paths.all), overwrite=overwrite)
        with closing(fit.scene), contextlib.ExitStack() as stack:
            for reader in (scene, fit.scene):
                reader.close()  # with the blocks that choosing has read; a later read opens anew
            run = Run(fit, bundle, options, engines)
            strips = stack.enter_context(kept(run, paths.raster, say))
            staging = stack.enter_context(Staging())
            totals = Totals(bundle.spec.classes, fit.scene.info.geobox)
            with Outputs(
                paths, staging, fit.scene.info, MapKind.of_model(bundle),
                simplify=options.simplify, smooth=options.smooth, say=say,
            ) as outputs:  # fmt: skip
                sinks = [strips.keep, totals.add, outputs.write]
                drive(run, sinks, progress, lambda: warn_of_place(fit, bundle, warn), strips)
                if totals.valid_pixels == 0:
                    raise SceneError(_nothing_valid(fit, options))
                outputs.finish()
            run.watch.check()
            strips.commit()
            staging.commit()
            strips.drop()
    return _report(run, paths, totals, time.perf_counter() - start)


def segment_array(
    array: Any, options: SegmentOptions, *, progress: Progress | None = None
) -> xr.DataArray:
    """Segment a DataArray into a DataArray of labels (y, x) with its CRS; held in memory."""
    scene = open_scene(array)
    bundle, fit = choose_model(scene, options, _LOG.info)
    run = Run(fit, bundle, options)
    labels = np.full((fit.scene.info.height, fit.scene.info.width), NODATA, np.uint8)

    def keep(strip: Strip) -> None:
        labels[strip.window.slices] = strip.labels

    drive(run, [keep], progress, lambda: warn_of_place(fit, bundle, warn_caller), Nowhere())
    return labels_array(labels, fit.scene.info.geobox, bundle.spec, like=fit.scene)


def _report(run: Run, paths: OutputPaths, totals: Totals, seconds: float) -> SegmentReport:
    pixels = run.fit.scene.info.window.size
    return SegmentReport(
        raster=paths.raster,
        polygons=paths.polygons,
        confidence=paths.confidence,
        model=run.bundle.spec.name,
        model_sha256=run.bundle.sha256,
        pixels=pixels,
        valid_pixels=totals.valid_pixels,
        seconds=round(seconds, 3),
        mpx_per_s=round(pixels / seconds / 1e6, 3),
        engine=run.engine.name,
        device=",".join(engine.device for engine in run.engines),
        precision=run.engine.precision,
        tile=run.grid.tile,
        halo=run.grid.halo,
        seam=run.engine.seam,
        classes=totals.classes(),
    )


def _nothing_valid(fit: Fit, options: SegmentOptions) -> str:
    where = " inside --aoi" if options.aoi is not None else ""
    return (
        f"{fit.scene.info.source} has no valid pixel{where}: check its nodata value and mask"
        " (geounet info shows them)"
    )
