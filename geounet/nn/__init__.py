"""Networks, one architecture a file, rebuilt from a spec by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from geounet.errors import ModelError
from geounet.nn.unet import UNet
from geounet.spec import ArchSpec

__all__ = ["ARCHITECTURES", "Network", "UNet", "build"]


class Network(Protocol):
    """What every architecture offers besides being a ``torch.nn.Module``."""

    @property
    def stride(self) -> int:
        """Total stride in pixels."""

    @property
    def radius(self) -> int:
        """Receptive radius in pixels."""

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (batch, classes, height, width) of (batch, bands, height, width)."""


ARCHITECTURES: dict[str, Callable[..., UNet]] = {"unet": UNet}
"""Name in a spec -> class; nothing outside this table can be built from a bundle."""


def build(arch: ArchSpec, in_bands: int, classes: int) -> UNet:
    """The network of a spec, with fresh weights.

    Raises:
        ModelError: An architecture this version does not have.
    """
    if arch.name not in ARCHITECTURES:
        raise ModelError(
            f"architecture {arch.name!r} is not one of {', '.join(sorted(ARCHITECTURES))}:"
            " install a geounet that has it"
        )
    return ARCHITECTURES[arch.name](in_bands, classes, width=arch.width, depth=arch.depth)
