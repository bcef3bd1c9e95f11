"""The moving average of the weights, from half-way on."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn


class LateAverage(WeightAveraging):  # type: ignore[misc]
    """Averages over the second half; until then there is no average, and none is validated.

    Averaging from the start would keep a share of the random weights. (Lightning's own validates,
    and at the end keeps, the weights as they were before the first step until its first update.)

    Args:
        decay: Of the average, a step.
        total_steps: Of the run.
    """

    def __init__(self, decay: float, total_steps: int) -> None:
        # Lightning's EMAWeightAveraging goes through the tensors one by one
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
        self._first = total_steps // 2

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """After each step of the second half."""
        del epoch_idx
        return step_idx is not None and step_idx >= self._first

    @property
    def begun(self) -> bool:
        """Whether there is an average."""
        return bool(self._latest_update_step)

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """The average takes the place of the weights."""
        if self.begun:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """The weights come back."""
        if self.begun:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Nothing: see :meth:`finish`, which is also for a run that was resumed at its end."""

    def finish(self, module: Any) -> None:
        """Put the average into the module for good."""
        if self.begun:
            self._copy_average_to_current(module)
