"""From overlapping tiles to finished strips, where a network looks too far for exact ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geounet.classes import NODATA
from geounet.engine import CONFIDENCE_MAX, BlendEngine
from geounet.feed import Feed
from geounet.pipeline import dealt
from geounet.stitch import Strip, cut, minibatches
from geounet.taper import tile_weight
from geounet.tiling import Tile, TileGrid
from geounet.window import Window


def blended_strips(
    engines: Sequence[BlendEngine],
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
    the halo and the minibatch; the result depends neither on the minibatch nor on the number of
    engines; and what is not asked for (an area of interest) changes nothing inside of it.

    Args:
        engines: Give the probabilities: minibatches are dealt to them in turn.
        feeds: Of all rows of tiles, with a spread of the grid's halo.
        grid: How the scene is cut.
        confidence: Whether the largest probability is asked for.
        advance: Hears how many output pixels are done, as in
            :func:`geounet.stitch.segment_strip`.
    """

    def worker(engine: BlendEngine) -> Callable[[_Minibatch], _Minibatch]:
        return lambda minibatch: minibatch.through(engine)

    blender = _Blender(engines[0].codes, grid)
    made = dealt(_minibatches(feeds, grid, engines[0].minibatch), [worker(e) for e in engines])
    left = 0
    for minibatch in made:
        feed = minibatch.feed
        if minibatch.first:
            blender.open(feed.window)
            left = grid.strip(feed.row).size
        blender.add_all(minibatch)
        done = sum(tile.core.size for tile in minibatch.tiles)
        left -= done
        advance(done)
        if not minibatch.last:
            continue
        advance(left)
        strip = blender.close(feed, confidence=confidence)
        if strip is not None:
            yield strip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Minibatch:
    """Tiles of a row that go through the network at once."""

    feed: Feed
    tiles: list[Tile]
    first: bool
    """Of its row."""
    last: bool
    """Of its row."""
    odds: NDArray[np.float32] | None = None
    """(tiles, classes, height, width); None before the network, and where there is no tile."""

    def through(self, engine: BlendEngine) -> _Minibatch:
        """With probabilities."""
        if not self.tiles:
            return self
        return replace(self, odds=engine.probabilities(*cut(self.feed, self.tiles)))


def _minibatches(feeds: Iterable[Feed], grid: TileGrid, size: int) -> Iterator[_Minibatch]:
    """Those of all rows; one without a tile for a row that has none."""
    for feed in feeds:
        groups = minibatches(feed, grid, size, _seen(grid)) or [[]]
        for i, tiles in enumerate(groups):
            yield _Minibatch(feed=feed, tiles=tiles, first=i == 0, last=i + 1 == len(groups))


def _seen(grid: TileGrid) -> Callable[[Tile], Window]:
    """What a tile has a say in: whatever it reads of the scene."""
    return lambda tile: tile.read.intersect(grid.scene)


class _Blender:
    """Sums of weighted probabilities for the rows that one row of tiles sees."""

    def __init__(self, codes: NDArray[np.uint8], grid: TileGrid) -> None:
        self._codes, self._grid, self._seen = codes, grid, _seen(grid)
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

    def add_all(self, minibatch: _Minibatch) -> None:
        """Add what the network made of these tiles."""
        if minibatch.odds is not None:
            for tile, probability in zip(minibatch.tiles, minibatch.odds, strict=True):
                self.add(tile, probability)

    def add(self, tile: Tile, probability: NDArray[np.float32]) -> None:
        """Add a tile's probabilities (classes, height, width), halo included."""
        inside = self._seen(tile)
        shown = inside.relative_to(tile.read).slices
        weight = tile_weight(tile, self._grid)
        at = inside.relative_to(self._window).slices
        self._weights[at] += weight
        for sums, odds in zip(self._sums, probability, strict=True):
            sums[at] += weight * odds[shown]

    def close(self, feed: Feed, *, confidence: bool) -> Strip | None:
        """The rows that no later row of tiles sees; None where there is none."""
        window, grid = self._window, self._grid
        last = feed.row + 1 == grid.rows
        end = grid.height if last else grid.strip(feed.row).row_end - grid.halo
        if end <= window.row_off:
            return None
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
