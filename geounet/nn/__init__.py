"""Networks, one architecture a file, rebuilt from a spec by name."""

from __future__ import annotations

from pathlib import Path

from geounet.errors import ModelError, OptionError
from geounet.nn.fcn import FCN
from geounet.nn.network import ExactNetwork, SegmentationNetwork
from geounet.nn.segnet import SegNet
from geounet.nn.unet import UNet
from geounet.spec import ArchSpec

__all__ = [
    "ARCHITECTURES",
    "FCN",
    "ExactNetwork",
    "SegNet",
    "SegmentationNetwork",
    "UNet",
    "build",
]


ARCHITECTURES: dict[str, type[ExactNetwork]] = {"fcn": FCN, "segnet": SegNet, "unet": UNet}
"""Name in a spec -> class; beside these there are decoder-encoder names, see
:mod:`geounet.nn.smp`, and nothing else can be built from a bundle."""


def build(
    arch: ArchSpec, in_bands: int, classes: int, *, encoder_weights: str | Path | None = None
) -> SegmentationNetwork:
    """The network of a spec, with fresh weights.

    Args:
        arch: Which one.
        in_bands: Bands of the input.
        classes: Channels of the output.
        encoder_weights: A file or a name of weights for the encoder of a decoder-encoder network,
            see :func:`geounet.nn.pretrained.load_encoder`.

    Raises:
        ModelError: An architecture this version does not have, or weights that do not fit.
        OptionError: Parameters that it cannot have.
        DependencyError: A package that it needs is not installed.
    """
    if arch.has_encoder:
        return _encoder_decoder(arch.name, in_bands, classes, encoder_weights)
    if arch.name not in ARCHITECTURES:
        raise ModelError(
            f"architecture {arch.name!r} is not one of {', '.join(sorted(ARCHITECTURES))}, nor a"
            " decoder-encoder such as unet-resnet34: install a geounet that has it"
        )
    if encoder_weights is not None:
        raise OptionError(
            f"encoder weights {str(encoder_weights)!r}: {arch.name} has no encoder that others"
            " train: choose one such as unet-resnet34"
        )
    width, depth = arch.width or 0, arch.depth or 0  # ArchSpec has seen to it that they are given
    return ARCHITECTURES[arch.name](in_bands, classes, width=width, depth=depth)


def _encoder_decoder(
    name: str, in_bands: int, classes: int, weights: str | Path | None
) -> SegmentationNetwork:
    from geounet.nn.pretrained import load_encoder
    from geounet.nn.smp import EncoderDecoder

    network = EncoderDecoder(name, in_bands, classes)
    if weights is not None:
        load_encoder(network, weights)
    return network
