"""The one place where all stages meet: read, compute, stitch, write and polygonise at once."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import logging
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from geounet import heap
from geounet.aoi import AreaOfInterest
from geounet.area import pixel_size_m
from geounet.blend import blended_strips
from geounet.choose import Say, choose_model
from geounet.classes import NODATA
from geounet.errors import OptionError, SceneError
from geounet.feed import Feed, StripFeeder
from geounet.fit import Fit
from geounet.labels import labels_array
from geounet.options import Progress, SegmentOptions
from geounet.outputs import OutputPaths, Outputs
from geounet.pipeline import Ahead, Behind
from geounet.report import SegmentReport
from geounet.scene import SceneReader, SceneSource, open_scene
from geounet.staging import Staging, check_outputs
from geounet.stitch import Strip, segment_strip
from geounet.tilesize import largest_tile
from geounet.tiling import TileGrid
from geounet.totals import Totals

if TYPE_CHECKING:
    import xarray as xr

    from geounet.bundle import Bundle
    from geounet.engine import ModelEngine

DEFAULT_TILE: Mapping[str, int] = {"cpu": 1024, "cuda": 2048, "mps": 1024}
"""Side of a core by kind of device; on a CPU where nothing is known of the network."""

BLEND_TILE: Mapping[str, int] = {"cpu": 512, "cuda": 1024, "mps": 512}
"""The same where tiles are blended: such a network looks at the whole tile, and was trained on
smaller ones; and a row of tiles is held as float32 probabilities."""

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
        check_outputs(paths.all, overwrite=options.overwrite)
        with _closing(fit.scene), Staging() as staging:
            for reader in (scene, fit.scene):
                reader.close()  # with the blocks that choosing has read; a later read opens anew
            run = _Run(fit, bundle, options)
            totals = Totals(bundle.spec.classes, fit.scene.info.geobox)
            with Outputs(
                paths, staging, fit.scene.info, bundle, simplify=options.simplify,
                smooth=options.smooth, say=say,
            ) as outputs:  # fmt: skip
                sinks = [totals.add, outputs.write]
                _drive(run, sinks, progress, begun=lambda: warn_of_place(fit, bundle, warn))
                if totals.valid_pixels == 0:
                    raise SceneError(_nothing_valid(fit, options))
                outputs.finish()
            staging.commit()
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

    _drive(run, [keep], progress, begun=lambda: warn_of_place(fit, bundle, warn_caller))
    return labels_array(labels, fit.scene.info.geobox, bundle.spec, like=fit.scene)


class _Run:
    """The parts of one run, built from its options."""

    def __init__(self, fit: Fit, bundle: Bundle, options: SegmentOptions) -> None:
        from geounet.engine.select import make_engine

        info = fit.scene.info
        self.fit, self.bundle, self.options = fit, bundle, options
        self.wanted = None if options.aoi is None else AreaOfInterest.read(options.aoi, info.geobox)
        self.engine: ModelEngine = make_engine(
            bundle,
            fit.normalizer,
            engine=options.engine,
            device=options.device,
            precision=options.precision,
        )
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
        return min(asked or self._largest_tile(), longest)

    def _largest_tile(self) -> int:
        """The side that is best on the device."""
        scene = self.fit.scene.info
        itemsize = max(np.dtype(scene.bands[band - 1].dtype).itemsize for band in self.fit.bands)
        return best_tile(self.engine, self.bundle, width=scene.width, itemsize=itemsize)

    def feeder(self) -> StripFeeder:
        """Reads what the tiles need."""
        return StripFeeder(
            scene=self.fit.scene,
            bands=self.fit.bands,
            grid=self.grid,
            wanted=self.wanted,
            spread=0 if self.engine.seam == "exact" else self.grid.halo,
        )

    def strips(self, feeds: Iterable[Feed], advance: Callable[[int], None]) -> Iterator[Strip]:
        """Computes, and joins the tiles as the model asks for."""
        engine, grid, confidence = self.engine, self.grid, self.options.confidence
        if engine.seam == "blend":
            yield from blended_strips(engine, feeds, grid, confidence=confidence, advance=advance)
            return
        for feed in feeds:
            yield segment_strip(engine, feed, grid, confidence=confidence, advance=advance)


def fixed_tile(side: int, halo: int, bundle: Bundle, asked: int | None) -> int:
    """Side of a core, where the network takes images of one size alone.

    Raises:
        OptionError: Another was asked for.
    """
    if asked is not None:
        raise OptionError(
            f"--tile {asked}: {bundle.path} takes {side} x {side} pixels alone: leave it out"
        )
    return side - 2 * halo


def best_tile(engine: ModelEngine, bundle: Bundle, *, width: int, itemsize: int) -> int:
    """Side of a core that is best on the engine's device.

    Args:
        engine: What computes.
        bundle: The model that it runs.
        width: Of the scene, in pixels.
        itemsize: Bytes of a stored value.
    """
    kind = engine.device.partition(":")[0]
    if engine.seam != "exact":
        return BLEND_TILE[kind]
    if kind != "cpu":
        return DEFAULT_TILE[kind]
    found = largest_tile(
        bundle.spec, halo=engine.halo, stride=engine.stride, width=width,
        itemsize=itemsize, weights=len(bundle.weights or b""),
    )  # fmt: skip
    return found or DEFAULT_TILE[kind]


def _drive(
    run: _Run,
    sinks: Sequence[Callable[[Strip], None]],
    progress: Progress | None,
    begun: Callable[[], None],
) -> None:
    """Read ahead, compute here, write behind; ``begun`` hears of the first pixel with a class.

    What only may spoil the result is said then: where there is no such pixel, that is the error,
    and nothing comes before it.
    """
    done, total = 0, run.fit.scene.info.window.size

    def consume(strip: Strip) -> None:
        for sink in sinks:
            sink(strip)
        heap.give_back()

    def read() -> Iterator[Feed]:
        for feed in run.feeder():
            heap.give_back()
            yield feed

    def advance(pixels: int) -> None:
        nonlocal done
        done += pixels
        if progress is not None:
            progress(done, total)

    advance(0)
    with Ahead(read(), depth=1) as feeds, Behind(consume, depth=1) as behind:
        waiting = True
        for strip in run.strips(feeds, advance):
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
        device=run.engine.device,
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


def warn_of_place(fit: Fit, bundle: Bundle, warn: Say) -> None:
    """Of a scene without a place, or with pixels of a size that the model does not know.

    A model that was trained on images without a place knows no size.
    """
    info = fit.scene.info
    if info.geobox.crs is None:
        warn(f"{info.source} has no CRS, so the outputs have none either")
        return
    if bundle.spec.pixel_size is None:
        return
    low, high = bundle.spec.pixel_size
    size = pixel_size_m(info.geobox)
    if size is not None and not low / 2 <= size <= high * 2:
        warn(
            f"pixels of {size:.3g} m: {bundle.spec.name} was trained on {low:g} to {high:g} m;"
            " expect a poorer map"
        )


def warn_caller(text: str) -> None:
    """At the line that calls :func:`geounet.segment`, however far in it was found out."""
    inside = itertools.takewhile(_is_ours, traceback.walk_stack(inspect.currentframe()))
    warnings.warn(text, UserWarning, stacklevel=1 + sum(1 for _ in inside))


def _is_ours(step: tuple[FrameType, int]) -> bool:
    return str(step[0].f_globals.get("__name__")).partition(".")[0] == __package__


@contextlib.contextmanager
def _closing(scene: SceneReader) -> Iterator[SceneReader]:
    try:
        yield scene
    finally:
        scene.close()
