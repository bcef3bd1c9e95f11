"""What every architecture is, and how far it sees."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from geounet.errors import OptionError
from geounet.nn.blocks import Encoder, Span, cropped
from geounet.spec import Seam
from geounet.tiling import round_up


class SegmentationNetwork(nn.Module, ABC):
    """Maps (batch, in_bands, height, width) to logits (batch, classes, height, width).

    Height and width must be multiples of :attr:`stride`.
    """

    seam: Seam
    """How tiles are joined: exactly, where :attr:`halo` is all that an output looks at; or blended,
    where it is half of what neighbouring tiles share."""
    head: nn.Conv2d
    """The convolution whose bias is a term of the logits."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes, height, width) of ``x`` (batch, in_bands, height, width)."""

    def core(self, x: Tensor, halo: int) -> Tensor:
        """Logits without ``halo`` pixels on each side, as :meth:`forward` gives them.

        Args:
            x: As there.
            halo: At least :attr:`halo` where tiles are exact, and a multiple of the stride.
        """
        return cropped(self(x), halo)

    @property
    @abstractmethod
    def stride(self) -> int:
        """What height and width of the input must be multiples of."""

    @property
    @abstractmethod
    def halo(self) -> int:
        """Pixels of context around a core, a multiple of the stride."""

    @property
    def stem(self) -> nn.Conv2d:
        """The only layer that sees the input: the first convolution."""
        return next(module for module in self.modules() if isinstance(module, nn.Conv2d))


class ExactNetwork(SegmentationNetwork):
    """A network whose reach is known, so that its tiles are exact.

    Raises:
        OptionError: A parameter too small.
    """

    seam: Seam = "exact"
    encoder: Encoder
    """Its first block's first convolution is the stem."""
    least_depth = 1

    def __init__(self, in_bands: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        if min(in_bands, classes, width) < 1 or depth < self.least_depth:
            raise OptionError(
                f"a {type(self).__name__} with {in_bands} bands, {classes} classes, width {width},"
                f" depth {depth} cannot be: each must be at least 1, depth {self.least_depth}"
            )
        self.depth = depth

    @abstractmethod
    def span(self, outputs: Span) -> Span:
        """The inputs that these outputs depend on, in one dimension."""

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
        spans = [self.span((p, p)) for p in range(self.stride)]
        return max(-min(low for low, _ in spans), max(high for _, high in spans) - self.stride + 1)

    @property
    def halo(self) -> int:
        """The radius, rounded up to the stride."""
        return round_up(self.radius, self.stride)
