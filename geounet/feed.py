"""From a scene to padded strips, top to bottom, each pixel decoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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

    row: int
    """Index of the row of tiles."""
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

    Rows are read a few whole blocks at a time and those shared by two strips are kept, so that no
    block is asked for twice; memory holds one padded strip, the rows it shares with the next, and
    what was read last, for any scene height.
    """

    scene: SceneReader
    """What is read."""
    bands: Sequence[int]
    """1-based, in the model's order."""
    grid: TileGrid
    """How the scene is cut."""
    wanted: Wanted | None = None
    """Area of interest; None: all."""
    columns: tuple[int, int] | None = None
    """First column of the scene that is asked for, and the one behind the last; None: all. Tiles
    beside them are not read."""
    rows: Sequence[int] | None = None
    """Rows of tiles, ascending; None: all."""
    spread: int = 0
    """Rows on each side of a strip that its tiles have a say in: the halo where they are blended;
    the windows of feeds are so much higher."""

    def __iter__(self) -> Iterator[Feed]:
        rows = _RowBuffer(scene=self.scene, bands=self.bands, columns=self._columns())
        for index in range(self.grid.rows) if self.rows is None else self.rows:
            window = self._window(index)
            asked = None if self.wanted is None else self.wanted(window)
            if asked is not None and not asked.any():
                yield self._empty(index, window)
                continue
            yield self._feed(index, window, asked, rows)

    def _columns(self) -> slice:
        """Columns that the tiles with something to say about those asked for read."""
        grid, width = self.grid, self.grid.width
        if self.columns is None or grid.whole:
            return slice(0, width)
        first, last = self.columns[0] - self.spread, self.columns[1] + self.spread
        # where the last tile is a narrow one, columns so far before it are mirrored to fill it up
        start = first // grid.tile * grid.tile - grid.halo - grid.stride
        stop = round_up(last, grid.tile) + grid.halo
        return slice(max(0, start), min(width, stop))

    def _window(self, index: int) -> Window:
        strip = self.grid.strip(index)
        return strip.grow(self.spread).intersect(self.grid.scene) if self.spread else strip

    def _feed(
        self, index: int, window: Window, asked: NDArray[np.bool_] | None, rows: _RowBuffer
    ) -> Feed:
        strip = self.grid.strip(index)
        need = Window.between(
            self._first_row(index), 0, strip.row_end + self.grid.halo, self.grid.width
        ).intersect(self.grid.scene)
        origin = self.grid.reads(index)
        canvas = _Canvas(have=need, want=origin, scene=self.grid.scene)
        for part in rows.take(need.row_off, need.row_end, keep=self._first_row(index + 1)):
            canvas.add(part)
            del part  # before the next one is read
        data, padded_valid = canvas.finish()
        inside = padded_valid[window.relative_to(origin).slices]
        inside = inside.copy() if asked is None else inside & asked
        if not inside.any():
            return self._empty(index, window)
        return Feed(
            row=index,
            window=window,
            valid=inside,
            data=data,
            padded_valid=padded_valid,
            origin=origin,
        )

    def _first_row(self, index: int) -> int:
        """The first row that a strip needs; it only grows with the index.

        Where the last tiles reach far below the scene, rows from above are mirrored into them.
        """
        tile, halo, height = self.grid.tile, self.grid.halo, self.grid.height
        row = index * tile - halo
        last = row + tile + 2 * halo - 1
        if self.grid.whole and index < self.grid.rows and last >= height:
            row = min(row, 2 * (height - 1) - last)
        return max(0, row)

    def _empty(self, index: int, window: Window) -> Feed:
        nothing = np.zeros((window.height, window.width), bool)
        return Feed(
            row=index, window=window, valid=nothing, data=None, padded_valid=None, origin=window
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Full-width rows of the scene."""

    start: int
    """The first row."""
    data: NDArray[Any]
    """(bands, rows, width)."""
    valid: NDArray[np.bool_]
    """(rows, width)."""

    @property
    def stop(self) -> int:
        return self.start + len(self.valid)

    def below(self, row: int) -> _Part:
        """The rows from ``row`` on; copies, so that the others can go."""
        if row <= self.start:
            return self
        cut = slice(row - self.start, None)
        return _Part(start=row, data=self.data[:, cut].copy(), valid=self.valid[cut].copy())


@dataclass(slots=True)
class _RowBuffer:
    """Reads rows from top to bottom and keeps those that are needed again."""

    scene: SceneReader
    bands: Sequence[int]
    columns: slice
    """Those that are read; the others are not valid."""
    kept: list[_Part] = field(default_factory=list)

    def take(self, start: int, stop: int, *, keep: int) -> Iterator[_Part]:
        """Parts that cover rows ``start..stop``; those from ``keep`` on are remembered.

        ``start`` and ``stop`` only ever grow.
        """
        waiting = [part for part in self.kept if part.stop > start]
        self.kept = []
        at = start
        while at < stop or waiting:
            part = waiting.pop(0) if waiting else self._read(at, stop)
            at = part.stop
            if at > keep:
                self.kept.append(part.below(keep))
            yield part
            del part  # before the next one is read

    def _read(self, start: int, stop: int) -> _Part:
        """The next rows: up to the end of a row of blocks, and not further than ``stop`` asks."""
        info = self.scene.info
        block = info.block[0]
        end = round_up(start + 1, round_up(_ROWS, block))
        last = min(end, round_up(stop, block), info.height)
        raster = self.scene.read(
            Window.between(start, self.columns.start, last, self.columns.stop), self.bands
        )
        if raster.valid.shape[1] == info.width:
            return _Part(start=start, data=raster.data, valid=raster.valid)
        data = np.zeros((*raster.data.shape[:2], info.width), raster.data.dtype)
        valid = np.zeros((len(raster.valid), info.width), bool)
        data[:, :, self.columns], valid[:, self.columns] = raster.data, raster.valid
        return _Part(start=start, data=data, valid=valid)


_ROWS = 256
"""Rows that are read at once, where the blocks are not higher."""


class _Canvas:
    """The window ``want``, painted with rows of ``have`` and mirrored at the edges of the scene.

    ``have`` is full width and lies in the scene; it holds every row that a mirror within the halo
    points to. Rows and columns past the halo (they only fill up the stride, and reach no output
    that is kept) take whatever row is nearest.
    """

    def __init__(self, *, have: Window, want: Window, scene: Window) -> None:
        row_index = mirror_index(want.row_off, want.row_end, scene.height)
        self._row_index = np.clip(row_index, have.row_off, have.row_end - 1)
        self._col_index = mirror_index(want.col_off, want.col_end, scene.width)
        self._inner = slice(-want.col_off, scene.width - want.col_off)
        self._painted: tuple[NDArray[Any], NDArray[Any]] | None = None

    def add(self, part: _Part) -> None:
        """Paint the rows that show a row of ``part``."""
        rows = part.data, part.valid[None]
        if self._painted is None:
            self._painted = self._blank(rows[0]), self._blank(rows[1])
        shown = (self._row_index >= part.start) & (self._row_index < part.stop)
        for out, source in zip(self._painted, rows, strict=True):
            for row in np.flatnonzero(shown):
                out[:, row, self._inner] = source[:, self._row_index[row] - part.start]

    def finish(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Data (bands, rows, columns) and valid (rows, columns), with the columns mirrored."""
        assert self._painted is not None  # noqa: S101  for the type checker
        left, right = self._inner.start, self._inner.stop
        for out in self._painted:
            out[:, :, :left] = out[:, :, left + self._col_index[:left]]
            out[:, :, right:] = out[:, :, left + self._col_index[right:]]
        data, valid = self._painted
        return data, valid[0]

    def _blank(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.empty((len(rows), len(self._row_index), len(self._col_index)), rows.dtype)
