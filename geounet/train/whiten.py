"""Decorrelated input, while training; folded into the first convolution afterwards.

The bands of a scene rise and fall together, so that what tells classes apart, the difference
between bands, is a small part of the signal and is learnt last; whitened (Krizhevsky 2009,
"Learning multiple layers of features from tiny images", appendix A), it is learnt in far fewer
steps. The whitening is linear and maps 0 to 0, so the network that ships is exactly equal and knows
nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from geounet.nn import SegmentationNetwork
from geounet.train.augment import Normalize
from geounet.train.source import Source

_FLOOR = 0.01  # added to the variances: a direction with less is noise, and not blown up


def whitening(source: Source, names: Sequence[str], normalize: Normalize) -> Tensor:
    """The matrix (bands, bands) that decorrelates the normalised valid pixels of these chips."""
    bands = len(source.bands)
    total, count = np.zeros((bands, bands)), 0
    for chip in source.chips(names):
        pixels = normalize(torch.from_numpy(chip.image[None]))[0].numpy()[:, chip.valid]
        total += pixels.astype(np.float64) @ pixels.T.astype(np.float64)
        count += pixels.shape[1]
    values, vectors = np.linalg.eigh(total / max(1, count))
    matrix = (vectors / np.sqrt(np.maximum(values, 0) + _FLOOR)).T
    return torch.from_numpy(matrix.astype(np.float32))


class Whitened(nn.Module):
    """A network on whitened input."""

    def __init__(self, network: SegmentationNetwork, matrix: Tensor) -> None:
        super().__init__()
        self.network = network
        self.matrix: Tensor
        self.register_buffer("matrix", matrix)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of normalised input (batch, bands, height, width)."""
        mixed = torch.einsum("ij,bjhw->bihw", self.matrix, x)
        out: Tensor = self.network(mixed.contiguous(memory_format=torch.channels_last))
        return out

    def fold(self) -> SegmentationNetwork:
        """The network for plain input; law: ``fold()(x) == self(x)``. Leaves ``self`` unusable."""
        first = self.network.encoder[0].get_submodule("0")
        weight = first.get_parameter("weight")
        with torch.no_grad():
            weight.copy_(torch.einsum("oikl,ij->ojkl", weight, self.matrix))
        return self.network
