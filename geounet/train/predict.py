"""Scoring forward pass over whole chips."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geounet.nn import SegmentationNetwork
from geounet.tiling import mirror_index, round_up
from geounet.train.augment import Normalize
from geounet.train.source import Chip


def predict_logits(
    network: SegmentationNetwork, normalize: Normalize, chip: Chip
) -> NDArray[np.float32]:
    """Logits (classes, height, width) of a chip, as ``geounet segment`` would have them.

    One pass over the chip, mirrored at its edges by the halo: the reference that tiled segmentation
    equals.
    """
    image = torch.from_numpy(np.where(chip.valid, chip.image, np.float32("nan")))[None]
    halo = round_up(network.radius, network.stride)
    with torch.inference_mode():
        x = _mirror(normalize(image), halo, network.stride)
        logits: Tensor = network(x.contiguous(memory_format=torch.channels_last))
        height, width = image.shape[2:]
        inner = logits[0, :, halo : halo + height, halo : halo + width]
        return np.asarray(inner.float().numpy())


def predict_labels(
    network: SegmentationNetwork, normalize: Normalize, chip: Chip
) -> NDArray[np.int64]:
    """Class index (height, width) of a chip."""
    return np.asarray(predict_logits(network, normalize, chip).argmax(axis=0), np.int64)


def _mirror(x: Tensor, halo: int, stride: int) -> Tensor:
    """Mirror by the halo, and at the far sides up to the stride."""
    rows, cols = (
        torch.from_numpy(mirror_index(-halo, round_up(size, stride) + halo, size))
        for size in x.shape[2:]
    )
    return x[:, :, rows][:, :, :, cols]
