"""From overlapping tiles to finished strips, where a network looks too far for exact ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from geounet.classes import NODATA
from geounet.engine import CONFIDENCE_MAX, BlendEngine
from geounet.feed import Feed
from geounet.stitch import Strip, minibatches, stacked
from geounet.taper import tile_weight
from geounet.tiling import Tile, TileGrid
from geounet.window import Window


def blended_strips(
    engine: BlendEngine,
    feeds: Iterable[Feed],
    grid: TileGrid,
    *,
    confidence: bool,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Strip]:
    """The strips of a scene, top to bottom, from tiles that share twice the halo.

    A class probability is the mean over the tiles that see a pixel, weighted by
    :func:`geounet.taper.taper`, added up in float32. A strip ends where the next row of tiles
    begins to see, a halo above its cores; memory holds one row of tiles.

    Laws: an engine that gives its input as probabilities gives the scene back, whatever the tile,
    the halo and the minibatch; the result does not depend on the minibatch; and what is not asked
    for (an area of interest) changes nothing inside of it.

    Args:
        engine: Gives the probabilities.
        feeds: Of all rows of tiles, with a spread of the grid's halo.
        grid: How the scene is cut.
        confidence: Whether the largest probability is asked for.
        advance: Hears how many output pixels are done, as in
            :func:`geounet.stitch.segment_strip`.
    """
    blender = _Blender(engine, grid)
    for feed in feeds:
        blender.open(feed.window)
        left = grid.strip(feed.row).size
        for group in minibatches(feed, grid, engine.minibatch, _seen(grid)):
            tiles, valid = zip(*map(feed.cut, group), strict=True)
            odds = engine.probabilities(stacked(tiles), stacked(valid))
            for tile, probability in zip(group, odds, strict=True):
                blender.add(tile, probability)
            done = sum(tile.core.size for tile in group)
            left -= done
            advance(done)
        advance(left)
        last = feed.row + 1 == grid.rows
        end = grid.height if last else grid.strip(feed.row).row_end - grid.halo
        if end > feed.window.row_off:
            yield blender.close(feed, end, confidence=confidence)


def _seen(grid: TileGrid) -> Callable[[Tile], Window]:
    """What a tile has a say in: whatever it reads of the scene."""
    return lambda tile: tile.read.intersect(grid.scene)


class _Blender:
    """Sums of weighted probabilities for the rows that one row of tiles sees."""

    def __init__(self, engine: BlendEngine, grid: TileGrid) -> None:
        self._codes, self._grid, self._seen = engine.codes, grid, _seen(grid)
        rows = min(grid.height, grid.tile + 2 * grid.halo)
        # one for all of the scene: a row of tiles takes over what the last has left
        self._sums = np.zeros((len(self._codes), rows, grid.width), np.float32)
        self._weights = np.zeros((rows, grid.width), np.float32)
        self._window = Window(row_off=0, col_off=0, height=0, width=grid.width)

    def open(self, window: Window) -> None:
        """Move on to the rows of a window; those shared with the last one stay."""
        kept = max(0, self._window.row_end - window.row_off)
        start = window.row_off - self._window.row_off
        for sums in (*self._sums, self._weights):
            sums[:kept] = sums[start : start + kept].copy()
            sums[kept:] = 0
        self._window = window

    def add(self, tile: Tile, probability: NDArray[np.float32]) -> None:
        """Add a tile's probabilities (classes, height, width), halo included."""
        inside = self._seen(tile)
        shown = inside.relative_to(tile.read).slices
        weight = tile_weight(tile, self._grid)
        at = inside.relative_to(self._window).slices
        self._weights[at] += weight
        for sums, odds in zip(self._sums, probability, strict=True):
            sums[at] += weight * odds[shown]

    def close(self, feed: Feed, end: int, *, confidence: bool) -> Strip:
        """The rows of the window that end above scene row ``end``."""
        window = self._window
        done = Window.between(window.row_off, 0, end, window.col_end)
        sums, valid = self._sums[:, : done.height], feed.valid[: done.height]
        best = sums[0].copy()
        labels = np.full(best.shape, self._codes[0], np.uint8)
        for code, other in zip(self._codes[1:], sums[1:], strict=True):
            better = other > best
            np.copyto(best, other, where=better)
            labels[better] = code
        labels[~valid] = NODATA
        return Strip(
            window=done,
            labels=labels,
            confidence=self._percent(best, valid) if confidence else None,
        )

    def _percent(self, best: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """The largest probability in percent; every valid pixel was seen by a tile."""
        out = np.full(best.shape, NODATA, np.uint8)
        mean = best[valid] / self._weights[: len(best)][valid]
        out[valid] = np.rint(mean * np.float32(CONFIDENCE_MAX)).astype(np.uint8)
        return out
