"""How a scene is cut: cores that partition it, and the context each one is read with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError
from geounet.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A core (what the tile is responsible for) and the read window (core block plus halo)."""

    core: Window
    """The output pixels of this tile, inside the scene."""
    read: Window
    """What the network sees; it may reach outside the scene, where the scene is mirrored."""

    @property
    def crop(self) -> Window:
        """The core, counted from the corner of the read window."""
        return self.core.relative_to(self.read)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """A deterministic row-major cover of a scene.

    Law (partition): the cores cover each pixel of ``height x width`` exactly once, for any tile
    and halo. A read window is its core, rounded up to the network's stride, grown by the halo;
    its origin and its shape are multiples of the stride. With a halo of at least the receptive
    radius, results do not depend on the cut (Majurski & Bajcsy 2021, "Exact Tile-Based Segmentation
    Inference for Images Larger than GPU Memory").
    """

    height: int
    """Rows of the scene, >= 1."""
    width: int
    """Columns of the scene, >= 1."""
    tile: int
    """Side of a core in pixels, a multiple of the stride."""
    halo: int
    """Context around a core in pixels, >= 0, a multiple of the stride."""
    stride: int = 1
    """Total stride of the network."""
    whole: bool = False
    """Whether every read window is of full size, also at the right and at the bottom: for networks
    that take no other."""

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise OptionError(f"a scene of {self.height} x {self.width} pixels cannot be tiled")
        if self.stride < 1 or self.tile < 1 or self.halo < 0:
            raise OptionError(
                f"tile {self.tile}, halo {self.halo}, stride {self.stride}: a tile and a stride"
                " need at least 1 pixel, a halo 0"
            )
        if self.tile % self.stride or self.halo % self.stride:
            raise OptionError(
                f"tile {self.tile} and halo {self.halo} must be multiples of the network's stride,"
                f" {self.stride}: TileGrid.cover rounds them up"
            )

    @classmethod
    def cover(
        cls,
        *,
        height: int,
        width: int,
        tile: int,
        halo: int,
        stride: int = 1,
        whole: bool = False,
    ) -> TileGrid:
        """The grid over a scene; ``tile`` and ``halo`` are rounded up to the network's stride."""
        if stride < 1:
            raise OptionError(f"stride {stride} must be at least 1")
        return cls(
            height=height,
            width=width,
            tile=round_up(tile, stride),
            halo=round_up(halo, stride),
            stride=stride,
            whole=whole,
        )

    @property
    def scene(self) -> Window:
        """The whole scene."""
        return Window(row_off=0, col_off=0, height=self.height, width=self.width)

    @property
    def rows(self) -> int:
        """Number of tile rows (= strips)."""
        return -(-self.height // self.tile)

    @property
    def cols(self) -> int:
        """Number of tiles in a row."""
        return -(-self.width // self.tile)

    def __len__(self) -> int:
        return self.rows * self.cols

    def strip(self, row: int) -> Window:
        """The full-width band of output rows that tile row ``row`` answers for."""
        return Window(
            row_off=row * self.tile, col_off=0, height=self.tile, width=self.width
        ).intersect(self.scene)

    def tiles(self, row: int) -> Iterator[Tile]:
        """The tiles of one row, left to right."""
        for col in range(self.cols):
            block = Window(
                row_off=row * self.tile,
                col_off=col * self.tile,
                height=self.tile,
                width=self.tile,
            )
            core = block.intersect(self.scene)
            rounded = Window(
                row_off=core.row_off,
                col_off=core.col_off,
                height=round_up(core.height, self.stride),
                width=round_up(core.width, self.stride),
            )
            yield Tile(core=core, read=(block if self.whole else rounded).grow(self.halo))

    def reads(self, row: int) -> Window:
        """What the tiles of one row read, together."""
        tiles = list(self.tiles(row))
        first, last = tiles[0].read, tiles[-1].read
        return Window.between(first.row_off, first.col_off, last.row_end, last.col_end)

    def __iter__(self) -> Iterator[Tile]:
        for row in range(self.rows):
            yield from self.tiles(row)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is >= ``value``."""
    return -(-value // multiple) * multiple


def mirror_index(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Source index of each position ``start..stop`` when ``size`` samples are mirrored for ever.

    The edge sample is not repeated (``numpy.pad(mode="reflect")``), which is the mirroring of the
    overlap-tile strategy (Ronneberger et al. 2015, fig. 2). Unlike ``numpy.pad`` it needs no copy
    of the whole axis, so a strip can be padded on its own.
    """
    if size < 1:
        raise OptionError("cannot mirror an axis without samples")
    if size == 1:
        return np.zeros(stop - start, dtype=np.intp)
    period = 2 * (size - 1)
    folded = np.arange(start, stop, dtype=np.intp) % period
    return np.where(folded < size, folded, period - folded)
