"""A warm start: the network as a classifier of single pixels, before it learns what is around them.

Neighbouring pixels are alike, so a batch of patches says little about spectra; a batch of as many
single pixels from all over the training part says a lot. The path of a U-Net that sees one pixel
only (centre taps of the first and the last block, joined by the outermost skip) is therefore
trained first, which takes seconds; all other weights that feed into it start at zero, so that the
U-Net begins as that classifier and adds context to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from geounet.nn import UNet
from geounet.train.augment import Augment
from geounet.train.loss import SegmentationLoss
from geounet.train.recipe import Recipe
from geounet.train.source import Source
from geounet.train.whiten import Whitened

_PIXELS = 8192  # a step
_RATE = 1e-2


def warm_start(
    module: Whitened,
    augment: Augment,
    loss: SegmentationLoss,
    source: Source,
    names: Sequence[str],
    recipe: Recipe,
) -> None:
    """Train the one-pixel path of a network, in place, for ``recipe.warm_steps`` steps."""
    if not recipe.warm_steps:
        return
    pixels, labels = _pixels(source, names)
    path = _PixelPath(module.network)
    optimizer = torch.optim.AdamW(path.parameters(), _RATE, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=recipe.warm_steps)
    path.train()
    for _ in range(recipe.warm_steps):
        picked = torch.randint(len(pixels), (_PIXELS,))
        label = labels[picked][:, None, None]
        image = augment.colours(pixels[picked][:, :, None, None], label)
        logits = path(functional.conv2d(image, module.matrix[:, :, None, None]))
        optimizer.zero_grad()
        loss.entropy(logits, label).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    path.write_back()


class _PixelPath(nn.Module):
    """The one-pixel path of a U-Net, (n, bands, 1, 1) -> logits (n, classes, 1, 1)."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        width = network.head.in_channels
        blocks = (network.encoder[0], network.decoder[-1])
        self.full = [block.get_submodule(i) for block in blocks for i in ("0", "3")]
        norms = [block.get_submodule(i) for block in blocks for i in ("1", "4")]
        # the last block's first convolution sees the skip in its first channels
        taps = [conv.get_parameter("weight").detach() for conv in self.full]
        taps[2] = taps[2][:, :width]
        self.taps = nn.ParameterList([nn.Parameter(_rescaled(t)) for t in taps])
        self.norms = nn.ModuleList(norms)
        self.head = network.head

    def forward(self, x: Tensor) -> Tensor:
        for tap, norm in zip(self.taps, self.norms, strict=True):
            x = functional.relu(norm(functional.conv2d(x, tap)))
        out: Tensor = self.head(x)
        return out

    def write_back(self) -> None:
        """Put the taps into the middle of the 3x3 convolutions, and zero around them."""
        with torch.no_grad():
            for conv, tap in zip(self.full, self.taps, strict=True):
                weight = conv.get_parameter("weight")
                weight.zero_()
                weight[:, : tap.shape[1], 1:2, 1:2] = tap


def _rescaled(weight: Tensor) -> Tensor:
    """Centre taps, as large as an initial 1x1 convolution's."""
    return 3 * weight[:, :, 1:2, 1:2].clone()


def _pixels(source: Source, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """All labelled valid pixels (n, bands) in the model's unit, and their labels (n,)."""
    pixels, labels = [], []
    for chip in source.chips(names):
        pixels.append(torch.from_numpy(chip.image[:, chip.scored].T.copy()))
        labels.append(torch.from_numpy(chip.label[chip.scored]))
    return torch.cat(pixels), torch.cat(labels)
