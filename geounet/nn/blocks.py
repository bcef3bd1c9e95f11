"""What the architectures are made of, and how far each part looks.

A span is the first and last position that something depends on, in one dimension and at one level
of the network; the functions here follow it back through a layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

Span = tuple[int, int]
"""First and last position, both included."""


class DoubleConv(nn.Sequential):
    """Twice: 3x3 convolution ("same"), batch normalisation, ReLU."""

    reach = 2
    """Pixels, on each side, that one output pixel depends on."""

    def __init__(self, inputs: int, outputs: int, between: int | None = None) -> None:
        middle = outputs if between is None else between
        super().__init__(
            nn.Conv2d(inputs, middle, 3, padding=1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    @classmethod
    def span(cls, outputs: Span) -> Span:
        """Inputs that these outputs depend on."""
        return outputs[0] - cls.reach, outputs[1] + cls.reach


class Encoder(nn.ModuleList):
    """A double convolution a level, 2x2 max pooling between them."""

    def __init__(self, in_bands: int, widths: Sequence[int]) -> None:
        super().__init__(
            DoubleConv(before, after)
            for before, after in zip([in_bands, *widths[:-1]], widths, strict=True)
        )

    def features(self, x: Tensor) -> list[Tensor]:
        """What each level gives, the finest first."""
        out = []
        for level, block in enumerate(self):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            out.append(x)
        return out

    def span(self, level: int, outputs: Span) -> Span:
        """Pixels of the scene that these outputs of a level depend on."""
        inputs = DoubleConv.span(outputs)
        return inputs if level == 0 else self.span(level - 1, unpooled(inputs))


def cropped(x: Tensor, margin: int) -> Tensor:
    """A view without ``margin`` pixels on each side."""
    inner = slice(margin, -margin or None)
    return x[..., inner, inner]


def widths_of(width: int, levels: int) -> list[int]:
    """Channels of each level: twice as many as in the one before."""
    return [width * 2**level for level in range(levels)]


def unpooled(outputs: Span) -> Span:
    """Inputs of a 2x2 pooling."""
    return 2 * outputs[0], 2 * outputs[1] + 1


def upsampled(outputs: Span, kernel: int, stride: int) -> Span:
    """Inputs of a transposed convolution whose padding is half of ``kernel - stride``."""
    padding = (kernel - stride) // 2
    return -((kernel - 1 - padding - outputs[0]) // stride), (outputs[1] + padding) // stride


def union(*spans: Span) -> Span:
    """The smallest span around some."""
    return min(low for low, _ in spans), max(high for _, high in spans)
