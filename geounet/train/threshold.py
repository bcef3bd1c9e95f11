"""Thresholds that are fitted on a training part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from geounet.nn import SegmentationNetwork
from geounet.train.augment import Normalize
from geounet.train.predict import predict_logits
from geounet.train.source import Source

_BINS = 2000


def best_threshold(
    values: NDArray[np.floating], positive: NDArray[np.bool_], *, above: bool
) -> float:
    """The threshold whose side of ``values`` has the largest IoU with ``positive``.

    Args:
        values: Any shape, finite.
        positive: The same shape.
        above: Whether positive is above the threshold, or below.

    Returns:
        One of 2000 equal steps between the smallest and the largest value.
    """
    sign = -1.0 if above else 1.0
    edges = np.linspace(sign * values.min(), sign * values.max(), _BINS + 1)
    edges.sort()
    hits = np.histogram(sign * values[positive], edges)[0].cumsum()
    marked = np.histogram(sign * values, edges)[0].cumsum()
    iou = hits / np.maximum(1, marked + positive.sum() - hits)
    return float(sign * edges[1 + int(iou.argmax())])


def fold_threshold(
    network: SegmentationNetwork, normalize: Normalize, source: Source, names: Sequence[str]
) -> float:
    """Shift the bias of a two-class head so that IoU on these chips is largest as it is.

    Returns:
        The shift that was taken off the second logit.
    """
    margins, positive = [], []
    for chip in source.chips(names):
        logits = predict_logits(network, normalize, chip)[:, chip.scored]
        margins.append(logits[1] - logits[0])
        positive.append(chip.label[chip.scored] == 1)
    margin = np.clip(np.concatenate(margins), -10, 10)
    shift = best_threshold(margin, np.concatenate(positive), above=True)
    with torch.no_grad():
        bias = network.head.bias
        if bias is not None:
            bias[1] -= shift
    return shift
