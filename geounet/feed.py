"""From a scene to padded strips, top to bottom, each pixel decoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.scene import SceneReader
from geounet.tiling import Tile, TileGrid, mirror_index, round_up
from geounet.window import Window

Wanted = Callable[[Window], NDArray[np.bool_]]
"""(height, width) of a window: True where an output is asked for (the area of interest)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Feed:
    """What one row of tiles needs: the strip with its halo, mirrored at the scene's edges."""

    window: Window
    """The output rows."""
    valid: NDArray[np.bool_]
    """(rows, width) of the window: True where the output gets a class."""
    data: NDArray[Any] | None
    """(bands, padded rows, padded columns), stored values; None where no pixel is valid."""
    padded_valid: NDArray[np.bool_] | None
    """(padded rows, padded columns)."""
    origin: Window
    """Where data lies, in scene pixels."""

    def cut(self, tile: Tile) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A tile's data (bands, height, width) and valid (height, width): views, no copies."""
        rows, cols = tile.read.relative_to(self.origin).slices
        assert self.data is not None  # noqa: S101  for the type checker
        assert self.padded_valid is not None  # noqa: S101
        return self.data[:, rows, cols], self.padded_valid[rows, cols]


@dataclass(slots=True)
class StripFeeder:
    """Iterates over the strips of a tile grid.

    Rows are read in whole blocks and those shared by two strips are kept, so that no block is
    decoded twice; memory holds one padded strip and one buffer of rows, for any scene height.
    """

    scene: SceneReader
    """What is read."""
    bands: Sequence[int]
    """1-based, in the model's order."""
    grid: TileGrid
    """How the scene is cut."""
    wanted: Wanted | None = None
    """Area of interest; None: all."""

    def __iter__(self) -> Iterator[Feed]:
        rows = _RowBuffer(scene=self.scene, bands=self.bands)
        for index in range(self.grid.rows):
            strip = self.grid.strip(index)
            asked = None if self.wanted is None else self.wanted(strip)
            if asked is not None and not asked.any():
                yield self._empty(strip)
                continue
            yield self._feed(index, strip, asked, rows)

    def _feed(
        self, index: int, strip: Window, asked: NDArray[np.bool_] | None, rows: _RowBuffer
    ) -> Feed:
        need = strip.grow(self.grid.halo).intersect(self.grid.scene)
        data, valid = rows.take(need.row_off, need.row_end)
        core = strip.relative_to(need).slices[0]
        inside = valid[core] if asked is None else valid[core] & asked
        if not inside.any():
            return self._empty(strip)
        origin = self._padded_window(index)
        return Feed(
            window=strip,
            valid=inside.copy(),
            data=pad(data, need, origin, self.grid.scene),
            padded_valid=pad(valid[None], need, origin, self.grid.scene)[0],
            origin=origin,
        )

    def _padded_window(self, index: int) -> Window:
        tiles = list(self.grid.tiles(index))
        first, last = tiles[0].read, tiles[-1].read
        return Window.between(first.row_off, first.col_off, last.row_end, last.col_end)

    def _empty(self, strip: Window) -> Feed:
        nothing = np.zeros((strip.height, strip.width), bool)
        return Feed(window=strip, valid=nothing, data=None, padded_valid=None, origin=strip)


@dataclass(slots=True)
class _RowBuffer:
    """Full-width rows that were read and may be needed again."""

    scene: SceneReader
    bands: Sequence[int]
    start: int = 0
    data: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None

    @property
    def _end(self) -> int:
        return self.start + (0 if self.data is None else self.data.shape[1])

    def take(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Rows ``start..stop`` (bands, rows, width) and (rows, width); both only ever grow."""
        if self.data is None or start >= self._end:
            self.start, self.data, self.valid = start, None, None
        if stop > self._end:
            self._read(start, stop)
        assert self.data is not None  # noqa: S101  for the type checker
        assert self.valid is not None  # noqa: S101
        part = slice(start - self.start, stop - self.start)
        return self.data[:, part], self.valid[part]

    def _read(self, start: int, stop: int) -> None:
        info = self.scene.info
        end = min(round_up(stop, info.block[0]), info.height)
        window = Window.between(self._end, 0, end, info.width)
        raster = self.scene.read(window, self.bands)
        if self.data is None or self.valid is None:
            self.data, self.valid = raster.data, raster.valid
            return
        keep = slice(start - self.start, None)
        self.data = np.concatenate([self.data[:, keep], raster.data], axis=1)
        self.valid = np.concatenate([self.valid[keep], raster.valid])
        self.start = start


def pad(rows: NDArray[Any], have: Window, want: Window, scene: Window) -> NDArray[Any]:
    """Rows (bands, height, width) of ``have`` extended to ``want`` by mirroring the scene.

    ``have`` is full width and lies in the scene; it holds every row that a mirror within the halo
    points to. Rows and columns past the halo (they only fill up the stride, and reach no output
    that is kept) take whatever row is nearest.
    """
    row_index = mirror_index(want.row_off, want.row_end, scene.height)
    row_index = np.clip(row_index - have.row_off, 0, have.height - 1)
    col_index = mirror_index(want.col_off, want.col_end, scene.width)
    out = np.empty((len(rows), want.height, want.width), rows.dtype)
    left = -want.col_off
    inner = slice(left, left + scene.width)
    for row, source in enumerate(row_index):
        out[:, row, inner] = rows[:, source]
    out[:, :, :left] = out[:, :, left + col_index[:left]]
    out[:, :, inner.stop :] = out[:, :, left + col_index[inner.stop :]]
    return out
