"""Encoder weights that others have trained: from a file, or by the name of a registry."""

from __future__ import annotations

import logging
import os.path
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geounet.errors import ModelError, OptionError
from geounet.nn.smp import EncoderDecoder, library

_FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
_WRAPPERS = ("state_dict", "model", "encoder")  # keys under which checkpoints keep their tensors
_COUNTER = "num_batches_tracked"  # of a batch norm, and of no use after training


def load_encoder(network: EncoderDecoder, weights: str | Path) -> None:
    """Put pretrained weights into the encoder of a network, in place.

    The band count is adapted, see :func:`adapt_stem`. Nothing is unpickled.

    Args:
        network: What gets them.
        weights: A file: safetensors, or one of ``torch.save`` that holds nothing but tensors. Or a
            name: of segmentation-models-pytorch (``imagenet``) or of torchgeo
            (``ResNet18_Weights.SENTINEL2_ALL_MOCO``), which needs a network.

    Raises:
        ModelError: There is no such file or name, it cannot be fetched, or it does not fit.
        DependencyError: A package that knows the name is not installed.
    """
    text = str(weights)
    if isinstance(weights, Path) or text.endswith(_FILES) or os.path.exists(text):  # noqa: PTH110
        found = read_tensors(text)
    elif "_Weights." in text:
        found = _from_torchgeo(text)
    else:
        found = _from_smp(network.encoder_name, text)
    _load(network, found, text)


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Name -> tensor of a safetensors or torch file; a pickle of anything else is refused.

    Raises:
        ModelError: The file cannot be read, or holds more than tensors.
    """
    import safetensors
    import safetensors.torch

    try:
        if str(path).endswith(".safetensors"):
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle that is refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than tensors, which could run code when read, and is refused: save"
            " its state_dict as safetensors"
        ) from error
    except (RuntimeError, ValueError, EOFError, KeyError, safetensors.SafetensorError) as error:
        raise ModelError(
            f"{path} holds no weights ({' '.join(str(error).split())[:120]}): get it again"
        ) from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a state_dict")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def adapt_stem(weight: Tensor, bands: int) -> Tensor:
    """The first convolution's weight (out, in, rows, columns) for another number of bands.

    Fewer bands share the mean of the old ones; more repeat them in turn. Law: a grey input (all
    bands equal) gives what it gave before.
    """
    before = weight.shape[1]
    if bands == before:
        return weight
    if bands < before:
        return weight.mean(1, keepdim=True).repeat(1, bands, 1, 1) * (before / bands)
    turn = torch.arange(bands) % before
    return weight[:, turn] / torch.bincount(turn)[turn].to(weight.dtype)[None, :, None, None]


def _load(network: EncoderDecoder, found: Mapping[str, Tensor], source: str) -> None:
    encoder = network.encoder
    wanted = {k: v for k, v in encoder.state_dict().items() if not k.endswith(_COUNTER)}
    given = _named_as(wanted, found)
    stem = next(name for name, module in encoder.named_modules() if module is network.stem)
    stem = f"{stem}.weight"
    if stem in given and given[stem].ndim == 4:
        given[stem] = adapt_stem(given[stem], wanted[stem].shape[1])
    missing = [name for name in wanted if name not in given]
    unlike = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    if missing or unlike:
        shapes = [f"{n} {tuple(given[n].shape)} for {tuple(wanted[n].shape)}" for n in unlike]
        raise ModelError(
            f"{source} does not fit the encoder {network.encoder_name}: {len(missing)} of"
            f" {len(wanted)} tensors are missing, {len(unlike)} have another shape (e.g."
            f" {(missing + shapes)[0]}): give weights of that encoder"
        )
    _copy(encoder, given)


@torch.no_grad()
def _copy(encoder: nn.Module, given: Mapping[str, Tensor]) -> None:
    for name, tensor in encoder.state_dict().items():
        if name in given:
            tensor.copy_(given[name])


def _named_as(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that are wanted, whatever was put in front of their names on either side."""
    own = "model." if all(name.startswith("model.") for name in wanted) else ""  # timm's
    bare = [name.removeprefix(own) for name in wanted]
    prefixes = {key[: -len(bare[0])] for key in found if key.endswith(bare[0])} or {""}
    best = max(sorted(prefixes), key=lambda p: sum(p + name in found for name in bare))
    return {own + name: found[best + name] for name in bare if best + name in found}


def _from_smp(encoder: str, name: str) -> dict[str, Tensor]:
    smp = library(f"the encoder weights {name!r}")
    timm = encoder.startswith("tu-")
    settings = smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", {})
    names = ["imagenet"] if timm else list(settings)
    if name not in names:
        raise ModelError(
            f"there are no encoder weights {name!r} for {encoder}: choose {', '.join(names)}, a"
            " name of torchgeo such as ResNet18_Weights.SENTINEL2_ALL_MOCO, or a file"
        )
    try:
        with _hub_hushed():
            fetched = smp.encoders.get_encoder(encoder, weights=True if timm else name)
    except Exception as error:  # each of the libraries below it has errors of its own
        raise ModelError(_unfetched(name, encoder, error)) from error
    state: dict[str, Tensor] = fetched.state_dict()
    return state


def _from_torchgeo(name: str) -> dict[str, Tensor]:
    try:
        from torchgeo.models import get_weight
    except ImportError as error:
        raise OptionError(
            f"the encoder weights {name!r} are torchgeo's, which cannot be imported: pip install"
            " torchgeo, or give a file"
        ) from error
    try:
        weight: Any = get_weight(name)
    except ValueError as error:
        raise ModelError(
            f"torchgeo has no weights {name!r}: it lists them at"
            " https://torchgeo.readthedocs.io/en/stable/api/models.html"
        ) from error
    try:
        state: dict[str, Tensor] = weight.get_state_dict(progress=False)
    except Exception as error:  # as above
        raise ModelError(_unfetched(name, "torchgeo", error)) from error
    return state


@contextmanager
def _hub_hushed() -> Iterator[None]:
    """Without two lines of the Hugging Face hub for each of its attempts; the error says why."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _unfetched(name: str, where: str, error: BaseException) -> str:
    while error.__cause__:  # what the libraries above it say is that there was an error
        error = error.__cause__
    line = " ".join(str(error).split())[:120] or type(error).__name__
    return (
        f"the encoder weights {name!r} ({where}) cannot be fetched ({line}): without a network,"
        " download them elsewhere and give the file"
    )
