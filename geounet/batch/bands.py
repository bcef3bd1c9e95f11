"""How a scene is cut into bands for workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from geounet.batch.job import Plan

_EACH = 4
"""Bands a worker, so that none waits long for the last."""

_WASTE = 1 / 8
"""Largest share of rows that are read twice, or of rows of tiles that are computed twice (where
they are blended), as long as there is a band for each worker."""

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
    least = max(_rounded(2 * plan.margin / plan.height), _rounded(plan.lead), 1)
    number = max(min(workers * _EACH, rows // least), min(workers, rows))
    if number > workers:
        number -= number % workers  # or the last ones keep few at work, and all wait for them
    bands = [
        band
        for run in _runs(plan.missing)
        for band in _pieces(run, max(1, number * len(run) // rows))
    ]
    return bands if len(bands) > 1 else []


def _rounded(overhead: float) -> int:
    """Rows of tiles of which an overhead, in rows of tiles, is the largest share or less."""
    return int(-(-overhead // _WASTE))


def _runs(rows: Sequence[int]) -> Iterator[list[int]]:
    """Rows that follow one another."""
    for _, group in itertools.groupby(enumerate(rows), lambda pair: pair[1] - pair[0]):
        yield [row for _, row in group]


def _pieces(rows: Sequence[int], number: int) -> Iterator[tuple[int, ...]]:
    """About equal ones."""
    for i in range(number):
        start, stop = i * len(rows) // number, (i + 1) * len(rows) // number
        yield tuple(rows[start:stop])
