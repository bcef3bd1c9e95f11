"""The architectures of segmentation-models-pytorch, as decoder-encoder: ``unet-resnet34``."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from geounet.errors import DependencyError, ModelError
from geounet.nn.network import SegmentationNetwork
from geounet.spec import Seam
from geounet.tiling import round_up

DECODERS: Mapping[str, str] = {
    "deeplabv3": "DeepLabV3",
    "deeplabv3plus": "DeepLabV3Plus",
    "fpn": "FPN",
    "linknet": "Linknet",
    "manet": "MAnet",
    "pan": "PAN",
    "pspnet": "PSPNet",
    "segformer": "Segformer",
    "unet": "Unet",
    "unetplusplus": "UnetPlusPlus",
    "upernet": "UPerNet",
}
"""Name in a spec -> class in segmentation-models-pytorch; no other can be built from a bundle."""

HALO = 64
"""Pixels on each side of a core, at least: tiles share twice as many. Their ramp is long beside
what a seam is wide, and they keep two thirds of a tile of 512."""


class EncoderDecoder(SegmentationNetwork):
    """An encoder for images and a decoder for maps, by name.

    Iakubovskii 2019, segmentation-models-pytorch
    (https://github.com/qubvel-org/segmentation_models.pytorch), with its defaults. Deep residual
    encoders look hundreds of pixels far, attention and pooled context at the whole tile, and some
    decoders upsample by the size of what they get; so tiles are blended. Weights are fresh: nothing
    is fetched.

    Args:
        name: Decoder and encoder, joined by a hyphen; encoders of timm begin with ``tu-``.
        in_bands: Bands of the input.
        classes: Channels of the output.

    Raises:
        DependencyError: segmentation-models-pytorch is not installed.
        ModelError: A decoder or an encoder that there is not, or that do not go together.
    """

    seam: Seam = "blend"

    def __init__(self, name: str, in_bands: int, classes: int) -> None:
        super().__init__()
        self.encoder_name = name.partition("-")[2]
        model = _model(name, in_bands, classes)
        self.encoder: nn.Module = model.encoder
        self.decoder: nn.Module = model.decoder
        self.head: nn.Conv2d = model.segmentation_head[0]
        self.finish: nn.Module = model.segmentation_head[1]
        """Upsampling to full resolution, where the decoder stops before."""
        self._stride = int(model.encoder.output_stride)
        self._check_stem(in_bands)

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`SegmentationNetwork.forward`."""
        features = self.encoder(x)
        # encoders hand on the input and empty placeholders in the input's type, and joining these
        # with what half precision made would give float32
        features = [feature.to(features[-1].dtype) for feature in features]
        out: Tensor = self.finish(self.head(self.decoder(features)))
        return out

    @torch.no_grad()
    def _check_stem(self, in_bands: int) -> None:
        """Refuse an encoder whose input goes to several layers, as those with branches do.

        Whitening is folded into the stem alone, and half precision begins after it.
        """
        x = torch.zeros(1, in_bands, 64, 64, device="cpu")
        seeing: list[nn.Module] = []

        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs and inputs[0] is x:
                seeing.append(module)

        layers = [m for m in self.encoder.modules() if list(m.parameters(recurse=False))]
        hooks = [layer.register_forward_pre_hook(note) for layer in layers]
        try:
            self.encoder.eval()(x)
        except (AssertionError, RuntimeError) as error:
            raise ModelError(
                f"the encoder {self.encoder_name!r} does not take tiles of any size"
                f" ({_line(error)}): choose another encoder, such as resnet18"
            ) from error
        self.encoder.train()
        for hook in hooks:
            hook.remove()
        if any(layer is not self.stem for layer in seeing):
            raise ModelError(
                f"several layers of the encoder {self.encoder_name!r} see the input, which geounet"
                " cannot do: choose another encoder, such as resnet18"
            )

    @property
    def stride(self) -> int:
        """Total stride of the encoder."""
        return self._stride

    @property
    def halo(self) -> int:
        """:data:`HALO`, rounded up to the stride."""
        return round_up(HALO, self.stride)


def library(what: str) -> Any:
    """segmentation-models-pytorch, imported.

    Raises:
        DependencyError: It is not installed; ``what`` needs it.
    """
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise DependencyError(
            f"{what} needs segmentation-models-pytorch, which cannot be imported ({_line(error)}):"
            ' pip install "segmentation-models-pytorch>=0.5"'
        ) from error
    return smp


def _model(name: str, in_bands: int, classes: int) -> Any:
    decoder, _, encoder = name.partition("-")
    if decoder not in DECODERS:
        raise ModelError(
            f"architecture {name!r}: there is no decoder {decoder!r}; choose"
            f" {', '.join(DECODERS)}, a hyphen and an encoder"
        )
    smp = library(f"architecture {name}")
    known = list(smp.encoders.encoders)
    if not encoder.startswith("tu-") and encoder not in known:
        near = difflib.get_close_matches(encoder, known, 3) or ["resnet18", "resnet34", "mit_b0"]
        raise ModelError(
            f"architecture {name!r}: there is no encoder {encoder!r}; choose one of"
            f" segmentation-models-pytorch (such as {', '.join(near)}) or tu- and one of timm"
        )
    try:
        # on the CPU even where the caller asks for "meta": encoders compute while they are built
        with warnings.catch_warnings(), torch.device("cpu"):
            warnings.simplefilter("ignore", DeprecationWarning)  # advice on the names of encoders
            return getattr(smp, DECODERS[decoder])(
                encoder_name=encoder, encoder_weights=None, in_channels=in_bands, classes=classes
            )
    except (ValueError, KeyError, RuntimeError, NotImplementedError, TypeError) as error:
        raise ModelError(
            f"architecture {name!r} cannot be built ({_line(error)}): choose another encoder"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
