"""One run: a scene, a model and options, cut into strips, and the drive through its stages."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geounet import heap
from geounet.aoi import AreaOfInterest
from geounet.blend import blended_strips
from geounet.choose import Say
from geounet.classes import NODATA
from geounet.feed import Feed, StripFeeder
from geounet.fingerprint import Fingerprint, fingerprint
from geounet.fit import Fit
from geounet.options import Progress, SegmentOptions
from geounet.parts import Kept, Nowhere, Parts
from geounet.pipeline import Ahead, Behind
from geounet.scene import SceneReader
from geounet.scene.remote import Watch
from geounet.stitch import Strip, segment_strips
from geounet.tilesize import best_tile, fixed_tile
from geounet.tiling import TileGrid, round_up
from geounet.window import Window

if TYPE_CHECKING:
    from geounet.bundle import Bundle
    from geounet.engine import ModelEngine

_SMALLEST_SHARE = 512
"""Side of a core below which halos cost more than several devices gain."""


class Run:
    """The parts of one run, built from its options.

    Args:
        fit: The scene.
        bundle: The model.
        options: What was asked for.
        engines: What runs the model; None: made as the options say.
    """

    def __init__(
        self,
        fit: Fit,
        bundle: Bundle,
        options: SegmentOptions,
        engines: Sequence[ModelEngine] | None = None,
    ) -> None:
        info = fit.scene.info
        self.fit, self.bundle, self.options = fit, bundle, options
        self.watch = Watch(info.files)
        self.wanted = None if options.aoi is None else AreaOfInterest.read(options.aoi, info.geobox)
        self.engines = list(engines or self._made())
        self.engine = self.engines[0]
        self.grid = TileGrid.cover(
            height=info.height,
            width=info.width,
            tile=self._tile(max(info.height, info.width)),
            halo=self.engine.halo,
            stride=self.engine.stride,
            whole=self.engine.side is not None,
        )

    def _made(self) -> list[ModelEngine]:
        from geounet.engine.select import make_engines

        options = self.options
        return make_engines(
            self.bundle,
            self.fit.normalizer,
            engine=options.engine,
            device=options.device,
            precision=options.precision,
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

    def kept(
        self, raster: Path, say: Say, *, lasting: bool = False
    ) -> contextlib.AbstractContextManager[Kept]:
        """Where strips are kept, so that a run that was killed can go on."""
        depends = self.fingerprint()
        if depends is None:
            return contextlib.nullcontext(Nowhere())
        return Parts(raster, depends, say, lasting=lasting)

    def fingerprint(self) -> Fingerprint | None:
        """What its strips depend on; None where the scene cannot be known again."""
        return fingerprint(self.fit, self.bundle, self.options, self.engine, self.grid, self.watch)

    @property
    def spread(self) -> int:
        """Rows beyond a row of tiles that its tiles have a say in."""
        return 0 if self.engine.seam == "exact" else self.grid.halo

    @property
    def lead(self) -> int:
        """Rows of tiles above one that have a say in its strip."""
        return -(-2 * self.spread // self.grid.tile)

    def window(self, row: int) -> Window:
        """The strip that is finished with a row of tiles; it may be empty."""
        grid, spread = self.grid, self.spread
        end = (row + 1) * grid.tile - spread if row + 1 < grid.rows else grid.height
        return Window.between(max(0, row * grid.tile - spread), 0, end, grid.width)

    def missing(self, kept: Kept) -> list[int]:
        """The rows of tiles whose strips an earlier run has not made."""
        windows = ((row, self.window(row)) for row in range(self.grid.rows))
        return [row for row, window in windows if window.size and not kept.has(window)]

    def needed(self, rows: Iterable[int]) -> list[int]:
        """The rows of tiles to compute for the strips of these, top to bottom."""
        return sorted({n for row in rows for n in range(max(0, row - self.lead), row + 1)})

    def feeder(self, rows: Sequence[int]) -> StripFeeder:
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


def drive(
    run: Run,
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
    missing = run.missing(kept)
    needed = run.needed(missing)

    def advance(pixels: int) -> None:
        nonlocal done
        with one_by_one:
            done += pixels
            if progress is not None:
                progress(done, total)

    advance(total - sum(run.grid.strip(row).size for row in needed))
    with made(run, missing, advance) as fresh, behind(sinks) as written:
        waiting = True
        for strip in _in_order(run, kept, missing, fresh):
            if waiting and (strip.labels != NODATA).any():
                waiting = False
                begun()
            written.put(strip)


@contextlib.contextmanager
def made(
    run: Run, rows: Sequence[int], advance: Callable[[int], None]
) -> Iterator[Iterator[Strip]]:
    """The strips of these rows of tiles, read ahead and computed as they are taken.

    Args:
        run: Whose.
        rows: Whose strip is not empty, ascending.
        advance: Hears of pixels that are done.
    """
    windows = {run.window(row) for row in rows}

    def read() -> Iterator[Feed]:
        for feed in run.feeder(run.needed(rows)):
            heap.give_back()
            yield feed

    on_cpu = run.engine.name == "torch" and run.engine.device == "cpu"
    memory = heap.reused() if on_cpu else contextlib.nullcontext()
    with memory, Ahead(read(), depth=len(run.engines)) as feeds:
        yield (strip for strip in run.strips(feeds, advance) if strip.window in windows)


def behind(sinks: Sequence[Callable[[Strip], None]]) -> Behind[Strip]:
    """Hands strips to sinks in a thread of its own."""

    def consume(strip: Strip) -> None:
        for sink in sinks:
            sink(strip)
        heap.give_back()

    return Behind(consume, depth=1)


def _in_order(
    run: Run, kept: Kept, missing: Sequence[int], fresh: Iterator[Strip]
) -> Iterator[Strip]:
    """All strips, top to bottom: those that are kept, and fresh ones between them."""
    absent = set(missing)
    for row in range(run.grid.rows):
        window = run.window(row)
        if row in absent:
            yield next(fresh)
        elif window.size:
            yield kept.strip(window)


@contextlib.contextmanager
def closing(scene: SceneReader) -> Iterator[SceneReader]:
    """Release the handles of a scene at the end."""
    try:
        yield scene
    finally:
        scene.close()
