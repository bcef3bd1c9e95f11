"""Honest scores: leave groups out, several seeds, beside what must be beaten."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geounet.engine.torch import fold_batch_norm, in_precision
from geounet.metrics import Confusion
from geounet.train.baselines import Classify
from geounet.train.fit import fit
from geounet.train.groups import split_groups
from geounet.train.predict import predict_labels
from geounet.train.recipe import Recipe
from geounet.train.source import Chip, Source

_LOG = logging.getLogger(__name__)
_HALF_PIXELS = 1_000_000  # bfloat16 is slow where the CPU has none, and these are enough

Contender = Callable[[Source, Sequence[str], int], Classify]
"""Fits on the named chips with a seed."""
Score = Callable[[Mapping[str, Confusion], Source], dict[str, float]]
"""Numbers from the confusion of each held-out chip."""


def network_of(recipe: Recipe, halves: Confusion | None = None) -> Contender:
    """The recipe as a contender.

    Args:
        recipe: How the network is trained.
        halves: Counts the labels of the held-out chips in bfloat16 against those in float32.
    """

    def contender(source: Source, names: Sequence[str], seed: int) -> Classify:
        trained = fit(recipe, source, names, seed)
        _LOG.info("%s: loss %.3f in %.0f s", recipe.name, trained.loss, trained.seconds)
        half = in_precision(fold_batch_norm(trained.network), torch.bfloat16)

        def classify(chip: Chip) -> NDArray[np.int64]:
            labels = predict_labels(trained.network, trained.normalize, chip)
            if halves is not None and halves.total < _HALF_PIXELS:
                halves.add(predict_labels(half, trained.normalize, chip), labels, chip.valid)
            return labels

        return classify

    return contender


def crossval(
    source: Source,
    contenders: Mapping[str, Contender],
    score: Score,
    *,
    folds: int,
    seed: int,
    leave_out: Sequence[str] = (),
) -> dict[str, dict[str, float]]:
    """Scores of each contender, pooled over all chips, each held out once.

    The seed sets the folds and, in a network, its start and batches. All contenders see the same
    training part, without ``leave_out``, and are scored on all chips.

    Returns:
        ``{contender: {metric: value}}``.
    """
    parts = split_groups(source.groups, folds, seed)
    results: dict[str, dict[str, float]] = {}
    for name, contender in contenders.items():
        start = time.perf_counter()
        counts: dict[str, Confusion] = {}
        for held_out in parts:
            training = [
                n for part in parts if part is not held_out for n in part if n not in leave_out
            ]
            classify = contender(source, training, seed)
            for chip in source.chips(held_out):
                counts[chip.name] = Confusion()
                counts[chip.name].add(classify(chip), chip.label, chip.scored)
        results[name] = score(counts, source)
        spent = time.perf_counter() - start
        _LOG.info("seed %d, %s: %s (%.0f s)", seed, name, results[name], spent)
    return results


def summary(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Over the seeds: ``{contender: {metric: {"mean", "spread", "seeds"}}}``.

    The spread is the sample standard deviation; None for a single seed.
    """
    return {name: _over_seeds([run[name] for run in runs]) for name in runs[0]}


def pooled(counts: Mapping[str, Confusion], leave_out: Sequence[str] = ()) -> Confusion:
    """All pixels of all chips in one confusion."""
    total = Confusion()
    for name, confusion in counts.items():
        if name not in leave_out:
            total.counts.update(confusion.counts)
    return total


def _over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for metric in runs[0]:
        values = [round(run[metric], 4) for run in runs]
        known = [v for v in values if not np.isnan(v)]
        out[metric] = {
            "mean": round(statistics.fmean(known), 4) if known else None,
            "spread": round(statistics.stdev(known), 4) if len(known) > 1 else None,
            "seeds": values,
        }
    return out
