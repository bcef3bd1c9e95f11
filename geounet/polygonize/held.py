"""Rows that wait until their labels are final."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError
from geounet.polygonize.runs import paint_runs

Strip = tuple[NDArray[np.int32], NDArray[np.uint8] | None]
"""Labels and confidence of some rows, (rows, width) each."""


@dataclass(slots=True, kw_only=True, eq=False)
class Block:
    """Some rows, as many in each but the last."""

    row: int
    """Of the raster, of the first."""
    labels: NDArray[np.int32]
    """(rows, width)."""
    confidence: NDArray[np.uint8] | None
    """(rows, width)."""

    @property
    def end(self) -> int:
        """Row after the last."""
        return self.row + len(self.labels)


class HeldRows:
    """Takes blocks, has their labels changed, and gives rows that are final."""

    def __init__(self) -> None:
        self._blocks: deque[Block] = deque()
        self._given = 0

    @property
    def rows(self) -> int:
        """How many are held."""
        return self._blocks[-1].end - self._given if self._blocks else 0

    def add(self, block: Block) -> None:
        """Hold the next block."""
        self._blocks.append(block)

    def paint(self, runs: NDArray[np.int32], values: NDArray[np.int32]) -> None:
        """Change labels: of runs (runs, 3) row, first column, column after the last."""
        for block in self._blocks:
            inside = (runs[:, 0] >= block.row) & (runs[:, 0] < block.end)
            paint_runs(block.labels, block.row, runs[inside], values[inside])

    def give(self, row: int) -> Iterator[Strip]:
        """The rows before this one."""
        while self._blocks and self._given < row:
            block = self._blocks[0]
            rows = slice(self._given - block.row, min(row, block.end) - block.row)
            yield block.labels[rows], None if block.confidence is None else block.confidence[rows]
            self._given = block.row + rows.stop
            if self._given == block.end:
                self._blocks.popleft()


def check_strip(labels: Any, confidence: Any, width: int) -> None:
    """Whether rows are what they should be.

    Raises:
        OptionError: An array has another shape or type.
    """
    shape = (len(labels), width)
    if labels.shape != shape or not np.issubdtype(labels.dtype, np.integer):
        raise OptionError(
            f"labels of shape {labels.shape} and type {labels.dtype} must be {shape} integers"
        )
    if confidence is not None and (confidence.shape, confidence.dtype) != (shape, np.uint8):
        raise OptionError(
            f"confidence of shape {confidence.shape} and type {confidence.dtype} must be"
            f" {shape}, uint8"
        )
