"""The fully convolutional network, with skips by summation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geounet.nn.blocks import Encoder, Span, union, upsampled, widths_of
from geounet.nn.network import ExactNetwork


class FCN(ExactNetwork):
    """Class scores at three levels of an encoder, upsampled and summed.

    Long, Shelhamer & Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation"
    (https://arxiv.org/abs/1411.4038), figure 3: 1x1 convolutions score the three deepest levels;
    the scores are brought to double size by transposed convolutions that start as bilinear
    interpolation and learn, and summed with those of the next level; what remains to full
    resolution is fixed bilinear interpolation. With ``depth`` 5 that last step is by 8: the paper's
    FCN-8s. Differs from it in the encoder, which is that of :class:`~geounet.nn.unet.UNet`.

    ``depth``, at least 2, is the number of poolings.
    """

    least_depth = 2

    def __init__(self, in_bands: int, classes: int, width: int = 32, depth: int = 4) -> None:
        super().__init__(in_bands, classes, width, depth)
        widths = widths_of(width, depth + 1)
        self.encoder = Encoder(in_bands, widths)
        self.score = nn.ModuleList(
            nn.Conv2d(channels, classes, 1) for channels in (widths[-1], widths[-2])
        )
        self.up = nn.ModuleList(_bilinear(classes, 2) for _ in range(2))
        self.head = nn.Conv2d(widths[-3], classes, 1)
        self._last = 2 ** (depth - 2)
        self.last = _bilinear(classes, self._last).requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`~geounet.nn.network.SegmentationNetwork.forward`."""
        *_, fine, middle, coarse = self.encoder.features(x)
        x = self.up[0](self.score[0](coarse)) + self.score[1](middle)
        x = self.up[1](x) + self.head(fine)
        out: Tensor = self.last(x)
        return out

    def span(self, outputs: Span) -> Span:
        """See :meth:`ExactNetwork.span`."""
        fine = upsampled(outputs, 2 * self._last, self._last) if self._last > 1 else outputs
        middle = upsampled(fine, 4, 2)
        coarse = upsampled(middle, 4, 2)
        return union(
            self.encoder.span(self.depth - 2, fine),
            self.encoder.span(self.depth - 1, middle),
            self.encoder.span(self.depth, coarse),
        )


def _bilinear(classes: int, factor: int) -> nn.Module:
    """Bilinear interpolation by a whole factor, as a transposed convolution."""
    if factor == 1:
        return nn.Identity()
    size = 2 * factor
    layer = nn.ConvTranspose2d(
        classes, classes, size, stride=factor, padding=factor // 2, bias=False
    )
    distance = (torch.arange(size) - (size - 1) / 2).abs() / factor
    with torch.no_grad():
        layer.weight.zero_()
        for i in range(classes):
            layer.weight[i, i] = torch.outer(1 - distance, 1 - distance)
    return layer
