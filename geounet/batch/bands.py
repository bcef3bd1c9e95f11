"""How a scene is cut into bands for workers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from geounet.batch.job import Plan

_EACH = 8
"""Bands a worker, so that none waits long for the last, nor the outputs for the strips above."""

_READ_TWICE = 1 / 4
"""Largest share of rows that are read twice, as long as there is a band for each worker: reading
takes a tenth of the time of computing, and outputs are written while bands are computed, so that
few rows should be left to write after the last."""

_COMPUTED_TWICE = 1 / 8
"""The same of rows of tiles that are computed twice, where they are blended."""

_SMALL = 4_000_000
"""Pixels that are not worth a task of their own."""


def cut_bands(plan: Plan, workers: int) -> list[tuple[int, ...]]:
    """The rows of tiles that are missing, in bands; none where finishing computes them as well.

    Laws: each missing row is in one band; rows of a band follow one another.

    Args:
        plan: Of the scene.
        workers: There are.
    """
    pixels = len(plan.missing) * plan.height * plan.width
    if plan.fingerprint is None or pixels <= _SMALL or len(plan.missing) < 2:
        return []
    rows = len(plan.missing)
    read_twice = math.ceil(2 * plan.margin / plan.height / _READ_TWICE)
    least = max(read_twice, math.ceil(plan.lead / _COMPUTED_TWICE), 1)
    number = max(min(workers * _EACH, rows // least), min(workers, rows))
    if number > workers:
        number -= number % workers  # or the last ones keep few at work, and all wait for them
    bands = [
        band
        for run in _runs(plan.missing)
        for band in _pieces(run, max(1, number * len(run) // rows))
    ]
    return bands if len(bands) > 1 else []


def _runs(rows: Sequence[int]) -> Iterator[list[int]]:
    """Rows that follow one another."""
    for _, group in itertools.groupby(enumerate(rows), lambda pair: pair[1] - pair[0]):
        yield [row for _, row in group]


def _pieces(rows: Sequence[int], number: int) -> Iterator[tuple[int, ...]]:
    """About equal ones."""
    for i in range(number):
        start, stop = i * len(rows) // number, (i + 1) * len(rows) // number
        yield tuple(rows[start:stop])
