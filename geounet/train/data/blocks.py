"""Images cut into blocks: what is split between training and validation is not pixels but these."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from geounet.window import Window

_FEW = 8  # images: fewer are cut, because whole ones could hardly be split
_LARGE = 2048  # pixels on a side: larger images are cut, however many they are
_WANTED = 32  # blocks of what is cut
_SMALLEST = 64  # pixels on a side
_LARGEST = 1024  # pixels on a side: a block is held in memory as a whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of an image that stays in one piece."""

    name: str
    """Of the image, with ``:row:col`` where it is cut."""
    pair: int
    """Which image."""
    row: int
    """Of the grid of blocks, from the top."""
    col: int
    """Of the grid of blocks, from the left."""
    window: Window
    """Its pixels."""


def must_cut(sizes: Sequence[tuple[int, int]]) -> list[bool]:
    """Whether each of the images (height, width) is cut: few ones, or large ones."""
    return [len(sizes) < _FEW or max(size) > _LARGE for size in sizes]


def counts(size: tuple[int, int], pixels: int, patch: int) -> tuple[int, int]:
    """Rows and columns of blocks of an area (height, width), about 32 in all.

    Args:
        size: In pixels.
        pixels: Of all that is cut.
        patch: Side of a training patch: blocks are not smaller than half of it.
    """
    smallest = max(_SMALLEST, patch // 2)
    side = min(max(math.sqrt(pixels / _WANTED), smallest), max(_LARGEST, smallest))
    rows, cols = (max(1, round(length / side)) for length in size)
    return rows, cols


def cut(size: int, parts: int) -> list[int]:
    """``parts + 1`` borders of about equal parts."""
    return [size * i // parts for i in range(parts + 1)]


def neighbourhood(count: int) -> int:
    """How many blocks on a side are kept together, where there are ``count``: few, unless many."""
    return max(1, math.isqrt(count // 24))


def regions(blocks: Iterable[Block]) -> list[Window]:
    """The largest rectangles that consist of these blocks of one image.

    Law: a rectangle covers no pixel outside of the blocks, every block is in one, and none is in
    another. They may overlap: a patch may lie wherever all of its blocks do.
    """
    cells = {(block.row, block.col): block.window for block in blocks}
    found: set[tuple[int, int, int, int]] = set()
    for cell in cells:
        found.add(_grown(cell, cells.keys(), rows_first=True))
        found.add(_grown(cell, cells.keys(), rows_first=False))
    kept = [r for r in sorted(found) if not any(_holds(o, r) for o in found if o != r)]
    return [_window(cells[r[0], r[1]], cells[r[2], r[3]]) for r in kept]


def worthwhile(windows: Sequence[Window], blocks: Iterable[Block], side: int) -> list[Window]:
    """Regions into which a square fits, and of the others those that alone hold some block."""
    fit = [w for w in windows if min(w.height, w.width) >= side]
    left = [b.window for b in blocks if not any(w.contains(b.window) for w in fit)]
    return [w for w in windows if w in fit or any(w.contains(one) for one in left)]


def _grown(
    cell: tuple[int, int], cells: Iterable[tuple[int, int]], *, rows_first: bool
) -> tuple[int, int, int, int]:
    """First and last row and column of a rectangle around a cell."""
    have = set(cells)
    top, left, bottom, right = *cell, *cell

    def full(rows: range, cols: range) -> bool:
        return all((r, c) in have for r in rows for c in cols)

    for axis in (0, 1) if rows_first else (1, 0):
        if axis == 0:
            while full(range(bottom + 1, bottom + 2), range(left, right + 1)):
                bottom += 1
            while full(range(top - 1, top), range(left, right + 1)):
                top -= 1
        else:
            while full(range(top, bottom + 1), range(right + 1, right + 2)):
                right += 1
            while full(range(top, bottom + 1), range(left - 1, left)):
                left -= 1
    return top, left, bottom, right


def _holds(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and other[2] <= one[2] and other[3] <= one[3]


def _window(first: Window, last: Window) -> Window:
    return Window.between(first.row_off, first.col_off, last.row_end, last.col_end)
