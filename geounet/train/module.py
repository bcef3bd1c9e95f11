"""The Lightning module: one step, one optimiser."""

from __future__ import annotations

import math
import time
from typing import Any, cast

import lightning
import torch
from torch import Tensor
from torchmetrics.aggregation import MeanMetric
from torchmetrics.classification import MulticlassJaccardIndex

from geounet.nn import SegmentationNetwork
from geounet.train.augment import Augment
from geounet.train.loss import SegmentationLoss
from geounet.train.norms import freeze
from geounet.train.predict import predict_logits
from geounet.train.recipe import Recipe
from geounet.train.source import IGNORE, Chip
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
        self.pixels = 0
        """Of this epoch's patches so far."""
        self.began = 0.0
        """When this epoch did."""
        self.mean_loss = MeanMetric(nan_strategy="disable")  # NaN is found at the epoch's end
        self.val_loss = MeanMetric(nan_strategy="ignore")
        self.iou = MulticlassJaccardIndex(  # NaN: a class that is neither labelled nor predicted
            len(loss.weight),
            average="none",
            ignore_index=IGNORE,
            validate_args=False,
            zero_division=math.nan,
        )

    def on_train_epoch_start(self) -> None:
        """Training mode, but for the batch norms where the recipe freezes them."""
        self.pixels, self.began = 0, time.perf_counter()
        self.mean_loss.reset()
        self.train()
        if self.recipe.freeze_norms:
            freeze(self.network)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, index: int) -> Any:
        """Chips stay where they are: their tiles go to the device one by one."""
        if isinstance(batch, Chip):
            return batch
        return super().transfer_batch_to_device(batch, device, index)

    def on_after_batch_transfer(self, batch: Any, _index: int) -> Any:
        """Augment on the device."""
        if isinstance(batch, Chip):
            return batch
        return self.augment(batch["image"], batch["mask"])

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """The loss of one batch."""
        image, label = batch
        self.pixels += label.numel()
        loss: Tensor = self.loss(self._inner(self.network(image)), self._inner(label))
        self.mean_loss.update(loss.detach())
        return loss

    def _inner(self, values: Tensor) -> Tensor:
        margin, (height, width) = self.recipe.margin, values.shape[-2:]
        return values[..., margin : height - margin, margin : width - margin]

    def on_validation_epoch_start(self) -> None:
        """Count anew."""
        self.val_loss.reset()
        self.iou.reset()

    def validation_step(self, chip: Chip, _index: int) -> None:
        """Segment a whole chip as ``geounet segment`` would, and count."""
        network = cast("SegmentationNetwork", self.network)
        found = predict_logits(network, self.augment.normalize, chip)
        logits = torch.from_numpy(found).to(self.device)[None]
        scored = torch.from_numpy(chip.scored)
        label = torch.where(scored, torch.from_numpy(chip.label), IGNORE).to(self.device)[None]
        self.val_loss.update(self.loss(logits, label), weight=scored.sum().to(self.device))
        self.iou.update(logits.max(dim=1).indices, label)

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimiser and schedule of the recipe, over all steps."""
        recipe, optim = self.recipe, torch.optim
        kind = {"adam": optim.Adam, "adamw": optim.AdamW}[recipe.optimizer]
        optimizer = kind(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        schedule: optim.lr_scheduler.LRScheduler
        if recipe.schedule == "one-cycle":
            schedule = optim.lr_scheduler.OneCycleLR(
                optimizer, recipe.learning_rate, total_steps=recipe.total_steps, pct_start=0.15
            )
        else:
            schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.total_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
