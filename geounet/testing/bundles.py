"""Bundles with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from geounet.bands import BandSpec
from geounet.bundle import save_bundle
from geounet.classes import ClassDef, ClassScheme
from geounet.spec import ArchSpec, ModelCard, ModelSpec, Unit

if TYPE_CHECKING:
    from geounet.nn import SegmentationNetwork

_COLORS = ("#c8b48c", "#2166ac", "#1a9850", "#d73027", "#fee08b", "#762a83")


def random_spec(
    bands: tuple[str, ...] = ("grey",),
    *,
    classes: int = 2,
    width: int = 4,
    depth: int = 2,
    unit: Unit = "any",
    arch: str = "unet",
) -> ModelSpec:
    """A spec whose normalisation leaves values of about -3..3 as they are.

    ``width`` and ``depth`` mean nothing for a decoder-encoder ``arch`` such as ``unet-resnet18``.
    """
    network = ArchSpec(name=arch) if "-" in arch else ArchSpec(name=arch, width=width, depth=depth)
    return ModelSpec(
        name="random",
        version="0",
        arch=network,
        seam=network.seam,
        bands=tuple(BandSpec(name=name, mean=0.0, std=1.0) for name in bands),
        unit=unit,
        clip=(-1e6, 1e6),
        plausible=(-1e12, 1e12),
        classes=ClassScheme(
            classes=tuple(
                ClassDef(code=i, name=f"class {i}", color=_COLORS[i % len(_COLORS)])
                for i in range(classes)
            )
        ),
        pixel_size=(1.0, 100.0),
        card=ModelCard(summary="random weights", data="none", terms="none", limits="everything"),
    )


def random_network(spec: ModelSpec, seed: int = 0) -> SegmentationNetwork:
    """A network of the spec whose batch norms and classes are lively, not near constant."""
    import torch

    from geounet.nn import build

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # for what is neither convolution nor batch norm
        torch.manual_seed(seed)
        network = build(spec.arch, len(spec.bands), len(spec.classes)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            fan = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.uniform_(-0.1, 0.1, generator=generator)
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None  # noqa: S101  for the type checker
            assert module.running_var is not None  # noqa: S101
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


def random_bundle(path: Path, spec: ModelSpec | None = None, seed: int = 0) -> Path:
    """Write a bundle with random weights; the same seed gives the same bytes."""
    spec = random_spec() if spec is None else spec
    return save_bundle(path, spec, random_network(spec, seed).state_dict())
