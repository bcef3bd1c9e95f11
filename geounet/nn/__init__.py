"""Networks, one architecture a file, rebuilt from a spec by name."""

from __future__ import annotations

from geounet.errors import ModelError
from geounet.nn.fcn import FCN
from geounet.nn.network import SegmentationNetwork
from geounet.nn.segnet import SegNet
from geounet.nn.unet import UNet
from geounet.spec import ArchSpec

__all__ = ["ARCHITECTURES", "FCN", "SegNet", "SegmentationNetwork", "UNet", "build"]


ARCHITECTURES: dict[str, type[SegmentationNetwork]] = {"fcn": FCN, "segnet": SegNet, "unet": UNet}
"""Name in a spec -> class; nothing outside this table can be built from a bundle."""


def build(arch: ArchSpec, in_bands: int, classes: int) -> SegmentationNetwork:
    """The network of a spec, with fresh weights.

    Raises:
        ModelError: An architecture this version does not have.
        OptionError: Parameters that it cannot have.
    """
    if arch.name not in ARCHITECTURES:
        raise ModelError(
            f"architecture {arch.name!r} is not one of {', '.join(sorted(ARCHITECTURES))}:"
            " install a geounet that has it"
        )
    return ARCHITECTURES[arch.name](in_bands, classes, width=arch.width, depth=arch.depth)
