"""The U-Net, as published, with batch normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geounet.errors import OptionError

Span = tuple[int, int]
"""First and last position that something depends on, at one level of the network."""


class DoubleConv(nn.Sequential):
    """Twice: 3x3 convolution ("same"), batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    reach = 2
    """Pixels, on each side, that one output pixel depends on."""


class UNet(nn.Module):
    """Encoder, bottleneck, decoder and skips.

    Ronneberger, Fischer & Brox 2015, "U-Net: Convolutional Networks for Biomedical Image
    Segmentation" (https://arxiv.org/abs/1505.04597), figure 1: double 3x3 convolutions, 2x2 max
    pooling, 2x2 transposed convolutions that halve the channels, concatenated skips, 1x1 output.
    Differs from the paper in batch normalisation after each 3x3 convolution and in "same" padding;
    with a halo of at least :attr:`radius` the padding reaches no pixel that is kept, so tiles are
    as exact as the paper's unpadded ones.

    Maps (batch, in_bands, height, width) to logits (batch, classes, height, width); height and
    width must be multiples of :attr:`stride`.

    Raises:
        OptionError: A parameter below 1.
    """

    def __init__(self, in_bands: int, classes: int, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        if min(in_bands, classes, width, depth) < 1:
            raise OptionError(
                f"a U-Net with {in_bands} bands, {classes} classes, width {width}, depth {depth}"
                " cannot be: each must be at least 1"
            )
        self.depth = depth
        widths = [width * 2**level for level in range(depth + 1)]
        self.encoder = nn.ModuleList(
            DoubleConv(before, after)
            for before, after in zip([in_bands, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2)
            for level in reversed(range(depth))
        )
        self.decoder = nn.ModuleList(
            DoubleConv(2 * widths[level], widths[level]) for level in reversed(range(depth))
        )
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes, height, width) of ``x`` (batch, in_bands, height, width)."""
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()  # the bottleneck is no skip
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat((skips.pop(), up(x)), dim=1))
        out: Tensor = self.head(x)
        return out

    @property
    def stride(self) -> int:
        """Total stride: the output commutes with shifts by this many pixels."""
        return int(2**self.depth)

    @property
    def radius(self) -> int:
        """Receptive radius in pixels: how far outside an aligned block its outputs look.

        A block is ``stride`` x ``stride`` outputs whose origin is a multiple of the stride, as
        every core is made of. The span of inputs is followed back through each layer for each
        position in the block; a perturbation test holds the result to the network. (Seen from a
        single output that is not at the block's edge, the network looks up to ``stride - 1``
        further to one side, but never further out of the block.)
        """
        spans = [self._decoder_span(0, (p, p)) for p in range(self.stride)]
        return max(-min(low for low, _ in spans), max(high for _, high in spans) - self.stride + 1)

    def _decoder_span(self, level: int, span: Span) -> Span:
        if level == self.depth:  # the bottleneck
            return self._encoder_span(level, span)
        low, high = span[0] - DoubleConv.reach, span[1] + DoubleConv.reach
        skip = self._encoder_span(level, (low, high))
        below = self._decoder_span(level + 1, (low // 2, high // 2))
        return min(skip[0], below[0]), max(skip[1], below[1])

    def _encoder_span(self, level: int, span: Span) -> Span:
        low, high = span[0] - DoubleConv.reach, span[1] + DoubleConv.reach
        return (low, high) if level == 0 else self._encoder_span(level - 1, (2 * low, 2 * high + 1))
