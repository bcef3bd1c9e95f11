"""The one place where all stages meet: read, compute, stitch, write and polygonise at once."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geounet import heap
from geounet.aoi import AreaOfInterest
from geounet.blend import blended_strips
from geounet.choose import Say, choose_model
from geounet.classes import NODATA
from geounet.errors import SceneError
from geounet.feed import Feed, StripFeeder
from geounet.fingerprint import fingerprint
from geounet.fit import Fit
from geounet.labels import labels_array
from geounet.options import Progress, SegmentOptions
from geounet.outputs import OutputPaths, Outputs
from geounet.parts import Kept, Nowhere, Parts, was_committing
from geounet.pipeline import Ahead, Behind
from geounet.report import SegmentReport
from geounet.scene import SceneReader, SceneSource, open_scene
from geounet.scene.remote import Watch
from geounet.staging import Staging, check_outputs
from geounet.stitch import Strip, segment_strips
from geounet.tilesize import best_tile, fixed_tile
from geounet.tiling import TileGrid, round_up
from geounet.totals import Totals
from geounet.warn import warn_caller, warn_of_place

if TYPE_CHECKING:
    import xarray as xr

    from geounet.bundle import Bundle
    from geounet.engine import ModelEngine

_SMALLEST_SHARE = 512
"""Side of a core below which halos cost more than several devices gain."""

_LOG = logging.getLogger("geounet")


def run_segment(
    source: SceneSource,
    options: SegmentOptions,
    *,
    say: Say,
    warn: Say,
    progress: Progress | None = None,
) -> SegmentReport:
    """Segment a scene into files: :func:`geounet.segment` with its options as one value.

    Args:
        source: As there.
        options: What was asked for.
        say: Hears which model was chosen.
        warn: Hears what may spoil the result.
        progress: Hears how far the run is.
    """
    start = time.perf_counter()
    heap.give_back_large()
    with _closing(open_scene(source)) as scene:
        bundle, fit = choose_model(scene, options, say)
        paths = OutputPaths.of(scene.info, bundle.spec.name, options)
        for file in scene.info.files:
            paths.refuse_input(file)
        check_outputs(paths.all, overwrite=options.overwrite or was_committing(paths.raster))
        with _closing(fit.scene), contextlib.ExitStack() as stack:
            for reader in (scene, fit.scene):
                reader.close()  # with the blocks that choosing has read; a later read opens anew
            run = _Run(fit, bundle, options)
            kept = run.kept(paths.raster, say, stack)
            staging = stack.enter_context(Staging())
            totals = Totals(bundle.spec.classes, fit.scene.info.geobox)
            with Outputs(
                paths, staging, fit.scene.info, bundle, simplify=options.simplify,
                smooth=options.smooth, say=say,
            ) as outputs:  # fmt: skip
                sinks = [kept.keep, totals.add, outputs.write]
                _drive(run, sinks, progress, lambda: warn_of_place(fit, bundle, warn), kept)
                if totals.valid_pixels == 0:
                    raise SceneError(_nothing_valid(fit, options))
                outputs.finish()
            run.watch.check()
            kept.commit()
            staging.commit()
            kept.drop()
    return _report(run, paths, totals, time.perf_counter() - start)


def segment_array(
    array: Any, options: SegmentOptions, *, progress: Progress | None = None
) -> xr.DataArray:
    """Segment a DataArray into a DataArray of labels (y, x) with its CRS; held in memory."""
    scene = open_scene(array)
    bundle, fit = choose_model(scene, options, _LOG.info)
    run = _Run(fit, bundle, options)
    labels = np.full((fit.scene.info.height, fit.scene.info.width), NODATA, np.uint8)

    def keep(strip: Strip) -> None:
        labels[strip.window.slices] = strip.labels

    _drive(run, [keep], progress, lambda: warn_of_place(fit, bundle, warn_caller), Nowhere())
    return labels_array(labels, fit.scene.info.geobox, bundle.spec, like=fit.scene)


class _Run:
    """The parts of one run, built from its options."""

    def __init__(self, fit: Fit, bundle: Bundle, options: SegmentOptions) -> None:
        from geounet.engine.select import make_engines

        info = fit.scene.info
        self.fit, self.bundle, self.options = fit, bundle, options
        self.watch = Watch(info.files)
        self.wanted = None if options.aoi is None else AreaOfInterest.read(options.aoi, info.geobox)
        self.engines: list[ModelEngine] = make_engines(
            bundle,
            fit.normalizer,
            engine=options.engine,
            device=options.device,
            precision=options.precision,
        )
        self.engine = self.engines[0]
        self.grid = TileGrid.cover(
            height=info.height,
            width=info.width,
            tile=self._tile(max(info.height, info.width)),
            halo=self.engine.halo,
            stride=self.engine.stride,
            whole=self.engine.side is not None,
        )

    def _tile(self, longest: int) -> int:
        """Side of a core, for a scene whose longer side is ``longest``."""
        engine, asked = self.engine, self.options.tile
        if engine.side is not None:
            return fixed_tile(engine.side, engine.halo, self.bundle, asked)
        return min(asked or self._shared(self._largest_tile()), longest)

    def _largest_tile(self) -> int:
        """The side that is best on the device."""
        scene = self.fit.scene.info
        itemsize = max(np.dtype(scene.bands[band - 1].dtype).itemsize for band in self.fit.bands)
        return best_tile(self.engine, self.bundle, width=scene.width, itemsize=itemsize)

    def _shared(self, tile: int) -> int:
        """A side that gives each of several devices two rows of tiles or more, if it can."""
        engine, number = self.engine, len(self.engines)
        if number == 1 or engine.seam != "exact":
            return tile
        fair = round_up(-(-self.fit.scene.info.height // (2 * number)), engine.stride)
        return min(tile, max(fair, _SMALLEST_SHARE))

    def kept(self, raster: Path, say: Say, stack: contextlib.ExitStack) -> Kept:
        """Where strips are kept, so that a run that was killed can go on."""
        depends = fingerprint(
            self.fit, self.bundle, self.options, self.engine, self.grid, self.watch
        )
        return Nowhere() if depends is None else stack.enter_context(Parts(raster, depends, say))

    @property
    def spread(self) -> int:
        """Rows beyond a row of tiles that its tiles have a say in."""
        return 0 if self.engine.seam == "exact" else self.grid.halo

    def rows(self, done: int) -> range:
        """The rows of tiles that are needed for all below row ``done`` of the scene."""
        if done >= self.grid.height:
            return range(self.grid.rows, self.grid.rows)
        first = -(-(done + self.spread) // self.grid.tile) if done else 0
        return range(max(0, first - -(-2 * self.spread // self.grid.tile)), self.grid.rows)

    def feeder(self, rows: range) -> StripFeeder:
        """Reads what the tiles need."""
        area = None if self.wanted is None else self.wanted.window
        return StripFeeder(
            scene=self.fit.scene, bands=self.fit.bands, grid=self.grid, wanted=self.wanted,
            columns=None if area is None else (area.col_off, area.col_end), rows=rows,
            spread=self.spread,
        )  # fmt: skip

    def strips(self, feeds: Iterable[Feed], advance: Callable[[int], None]) -> Iterator[Strip]:
        """Computes, and joins the tiles as the model asks for."""
        joined = blended_strips if self.engine.seam == "blend" else segment_strips
        return joined(
            self.engines, feeds, self.grid, confidence=self.options.confidence, advance=advance
        )


def _drive(
    run: _Run,
    sinks: Sequence[Callable[[Strip], None]],
    progress: Progress | None,
    begun: Callable[[], None],
    kept: Kept,
) -> None:
    """Read ahead, compute here, write behind; ``begun`` hears of the first pixel with a class.

    What only may spoil the result is said then: where there is no such pixel, that is the error,
    and nothing comes before it.
    """
    done, total, one_by_one = 0, run.fit.scene.info.window.size, threading.Lock()
    finished = kept.rows
    rows = run.rows(finished)

    def consume(strip: Strip) -> None:
        for sink in sinks:
            sink(strip)
        heap.give_back()

    def read() -> Iterator[Feed]:
        for feed in run.feeder(rows):
            heap.give_back()
            yield feed

    def advance(pixels: int) -> None:
        nonlocal done
        with one_by_one:
            done += pixels
            if progress is not None:
                progress(done, total)

    advance(min(rows.start * run.grid.tile, run.grid.height) * run.grid.width)
    with Ahead(read(), depth=len(run.engines)) as feeds, Behind(consume, depth=1) as behind:
        waiting = True
        made = (s for s in run.strips(feeds, advance) if s.window.row_off >= finished)
        for strip in itertools.chain(kept.strips(), made):
            if waiting and (strip.labels != NODATA).any():
                waiting = False
                begun()
            behind.put(strip)


def _report(run: _Run, paths: OutputPaths, totals: Totals, seconds: float) -> SegmentReport:
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


@contextlib.contextmanager
def _closing(scene: SceneReader) -> Iterator[SceneReader]:
    try:
        yield scene
    finally:
        scene.close()
