"""SegNet, which remembers where each maximum was."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from geounet.nn.blocks import DoubleConv, Encoder, Span, union, unpooled, widths_of
from geounet.nn.network import ExactNetwork


class SegNet(ExactNetwork):
    """Encoder and decoder without skips; pooling hands on the places of the maxima.

    Badrinarayanan, Kendall & Cipolla 2017, "SegNet: A Deep Convolutional Encoder-Decoder
    Architecture for Image Segmentation" (https://arxiv.org/abs/1511.00561), figures 2 and 3: each
    encoder block is followed by a pooling, its mirror image in the decoder by the same block turned
    around after max-unpooling with the pooling's indices. There is no bottleneck: the decoder
    begins at the last pooling. Differs from the paper in the blocks, which are those of
    :class:`~geounet.nn.unet.UNet`.

    ``depth`` is the number of poolings.
    """

    def __init__(self, in_bands: int, classes: int, width: int = 32, depth: int = 4) -> None:
        super().__init__(in_bands, classes, width, depth)
        widths = widths_of(width, depth)
        self.encoder = Encoder(in_bands, widths)
        self.decoder = nn.ModuleList(
            DoubleConv(widths[level], widths[max(0, level - 1)], between=widths[level])
            for level in reversed(range(depth))
        )
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`~geounet.nn.network.SegmentationNetwork.forward`."""
        places = []
        for block in self.encoder:
            x, indices = functional.max_pool2d(block(x), 2, return_indices=True)
            places.append(indices)
        for block in self.decoder:
            x = block(functional.max_unpool2d(x, places.pop(), (2, 2)))
        out: Tensor = self.head(x)
        return out

    def span(self, outputs: Span) -> Span:
        """See :meth:`ExactNetwork.span`."""
        return self._span(0, outputs)

    def _span(self, level: int, outputs: Span) -> Span:
        low, high = DoubleConv.span(outputs)
        cells = low // 2, high // 2
        places = self.encoder.span(level, unpooled(cells))
        if level + 1 == self.depth:
            return places
        return union(places, self._span(level + 1, cells))
