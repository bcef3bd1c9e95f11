"""What is measured on the training part, and on nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from geounet.bands import BandSpec
from geounet.errors import DataError
from geounet.train.source import Source

CLIPS: Mapping[str, tuple[float, float]] = {"reflectance": (-0.05, 1.2), "dB": (-50.0, 25.0)}
"""What the input is clipped to, by its unit."""

_SAMPLE = 20_000  # pixels of a chip
_MORE = 0.25  # of the span, on either side: another scene may be a little brighter


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the network and its loss must know of the chips to train on."""

    bands: tuple[BandSpec, ...]
    """Mean and standard deviation of each over the valid pixels, clipped."""
    shares: tuple[float, ...]
    """Of each class among the labelled valid pixels; all 0 where there are none."""


def statistics_of(source: Source, names: Sequence[str], clip: tuple[float, float]) -> Statistics:
    """The statistics of these chips; each is read once.

    The counts that a source may have of its labels do not do here: they also count where the image
    has no data.

    Raises:
        DataError: There is no valid pixel.
    """
    count, total, squares = 0, np.zeros(len(source.bands)), np.zeros(len(source.bands))
    labels = np.zeros(len(source.classes), np.int64)
    for chip in source.chips(names):
        labels += np.bincount(chip.label[chip.scored], minlength=len(labels))
        values = np.clip(chip.image[:, chip.valid], *clip).astype(np.float64)
        count += values.shape[1]
        total += values.sum(axis=1)
        squares += (values**2).sum(axis=1)
    if not count:
        raise DataError(f"{len(names)} chips to train on have no valid pixel: is nodata right?")
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1e-12))
    bands = (
        BandSpec(name=name, mean=round(float(m), 6), std=round(float(s), 6))
        for name, m, s in zip(source.bands, mean, std, strict=True)
    )
    shares = labels / max(1, labels.sum())
    return Statistics(bands=tuple(bands), shares=tuple(shares.tolist()))


def clip_of(unit: str, source: Source, names: Sequence[str]) -> tuple[float, float]:
    """What the input is clipped to: by its unit, else the :func:`value_range` of these chips.

    Raises:
        DataError: As for :func:`value_range`.
    """
    return CLIPS.get(unit) or value_range(source, names)


def value_range(source: Source, names: Sequence[str]) -> tuple[float, float]:
    """What the input may be clipped to, in the unit: what these chips hold, and half as much again.

    Of each band the values between its 0.05th and 99.95th percentile count, over at most
    :data:`_SAMPLE` valid pixels of each chip, so that a few broken pixels do not.

    Raises:
        DataError: There is no valid pixel, or all have the same value.
    """
    rng = np.random.default_rng(0)
    parts = [np.empty((len(source.bands), 0), np.float32)]
    for chip in source.chips(names):
        values = chip.image[:, chip.valid]
        if values.shape[1] > _SAMPLE:
            values = values[:, rng.integers(0, values.shape[1], _SAMPLE)]
        parts.append(values)
    sample = np.concatenate(parts, axis=1)
    if not sample.shape[1]:
        raise DataError(f"{len(names)} chips to train on have no valid pixel: is nodata right?")
    ends = np.percentile(sample, (0.05, 99.95), axis=1)
    low, high = float(ends[0].min()), float(ends[1].max())
    if not low < high:
        raise DataError(f"all pixels of the images are {low:g}: nothing can be learnt from them")
    return low - _MORE * (high - low), high + _MORE * (high - low)
