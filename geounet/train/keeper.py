"""What is kept of each epoch: the record of all, and the weights of the best."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from geounet.errors import OptionError
from geounet.train.module import SegmentationModule
from geounet.train.run import EpochRecord, Progress, Run

MONITOR = "val_iou"
"""Mean IoU of the validation part: the best epoch has the largest."""

_PAUSE = 0.5  # seconds between two reports of progress


class Keeper(lightning.Callback):  # type: ignore[misc]
    """Keeps records, logs and the best weights; goes into checkpoints, so a run resumes whole.

    Stands before the callback of the moving average, so that what it keeps is what was validated.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.history: list[EpochRecord] = []
        self.best: int | None = None
        """Epoch with the best mean IoU so far."""
        self.weights: dict[str, Tensor] = {}
        """The network's in that epoch, on the CPU."""
        self._iou: tuple[float, ...] = ()
        self._best_iou = -math.inf
        self._stepped = self._validated = self._told = 0.0

    def on_train_start(self, trainer: Any, _module: Any) -> None:
        """The log of a resumed run begins with what came before."""
        for record in self.history:
            _log(trainer, record)

    def on_train_epoch_start(self, _trainer: Any, _module: Any) -> None:
        """Forget the last epoch's validation."""
        self._iou, self._stepped, self._validated = (), 0.0, 0.0

    def on_train_batch_end(
        self, trainer: Any, module: SegmentationModule, _out: Any, _batch: Any, index: int
    ) -> None:
        """Tell where the run is."""
        if (now := time.perf_counter()) - self._told >= _PAUSE:
            self._told = now
            self.run.progress(_progress(trainer, module, index + 1))

    def on_validation_epoch_start(self, _trainer: Any, _module: Any) -> None:
        """The steps end here."""
        self._stepped = time.perf_counter()

    def on_validation_epoch_end(self, trainer: Any, module: SegmentationModule) -> None:
        """Keep the weights as they were validated, where they are the best."""
        self._iou = tuple(float(x) for x in module.iou.compute())
        self._validated = time.perf_counter()
        known = torch.tensor([x for x in self._iou if not math.isnan(x)])
        mean = known.mean()  # NaN: nothing was labelled
        module.log(MONITOR, mean, logger=False)
        if float(mean) > self._best_iou:
            self._best_iou, self.best = float(mean), trainer.current_epoch
            state = module.network.state_dict()
            self.weights = {key: value.detach().cpu().clone() for key, value in state.items()}

    def on_train_epoch_end(self, trainer: Any, module: SegmentationModule) -> None:
        """Record, log and tell.

        Raises:
            OptionError: The loss is no number any more.
        """
        loss = float(module.mean_loss.compute())
        if not math.isfinite(loss):
            raise OptionError(
                f"epoch {trainer.current_epoch}: the loss is {loss}: lower the learning rate"
                f" ({module.recipe.learning_rate:g}), or train in fp32"
            )
        end = self._stepped or time.perf_counter()
        record = EpochRecord(
            epoch=trainer.current_epoch,
            loss=loss,
            val_loss=float(module.val_loss.compute()) if self._iou else None,
            val_iou=self._iou,
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
            seconds=end - module.began,
            val_seconds=self._validated - end if self._iou else 0.0,
            pixels=module.pixels * trainer.world_size,
        )
        self.history.append(record)
        _log(trainer, record)
        self.run.progress(_progress(trainer, module, trainer.num_training_batches, record))

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint; tensors and plain values only."""
        return {
            "history": [asdict(record) for record in self.history],
            "best": self.best,
            "best_iou": self._best_iou,
            "weights": self.weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.history = [
            EpochRecord(**{**record, "val_iou": tuple(record["val_iou"])})
            for record in state["history"]
        ]
        self.best, self._best_iou = state["best"], state["best_iou"]
        self.weights = state["weights"]


class Patience(EarlyStopping):  # type: ignore[misc]
    """Stops after some epochs without a better mean IoU, and stays stopped when resumed."""

    def __init__(self, epochs: int) -> None:
        super().__init__(
            MONITOR,
            patience=epochs,
            mode="max",
            check_finite=False,
            strict=False,
            check_on_train_epoch_end=False,
        )

    def on_train_start(self, trainer: Any, _module: Any) -> None:
        """Lightning's own would train one epoch more."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def _progress(
    trainer: Any, module: SegmentationModule, step: int, record: EpochRecord | None = None
) -> Progress:
    return Progress(
        epoch=trainer.current_epoch,
        epochs=module.recipe.epochs,
        step=step,
        steps=trainer.num_training_batches,
        pixels=module.pixels * trainer.world_size,
        record=record,
    )


def _log(trainer: Any, record: EpochRecord) -> None:
    """One row an epoch."""
    row: dict[str, float] = {
        "loss": record.loss,
        "learning_rate": record.learning_rate,
        "seconds": record.seconds,
        "pixels_per_second": record.pixels / max(record.seconds, 1e-9),
        "val_loss": math.nan if record.val_loss is None else record.val_loss,
        MONITOR: record.mean_iou,
        **{f"{MONITOR}_{i}": iou for i, iou in enumerate(record.val_iou)},
    }
    for logger in trainer.loggers:
        logger.log_metrics(row, step=record.epoch)
        logger.save()
