"""How far a training is: a line an epoch, and a bar of its steps where a person watches."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from geounet_cli.bar import Bar

if TYPE_CHECKING:
    from geounet.train.run import EpochRecord, Progress


class EpochBar(Bar):
    """Takes the progress of a training."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._began = time.monotonic()
        self._first: int | None = None
        """The first epoch of this process; a resumed run does not begin with 0."""

    def __call__(self, at: Progress) -> None:
        """Show it."""
        if self._first is None:
            self._first, self._began = at.epoch, time.monotonic()
        if at.record is not None:
            self.close()
            self.say(epoch_line(at, self._left(at, at.record)))
        else:
            title = f"epoch {at.epoch + 1}/{at.epochs}"
            self.show(at.step, at.steps, "{n}/{total} steps", title)

    def _left(self, at: Progress, record: EpochRecord) -> float:
        done = record.epoch + 1 - (self._first or 0)
        # the first report comes when the first epoch has begun already
        spent = max(time.monotonic() - self._began, record.seconds + record.val_seconds)
        return spent / done * (at.epochs - record.epoch - 1)


def epoch_line(at: Progress, left: float) -> str:
    """What an epoch gave, in a line."""
    record = at.record
    if record is None:
        return ""
    parts = [f"epoch {record.epoch + 1}/{at.epochs}: loss {record.loss:.4f}"]
    if record.val_iou:
        ious = " ".join("-" if math.isnan(iou) else f"{iou:.3f}" for iou in record.val_iou)
        parts.append(f"validation loss {record.val_loss:.4f}, IoU {record.mean_iou:.3f} ({ious})")
    parts.append(f"{record.pixels / max(record.seconds, 1e-9) / 1e6:.2f} Mpx/s")
    if left > 0:
        parts.append(f"{_duration(left)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
