"""Where and how a recipe is carried out, and what is told of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geounet.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """What one epoch gave. Without validation the values of that are None or empty."""

    epoch: int
    """From 0."""
    loss: float
    """Mean over the steps, of augmented patches."""
    val_loss: float | None = None
    """Mean over the labelled pixels of the validation part."""
    val_iou: tuple[float, ...] = ()
    """Of each class over all pixels of the validation part; NaN: neither labelled nor predicted."""
    learning_rate: float
    """After the last step."""
    seconds: float
    """Wall time of the steps, with reading and augmentation."""
    val_seconds: float = 0.0
    """Wall time of the validation."""
    pixels: int
    """Pixels of all patches of the epoch."""

    @property
    def val_f1(self) -> tuple[float, ...]:
        """F1 (Dice) of each class."""
        return tuple(2 * iou / (1 + iou) for iou in self.val_iou)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that are there; NaN: none."""
        known = [iou for iou in self.val_iou if not math.isnan(iou)]
        return sum(known) / len(known) if known else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run is; sent about twice a second, and at the end of each epoch."""

    epoch: int
    """From 0."""
    epochs: int
    """At most, where the run may stop early."""
    step: int
    """Minibatches done in this epoch."""
    steps: int
    """Minibatches in an epoch."""
    pixels: int
    """Pixels of all patches of this epoch so far."""
    record: EpochRecord | None = None
    """At the end of an epoch."""


def silent(_: object) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where and how; what is learnt is in the recipe."""

    folder: Path | None = None
    """Gets checkpoints and logs (CSV; TensorBoard where it is installed); None: nothing is kept."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    devices: int = 1
    """GPUs, or processes on a CPU. Each takes its share of a batch; Lightning starts the command
    again for each, and only the first goes on after training."""
    precision: str = "fp32"
    """``fp32``; ``bf16`` or ``fp16``: float32 weights, half precision where it does no harm;
    ``auto``: half precision where the hardware has it."""
    resume: bool = False
    """Go on from the last epoch whose checkpoint is in the folder."""
    limit_memory: int | None = None
    """Bytes that a step may take, see :mod:`geounet.train.memory`; None: as many as it takes."""
    patience: int | None = None
    """Stop after so many epochs without a better mean IoU of the validation part; None: never."""
    progress: Callable[[Progress], None] = silent
    """Is told where the run is, in the thread of the run."""
    say: Callable[[str], None] = silent
    """Is told, in a line, what a person should know."""

    def __post_init__(self) -> None:
        if self.resume and self.folder is None:
            raise OptionError("resume: say which folder has the checkpoint of the run")
        if self.devices < 1:
            raise OptionError(f"devices {self.devices} must be at least 1")
        if self.patience is not None and self.patience < 1:
            raise OptionError(f"patience {self.patience} must be at least 1 epoch")
        if self.limit_memory is not None and self.limit_memory < 1:
            raise OptionError(f"memory limit {self.limit_memory} must be above 0 bytes")
