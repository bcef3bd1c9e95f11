"""The losses, of torch and of segmentation-models-pytorch, and sums of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from geounet.train.recipe import Recipe
from geounet.train.source import IGNORE
from geounet.train.terms import parse_loss

_MODE = "multiclass"
_MISSED = 0.7  # Tversky's beta in Salehi et al., whose alpha is the rest: recall before precision


class SegmentationLoss(nn.Module):
    """The sum that :attr:`Recipe.loss` asks for; ignored pixels count in no term.

    ``ce`` cross-entropy; ``dice`` Milletari, Navab & Ahmadi 2016, https://arxiv.org/abs/1606.04797,
    over the batch; ``jaccard`` Rahman & Wang 2016, https://doi.org/10.1007/978-3-319-50835-1_22;
    ``focal`` Lin et al. 2017, https://arxiv.org/abs/1708.02002; ``tversky`` Salehi, Erdogmus &
    Gholipour 2017, https://arxiv.org/abs/1706.05721, with 0.3 for false and 0.7 for missed pixels;
    ``lovasz`` Berman, Triki & Blaschko 2018, https://arxiv.org/abs/1705.08790.
    """

    def __init__(self, recipe: Recipe, shares: Sequence[float]) -> None:
        super().__init__()
        self.recipe = recipe
        self.weight: Tensor
        self.register_buffer("weight", class_weights(shares, recipe.balance))
        self.terms = parse_loss(recipe.loss)
        balance = self.weight.tolist() if recipe.balance else None
        self.others = nn.ModuleDict(
            {name: _other(name, recipe, balance) for _, name in self.terms if name != "ce"}
        )

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """A scalar in float32.

        Args:
            logits: (batch, classes, height, width), in any precision.
            label: (batch, height, width) class index or IGNORE.
        """
        logits = logits.float()
        factor, name = self.terms[0]
        total = factor * self._term(name, logits, label)
        for factor, name in self.terms[1:]:
            total = total + factor * self._term(name, logits, label)
        return total

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

    def _term(self, name: str, logits: Tensor, label: Tensor) -> Tensor:
        if name == "ce":
            return self.entropy(logits, label)
        if name in ("focal", "lovasz") and not (label != IGNORE).any():
            return 0.0 * logits.sum()  # theirs would be the mean of nothing
        out: Tensor = self.others[name](logits, label)
        return out


def class_weights(shares: Sequence[float], balance: float) -> Tensor:
    """``share ** -balance``, 1 on average over the pixels; a class without pixels gets 0."""
    share = torch.as_tensor(shares, dtype=torch.float32)
    weight = torch.where(share > 0, share.clamp(min=1e-9) ** -balance, 0.0)
    return weight / (weight * share).sum().clamp(min=1e-9)


def _other(name: str, recipe: Recipe, balance: list[float] | None) -> nn.Module:
    classes = None if recipe.loss_classes is None else list(recipe.loss_classes)
    losses = smp.losses
    made: dict[str, Callable[[], nn.Module]] = {
        "dice": lambda: losses.DiceLoss(_MODE, classes=classes, ignore_index=IGNORE),
        "jaccard": lambda: losses.JaccardLoss(_MODE, classes=classes, ignore_index=IGNORE),
        "tversky": lambda: losses.TverskyLoss(
            _MODE, classes=classes, ignore_index=IGNORE, alpha=1 - _MISSED, beta=_MISSED
        ),
        "focal": lambda: losses.FocalLoss(
            _MODE, ignore_index=IGNORE, **({} if balance is None else {"class_weights": balance})
        ),
        "lovasz": lambda: losses.LovaszLoss(_MODE, ignore_index=IGNORE),
    }
    return made[name]()


def _total(weight: Tensor, label: Tensor) -> Tensor:
    counted = label[label != IGNORE]
    return weight[counted].sum().clamp(min=1.0)
