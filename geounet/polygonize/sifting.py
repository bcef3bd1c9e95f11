"""One pass of a sieve over strips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError
from geounet.polygonize.graph import Graded, Graph
from geounet.polygonize.held import Block, HeldRows, Strip
from geounet.polygonize.pixelunits import PixelUnits

BLOCK = 64
"""Rows that are looked at together, counted from the top of the raster."""


class Rule(Protocol):
    """What becomes of small components."""

    grade: Graded
    """Which are small."""
    tall: int
    """Rows for which they wait at most, as far as the rule can say."""

    def decide(self, graph: Graph, end: int) -> NDArray[np.int32]:
        """Settle what is known before row ``end``; (components,) of which each is a part then."""
        ...


class Sifting:
    """Holds rows back until a rule has settled their labels.

    Args:
        rule: The rule.
        units: Areas of the grid.
        shape: Of the raster.
    """

    def __init__(self, rule: Rule, units: PixelUnits, shape: tuple[int, int]) -> None:
        self._rule, self._shape = rule, shape
        self._graph = Graph(rule.grade, units, shape)
        self._held = HeldRows()
        self._row = self._filled = 0
        self._next: Block | None = None

    @property
    def rows(self) -> int:
        """How many are held back."""
        return self._held.rows + self._filled

    def add(
        self, labels: NDArray[np.int32], confidence: NDArray[np.uint8] | None
    ) -> Iterator[Strip]:
        """Take rows, give those that are settled (to be exhausted).

        Raises:
            OptionError: There are too many rows.
        """
        height = self._shape[0]
        if self._row + self._filled + len(labels) > height:
            raise OptionError(f"there are more rows than the {height} of the raster")
        done = 0
        while done < len(labels):
            block = self._next or self._empty(with_confidence=confidence is not None)
            self._next = block
            taken = slice(done, done + min(len(block.labels) - self._filled, len(labels) - done))
            into = slice(self._filled, self._filled + taken.stop - taken.start)
            block.labels[into] = labels[taken]
            if block.confidence is not None and confidence is not None:
                block.confidence[into] = confidence[taken]
            self._filled, done = into.stop, taken.stop
            if self._filled == len(block.labels) and block.end < height:
                yield from self._sift(block, last=False)

    def rest(self) -> Iterator[Strip]:
        """The rows that are left."""
        block = self._next
        if block is None:
            # fewer rows than there should be: the last ones end at a block
            yield from self._held.give(self._row)
            return
        block.labels = block.labels[: self._filled]
        if block.confidence is not None:
            block.confidence = block.confidence[: self._filled]
        yield from self._sift(block, last=True)

    def _empty(self, *, with_confidence: bool) -> Block:
        shape = (min(BLOCK, self._shape[0] - self._row), self._shape[1])
        confidence = np.empty(shape, np.uint8) if with_confidence else None
        return Block(row=self._row, labels=np.empty(shape, np.int32), confidence=confidence)

    def _sift(self, block: Block, *, last: bool) -> Iterator[Strip]:
        self._next, self._row, self._filled = None, block.end, 0
        self._graph.add(block.labels, block.row, last=last)
        self._held.add(block)
        self._held.paint(*self._graph.take_settled(self._rule.decide(self._graph, block.end)))
        waiting = self._graph.first_row[self._graph.small]
        yield from self._held.give(block.end if last else int(waiting.min(initial=block.end)))
