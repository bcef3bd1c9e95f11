"""From the tiles of a row to one finished strip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.classes import NODATA
from geounet.engine import Engine
from geounet.engine.port import Batch
from geounet.feed import Feed
from geounet.pipeline import dealt
from geounet.tiling import Tile, TileGrid
from geounet.window import Window


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strip:
    """A finished full-width band of output rows."""

    window: Window
    """Its place in the scene."""
    labels: NDArray[np.uint8]
    """(rows, width), class codes, 255 where invalid."""
    confidence: NDArray[np.uint8] | None
    """(rows, width), percent, 255 where invalid; None where it was not asked for."""


def segment_strips(
    engines: Sequence[Engine],
    feeds: Iterable[Feed],
    grid: TileGrid,
    *,
    confidence: bool,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Strip]:
    """The strips of a scene, top to bottom (exact stitching).

    Rows of tiles are dealt to the engines in turn. Law: the result does not depend on how many
    there are. Several call ``advance`` each from a thread of its own.
    """

    def worker(engine: Engine) -> Callable[[Feed], Strip]:
        return lambda feed: segment_strip(
            engine, feed, grid, confidence=confidence, advance=advance
        )

    return dealt(feeds, [worker(engine) for engine in engines])


def segment_strip(
    engine: Engine,
    feed: Feed,
    grid: TileGrid,
    *,
    confidence: bool,
    advance: Callable[[int], None] = lambda _: None,
) -> Strip:
    """Run the tiles of one strip and paste their cores (exact stitching).

    Tiles without a valid pixel skip the network. Tiles of one shape share minibatches. ``advance``
    hears how many output pixels are done after each minibatch, those of skipped tiles at the end.
    """
    left = feed.window.size
    shape = feed.window.height, feed.window.width
    labels = np.full(shape, NODATA, np.uint8)
    percent = np.full(shape, NODATA, np.uint8) if confidence else None
    groups = minibatches(feed, grid, engine.minibatch, lambda tile: tile.core)
    predictions = engine.predict_each((cut(feed, group) for group in groups), confidence=confidence)
    for group, prediction in zip(groups, predictions, strict=True):
        for i, tile in enumerate(group):
            core = tile.core.relative_to(feed.window)
            inner = slice(core.height), slice(core.width)
            labels[core.slices] = prediction.labels[i][inner]
            if percent is not None and prediction.confidence is not None:
                percent[core.slices] = prediction.confidence[i][inner]
        done = sum(tile.core.size for tile in group)
        left -= done
        advance(done)
    labels[~feed.valid] = NODATA
    if percent is not None:
        percent[~feed.valid] = NODATA
    advance(left)
    return Strip(window=feed.window, labels=labels, confidence=percent)


def cut(feed: Feed, tiles: Sequence[Tile]) -> Batch:
    """What an engine gets for tiles of one shape."""
    data, valid = zip(*map(feed.cut, tiles), strict=True)
    return _stacked(data), _stacked(valid)


def _stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One array; a view where there is only one, so that nothing lasts longer than it is needed."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def minibatches(
    feed: Feed, grid: TileGrid, size: int, output: Callable[[Tile], Window]
) -> list[list[Tile]]:
    """Tiles with a valid pixel in their output, by read shape (the last column's may differ).

    Put end to end they are in one order, whatever the size of a minibatch.
    """
    by_shape: dict[tuple[int, int], list[Tile]] = {}
    for tile in grid.tiles(feed.row):
        if feed.data is not None and feed.valid[output(tile).relative_to(feed.window).slices].any():
            by_shape.setdefault((tile.read.height, tile.read.width), []).append(tile)
    return [tiles[i : i + size] for tiles in by_shape.values() for i in range(0, len(tiles), size)]
