"""Which tiles answer for a block of a scene, which pixels they need, and what blocks cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from geounet.spec import Seam
from geounet.tiling import TileGrid, mirror_index, round_up
from geounet.window import Window

Span = tuple[int, int]
"""On one axis: the first pixel, and the one after the last."""

_LITTLE = 0.2
"""Share of the work that chunks may waste to be called better."""
_SMALLEST = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a block of a scene needs; windows in pixels of the scene."""

    block: Window
    """The output."""
    part: Window
    """The cores of its tiles; it holds the block, and begins where a tile may."""
    source: Window
    """Every pixel of the scene that a tile sees, mirrored ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How blocks of a scene are cut into tiles, so that labels do not tell where blocks end.

    Exact tiles may begin at any multiple of the network's stride, so a block has tiles of its own,
    which begin where it does, or up to a stride before. Blended ones must lie where those of the
    whole scene lie: a block is computed from all those that see it.
    """

    height: int
    """Rows of the scene."""
    width: int
    """Columns of the scene."""
    halo: int
    """Context around a core, a multiple of the stride."""
    stride: int
    """Total stride of the network."""
    seam: Seam
    """How tiles are joined."""
    tile: int | None
    """Side of a core; None: as large as fits, which only exact tiles may be."""
    whole: bool
    """Whether every tile is read in full size."""

    @property
    def scene(self) -> Window:
        """The whole scene."""
        return Window(row_off=0, col_off=0, height=self.height, width=self.width)

    def share(self, block: Window) -> Share:
        """What a block of at least one pixel needs."""
        rows = self._part((block.row_off, block.row_end), self.height)
        cols = self._part((block.col_off, block.col_end), self.width)
        return Share(
            block=block,
            part=_window(rows, cols),
            source=_window(self._source(rows, self.height), self._source(cols, self.width)),
        )

    def grid(self, share: Share, tile: int) -> TileGrid:
        """The tiles of a block, counted from the corner of its part."""
        return TileGrid.cover(
            height=share.part.height,
            width=share.part.width,
            tile=tile,
            halo=self.halo,
            stride=self.stride,
            whole=self.whole,
        )

    def waste(self, rows: Sequence[int], cols: Sequence[int]) -> float:
        """The share of the work that a single chunk would save, 0 to 1, of chunks of these sizes.

        What is mirrored at the edges of the scene is no waste: no chunks do without it.
        """
        done = self._work(rows, self.height) * self._work(cols, self.width)
        least = self._work([self.height], self.height) * self._work([self.width], self.width)
        return 1 - least / done

    def better(self) -> Span:
        """Height and width of chunks that waste little: a power of two, or of the scene's size.

        Where tiles are blended, it is a power of two times their side.
        """
        side = _SMALLEST if self.seam == "exact" else self.tile or _SMALLEST
        while side < max(self.height, self.width) and self._waste_of(side) > _LITTLE:
            side *= 2
        return min(side, self.height), min(side, self.width)

    def _waste_of(self, side: int) -> float:
        return self.waste(split(self.height, side), split(self.width, side))

    def _work(self, sizes: Sequence[int], size: int) -> int:
        """Pixels (or tiles, where they are blended) on an axis, over all of its chunks."""
        total = 0
        for span in pairwise(accumulate(sizes, initial=0)):
            if span[0] < span[1]:
                part = self._part(span, size)
                start, stop = part if self.seam == "blend" else self._source(part, size)
                total += stop - start
        return total

    def _part(self, span: Span, size: int) -> Span:
        start, stop = span
        if self.seam == "exact" or self.tile is None:
            return start // self.stride * self.stride, stop
        first = max(0, (start - self.halo) // self.tile)
        return first * self.tile, min(round_up(stop + self.halo, self.tile), size)

    def _source(self, part: Span, size: int) -> Span:
        """Where a mirror at the edges of the scene leads back to."""
        start, stop = part
        if self.seam == "blend":  # a tile has its say in all that it sees
            stop = round_up(stop, (self.tile or 1) if self.whole else self.stride)
        start, stop = start - self.halo, stop + self.halo
        if start >= 0 and stop <= size:
            return start, stop
        seen = mirror_index(start, stop, size)
        return int(seen.min()), int(seen.max()) + 1


def split(size: int, side: int) -> list[int]:
    """The sizes of chunks of one side, of which the last may be smaller."""
    return [min(side, size - start) for start in range(0, size, side)]


def _window(rows: Span, cols: Span) -> Window:
    return Window.between(rows[0], cols[0], rows[1], cols[1])
