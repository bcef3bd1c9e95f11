"""The losses: cross-entropy, and Dice from segmentation-models-pytorch."""

from __future__ import annotations

from collections.abc import Sequence

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from geounet.train.recipe import Recipe
from geounet.train.source import IGNORE


class SegmentationLoss(nn.Module):
    """``(1 - dice) * cross-entropy + dice * Dice loss``; ignored pixels count in neither.

    Dice loss: Milletari, Navab & Ahmadi 2016, https://arxiv.org/abs/1606.04797, over the batch.
    """

    def __init__(self, recipe: Recipe, shares: Sequence[float]) -> None:
        super().__init__()
        self.recipe = recipe
        self.weight: Tensor
        self.register_buffer("weight", class_weights(shares, recipe.balance))
        classes = recipe.dice_classes
        self.dice = smp.losses.DiceLoss(
            "multiclass", classes=None if classes is None else list(classes), ignore_index=IGNORE
        )

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """A scalar.

        Args:
            logits: (batch, classes, height, width).
            label: (batch, height, width) class index or IGNORE.
        """
        loss = self.entropy(logits, label)
        if not self.recipe.dice:
            return loss
        both: Tensor = (1 - self.recipe.dice) * loss + self.recipe.dice * self.dice(logits, label)
        return both

    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        """The cross-entropy alone."""
        total = functional.cross_entropy(
            logits,
            label,
            self.weight,
            ignore_index=IGNORE,
            label_smoothing=self.recipe.label_smoothing,
            reduction="sum",
        )
        return total / _total(self.weight, label)


def class_weights(shares: Sequence[float], balance: float) -> Tensor:
    """``share ** -balance``, 1 on average over the pixels; a class without pixels gets 0."""
    share = torch.as_tensor(shares, dtype=torch.float32)
    weight = torch.where(share > 0, share.clamp(min=1e-9) ** -balance, 0.0)
    return weight / (weight * share).sum().clamp(min=1e-9)


def _total(weight: Tensor, label: Tensor) -> Tensor:
    counted = label[label != IGNORE]
    return weight[counted].sum().clamp(min=1.0)
