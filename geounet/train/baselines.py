"""What a model must beat: thresholds and a forest, fitted on the same training part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from sklearn.ensemble import RandomForestClassifier

from geounet.train.source import Chip, Source
from geounet.train.threshold import best_threshold

Classify = Callable[[Chip], NDArray[np.int64]]
"""Class index (height, width) of a chip."""

_OTSU_BINS = 256


def otsu(values: NDArray[np.floating]) -> float:
    """The threshold that separates values best into two classes.

    Otsu 1979, "A threshold selection method from gray-level histograms",
    https://doi.org/10.1109/TSMC.1979.4310076: largest variance between the classes, 256 bins.
    """
    counts, edges = np.histogram(values, _OTSU_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = counts.cumsum(), counts[::-1].cumsum()[::-1]
    low = (counts * centres).cumsum() / np.maximum(below, 1)
    high = (counts * centres)[::-1].cumsum()[::-1] / np.maximum(above, 1)
    between = below[:-1] * above[1:] * (low[:-1] - high[1:]) ** 2
    return float(edges[1 + int(between.argmax())])


def smooth_band(chip: Chip, band: int) -> NDArray[np.float32]:
    """A band after a 5 x 5 median, which takes the speckle out; NaN where there are no data."""
    filled = np.where(chip.valid, chip.image[band], np.nanmedian(chip.image[band]))
    return np.where(chip.valid, median_filter(filled, 5), np.float32("nan")).astype(np.float32)


def mndwi(chip: Chip, green: int = 2, swir1: int = 5) -> NDArray[np.float32]:
    """Modified normalised difference water index, -1..1.

    Xu 2006, https://doi.org/10.1080/01431160600589179. Reflectance below 0.0001 counts as that.
    """
    a, b = (np.maximum(chip.image[i], np.float32(1e-4)) for i in (green, swir1))
    return np.asarray((a - b) / (a + b), np.float32)


def otsu_of_scene(source: Source, names: Sequence[str], seed: int) -> Classify:
    """Otsu on the scene's own 5 x 5 median of VH; nothing is fitted on the training part."""
    del names, seed
    band = source.bands.index("VH")

    def classify(chip: Chip) -> NDArray[np.int64]:
        smooth = smooth_band(chip, band)
        return (smooth < otsu(smooth[chip.valid])).astype(np.int64)

    return classify


def vh_threshold(source: Source, names: Sequence[str], seed: int) -> Classify:
    """One threshold for the 5 x 5 median of VH, fitted for IoU."""
    del seed
    band = source.bands.index("VH")
    return _fitted(source, names, lambda chip: smooth_band(chip, band), above=False)


def mndwi_threshold(source: Source, names: Sequence[str], seed: int) -> Classify:
    """One threshold for MNDWI, fitted for IoU."""
    del seed
    return _fitted(source, names, mndwi, above=True)


def pixel_forest(
    source: Source, names: Sequence[str], seed: int, pixels: int = 150_000
) -> Classify:
    """A random forest on the bands of single pixels, fitted on a sample of the training part."""
    forest = fit_forest(source, names, seed, pixels)

    def classify(chip: Chip) -> NDArray[np.int64]:
        out = np.zeros(chip.label.shape, np.int64)
        out[chip.valid] = forest.predict(chip.image[:, chip.valid].T)
        return out

    return classify


def fit_forest(
    source: Source, names: Sequence[str], seed: int, pixels: int = 150_000
) -> RandomForestClassifier:
    """60 trees with leaves of at least 5 pixels."""
    features, labels = [], []
    for chip in source.chips(names):
        features.append(chip.image[:, chip.scored].T)
        labels.append(chip.label[chip.scored])
    x, y = np.concatenate(features), np.concatenate(labels)
    picked = np.random.default_rng(seed).choice(len(x), min(pixels, len(x)), replace=False)
    forest = RandomForestClassifier(60, min_samples_leaf=5, n_jobs=-1, random_state=seed)
    return forest.fit(x[picked], y[picked])


def _fitted(
    source: Source,
    names: Sequence[str],
    index: Callable[[Chip], NDArray[np.float32]],
    *,
    above: bool,
) -> Classify:
    chips = list(source.chips(names))
    values = np.concatenate([index(chip)[chip.scored] for chip in chips])
    water = np.concatenate([chip.label[chip.scored] == 1 for chip in chips])
    threshold = best_threshold(values, water, above=above)

    def classify(chip: Chip) -> NDArray[np.int64]:
        value = index(chip)
        return np.asarray(value > threshold if above else value < threshold, np.int64)

    return classify
