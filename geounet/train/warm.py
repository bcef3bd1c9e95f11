"""A warm start: the network's own level first, on single pixels, then on small patches.

Neighbouring pixels are alike, so a batch of large patches says little about what the classes look
like; a batch of as many small ones from all over the training part says a lot. The part of a U-Net
that works at full resolution (the first and the last block, joined by the outermost skip) is
therefore trained alone, which takes seconds: its centre taps on single pixels, then its whole 3x3
kernels on patches just as large as they see, 9 x 9. The weights that bring in the levels below
start at zero, so that the U-Net begins as that classifier and adds wider context to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from geounet.errors import OptionError
from geounet.nn import UNet
from geounet.train.augment import Augment
from geounet.train.loss import SegmentationLoss
from geounet.train.norms import freeze
from geounet.train.recipe import Recipe
from geounet.train.source import Chip, Source
from geounet.train.whiten import Whitened

_REACH = 4  # pixels on each side, of four 3x3 convolutions
_PIXELS = 8192  # a step
_PIXEL_RATE = 1e-2
_PATCHES = 1024  # a step
_PATCH_RATE = 2e-3


def warm_start(
    module: Whitened,
    augment: Augment,
    loss: SegmentationLoss,
    source: Source,
    names: Sequence[str],
    recipe: Recipe,
) -> None:
    """Train the full-resolution level of a network, in place.

    Takes ``recipe.pixel_steps`` steps of 8192 pixels, then ``recipe.patch_steps`` of 1024 patches.
    All labelled pixels of the chips are held in memory.
    """
    if not recipe.pixel_steps:
        return
    pool = PatchPool(source.chips(names), _REACH)
    level = _FullResolution(module)
    trainer = _Trainer(level, augment, loss, pool, recipe.weight_decay)
    trainer.run(recipe.pixel_steps, _PIXELS, _PIXEL_RATE, reach=0)
    level.widen()
    freeze(level)
    trainer.run(recipe.patch_steps, _PATCHES, _PATCH_RATE, reach=_REACH)
    level.write_back()


class PatchPool:
    """Every labelled pixel of some chips with its surroundings, mirrored at the chips' edges."""

    def __init__(self, chips: Iterable[Chip], reach: int) -> None:
        images, labels, centres, strides = [], [], [], []
        start = 0
        for chip in chips:
            image, label = _mirrored(chip.image, reach), _mirrored(chip.label, reach)
            rows, cols = np.nonzero(chip.scored)
            stride = image.shape[2]
            centres.append(start + (rows + reach) * stride + cols + reach)
            strides.append(np.full(len(rows), stride))
            images.append(image.reshape(len(image), -1).T)
            labels.append(label.ravel())
            start += len(labels[-1])
        self._pixels = torch.from_numpy(np.concatenate(images))
        self._labels = torch.from_numpy(np.concatenate(labels))
        self._centres = torch.from_numpy(np.concatenate(centres))
        self._strides = torch.from_numpy(np.concatenate(strides))

    def __len__(self) -> int:
        return len(self._centres)

    def draw(self, count: int, reach: int) -> tuple[Tensor, Tensor]:
        """Patches drawn at random, as torch's generator says, whose centre is labelled.

        Returns:
            (count, bands, size, size) in the model's unit and (count, size, size) class index or
            IGNORE, with size ``2 * reach + 1``.
        """
        picked = torch.randint(len(self), (count,))
        side = torch.arange(-reach, reach + 1)
        rows = side[:, None] * self._strides[picked, None, None]
        index = self._centres[picked, None, None] + rows + side
        return self._pixels[index].permute(0, 3, 1, 2), self._labels[index]


class _FullResolution(nn.Module):
    """The first and the last block of a U-Net and its head, without what lies between.

    (n, bands, size, size) normalised -> logits (n, classes, 1, 1), where size is 1, or 9 after
    :meth:`widen`.
    """

    def __init__(self, module: Whitened) -> None:
        super().__init__()
        network = module.network
        if not isinstance(network, UNet):
            raise OptionError("pixel_steps: the warm start is for U-Nets only: set it to 0")
        blocks = (network.encoder[0], network.decoder[-1])
        self.full = [block.get_submodule(i) for block in blocks for i in ("0", "3")]
        kernels = [conv.get_parameter("weight").detach() for conv in self.full]
        # the last block's first convolution sees the skip in its first channels
        kernels[2] = kernels[2][:, : network.head.in_channels]
        # as large as an initial 1x1 convolution's
        self.kernels = nn.ParameterList(nn.Parameter(3 * k[:, :, 1:2, 1:2]) for k in kernels)
        self.norms = nn.ModuleList(block.get_submodule(i) for block in blocks for i in ("1", "4"))
        self.head = network.head
        self.matrix: Tensor
        bands = network.stem.in_channels
        matrix = torch.eye(bands) if module.matrix is None else module.matrix
        self.register_buffer("matrix", matrix[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.matrix)
        for kernel, norm in zip(self.kernels, self.norms, strict=True):
            x = functional.relu(norm(functional.conv2d(x, kernel)))
        out: Tensor = self.head(x)
        return out

    def widen(self) -> None:
        """1x1 kernels become the middles of 3x3 ones, zero around them."""
        for kernel in self.kernels:
            kernel.data = functional.pad(kernel.data, (1, 1, 1, 1))

    def write_back(self) -> None:
        """Put the kernels into the network; the channels from the level below get zero."""
        with torch.no_grad():
            for conv, kernel in zip(self.full, self.kernels, strict=True):
                weight = conv.get_parameter("weight")
                weight.zero_()
                weight[:, : kernel.shape[1]] = kernel


class _Trainer:
    def __init__(
        self,
        level: _FullResolution,
        augment: Augment,
        loss: SegmentationLoss,
        pool: PatchPool,
        weight_decay: float,
    ) -> None:
        self.level, self.augment, self.loss = level, augment, loss
        self.pool, self.weight_decay = pool, weight_decay
        level.train()

    def run(self, steps: int, count: int, rate: float, *, reach: int) -> None:
        if not steps:
            return
        weights = self.level.parameters()
        optimizer = torch.optim.AdamW(weights, rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        for _ in range(steps):
            image, label = _turned(*self.pool.draw(count, reach))
            logits = self.level(self.augment.colours(image, label))
            optimizer.zero_grad()
            centre = label[:, reach : reach + 1, reach : reach + 1]
            self.loss.entropy(logits, centre).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def _turned(image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """One of the eight symmetries of the square, at random, for the whole batch."""
    turns, flip = int(torch.randint(4, ())), bool(torch.randint(2, ()))
    image, label = (x.rot90(turns, (-2, -1)) for x in (image, label))
    return (image.flip(-1), label.flip(-1)) if flip else (image, label)


def _mirrored(values: NDArray[np.generic], reach: int) -> NDArray[np.generic]:
    sides = [(0, 0)] * (values.ndim - 2) + [(reach, reach)] * 2
    return np.pad(values, sides, mode="reflect")
