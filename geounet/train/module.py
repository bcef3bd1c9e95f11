"""The Lightning module: one step, one optimiser."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor
from torchmetrics.aggregation import MeanMetric
from torchmetrics.classification import MulticlassJaccardIndex

from geounet.train.augment import Augment
from geounet.train.loss import SegmentationLoss
from geounet.train.norms import freeze
from geounet.train.recipe import Recipe
from geounet.train.source import IGNORE
from geounet.train.whiten import Whitened


class SegmentationModule(lightning.LightningModule):  # type: ignore[misc]
    """Trains a network on augmented batches; :attr:`network` holds the result."""

    def __init__(
        self, recipe: Recipe, network: Whitened, augment: Augment, loss: SegmentationLoss
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = network
        self.augment = augment
        self.loss = loss
        classes = len(loss.weight)
        self.mean_loss = MeanMetric()
        self.iou = MulticlassJaccardIndex(  # checks cost a tenth of a step
            classes, average="macro", ignore_index=IGNORE, validate_args=False
        )

    def on_train_epoch_start(self) -> None:
        """Training mode, but for the batch norms where the recipe freezes them."""
        self.train()
        if self.recipe.freeze_norms:
            freeze(self.network)

    def on_after_batch_transfer(self, batch: dict[str, Any], _index: int) -> tuple[Tensor, Tensor]:
        """Augment on the device."""
        out: tuple[Tensor, Tensor] = self.augment(batch["image"], batch["mask"])
        return out

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """The loss of one batch."""
        image, label = batch
        logits, label = self._inner(self.network(image)), self._inner(label)
        loss: Tensor = self.loss(logits, label)
        self.mean_loss.update(loss.detach())
        self.iou.update(logits.detach().argmax(1), label)
        return loss

    def _inner(self, values: Tensor) -> Tensor:
        margin, (height, width) = self.recipe.margin, values.shape[-2:]
        return values[..., margin : height - margin, margin : width - margin]

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss and mIoU over the augmented patches."""
        self.log_dict({"loss": self.mean_loss.compute(), "iou": self.iou.compute()})
        self.mean_loss.reset()
        self.iou.reset()

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with a one-cycle schedule over all steps."""
        recipe = self.recipe
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.15
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
