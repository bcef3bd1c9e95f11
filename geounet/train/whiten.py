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
from geounet.spec import Seam
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
    """A network on whitened input.

    Args:
        network: What is trained.
        matrix: (bands, bands) of :func:`whitening`; None: the input stays as it is.
    """

    def __init__(self, network: SegmentationNetwork, matrix: Tensor | None) -> None:
        super().__init__()
        self.network = network
        self.matrix: Tensor | None
        self.register_buffer("matrix", matrix)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of normalised input (batch, bands, height, width)."""
        if self.matrix is not None:
            x = torch.einsum("ij,bjhw->bihw", self.matrix, x)
        out: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return out

    def fold(self) -> SegmentationNetwork:
        """The network for plain input; law: ``fold()(x) == self(x)``. Leaves ``self`` unusable."""
        if self.matrix is not None:
            weight = self.network.stem.weight
            with torch.no_grad():
                weight.copy_(torch.einsum("oikl,ij->ojkl", weight, self.matrix))
        return self.network

    @property
    def stride(self) -> int:
        """Of the network."""
        return self.network.stride

    @property
    def halo(self) -> int:
        """Of the network."""
        return self.network.halo

    @property
    def seam(self) -> Seam:
        """Of the network."""
        return self.network.seam


def whitenable(network: SegmentationNetwork, bands: int) -> bool:
    """Whether the matrix can be folded: the first convolution sees all bands with each kernel."""
    return network.stem.weight.shape[1] == bands
