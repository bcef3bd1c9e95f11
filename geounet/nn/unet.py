"""The U-Net, as published, with batch normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geounet.margins import decoder_margins
from geounet.nn.blocks import DoubleConv, Encoder, Span, cropped, union, upsampled, widths_of
from geounet.nn.network import ExactNetwork


class UNet(ExactNetwork):
    """Encoder, bottleneck, decoder and skips.

    Ronneberger, Fischer & Brox 2015, "U-Net: Convolutional Networks for Biomedical Image
    Segmentation" (https://arxiv.org/abs/1505.04597), figure 1: double 3x3 convolutions, 2x2 max
    pooling, 2x2 transposed convolutions that halve the channels, concatenated skips, 1x1 output.
    Differs from the paper in batch normalisation after each 3x3 convolution and in "same" padding;
    with a halo of at least :attr:`radius` the padding reaches no pixel that is kept, so tiles are
    as exact as the paper's unpadded ones.

    ``depth`` is the number of poolings.
    """

    def __init__(self, in_bands: int, classes: int, width: int = 32, depth: int = 4) -> None:
        super().__init__(in_bands, classes, width, depth)
        widths = widths_of(width, depth + 1)
        self.encoder = Encoder(in_bands, widths)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2)
            for level in reversed(range(depth))
        )
        self.decoder = nn.ModuleList(
            DoubleConv(2 * widths[level], widths[level]) for level in reversed(range(depth))
        )
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`~geounet.nn.network.SegmentationNetwork.forward`."""
        *skips, x = self.encoder.features(x)
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat((skips.pop(), up(x)), dim=1))
        out: Tensor = self.head(x)
        return out

    def core(self, x: Tensor, halo: int) -> Tensor:
        """See :meth:`~geounet.nn.network.SegmentationNetwork.core`; the decoder computes less."""
        *skips, x = self.encoder.features(x)
        margins, have = decoder_margins(self.depth), halo >> self.depth
        for up, block in zip(self.up, self.decoder, strict=True):
            level, margin = len(skips) - 1, margins.pop()
            x = up(cropped(x, have - margin // 2))
            x = block(torch.cat((cropped(skips.pop(), (halo >> level) - margin), x), dim=1))
            have = margin
        out: Tensor = self.head(cropped(x, have))
        return out

    def span(self, outputs: Span) -> Span:
        """See :meth:`ExactNetwork.span`."""
        return self._span(0, outputs)

    def _span(self, level: int, outputs: Span) -> Span:
        if level == self.depth:  # the bottleneck
            return self.encoder.span(level, outputs)
        inputs = DoubleConv.span(outputs)
        below = self._span(level + 1, upsampled(inputs, kernel=2, stride=2))
        return union(self.encoder.span(level, inputs), below)
