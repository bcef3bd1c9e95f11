"""Checkpoints: where they are, whose they are, and how a run ends early."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from geounet.errors import OptionError
from geounet.train.recipe import Recipe
from geounet.train.run import Run

_NAME = "last"
_KEY = "geounet"
_TERMINATED = 128 + signal.SIGTERM  # as a shell has it


def checkpoint_path(folder: Path) -> Path:
    """The checkpoint of the last complete epoch of a run in a folder."""
    return folder / f"{_NAME}{ModelCheckpoint.FILE_EXTENSION}"


def resumable(run: Run) -> Path | None:
    """The checkpoint to go on from; None: begin at the beginning."""
    if not run.resume or run.folder is None:
        return None
    path = checkpoint_path(run.folder)
    if path.exists():
        return path
    run.say(f"no checkpoint in {run.folder} yet: training begins at the beginning")
    return None


def each_epoch(folder: Path) -> ModelCheckpoint:
    """Writes :func:`checkpoint_path` after each epoch, in one move."""
    return ModelCheckpoint(
        dirpath=folder,
        filename=_NAME,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


class Identity(lightning.Callback):  # type: ignore[misc]
    """Marks checkpoints with what they are of, and refuses those of another run.

    Args:
        folder: Of the run, for the message.
        what: Plain values by name that must be the same.
    """

    def __init__(self, folder: Path | None, what: Mapping[str, str]) -> None:
        self._folder, self._what = folder, dict(what)

    def on_save_checkpoint(self, _trainer: Any, _module: Any, checkpoint: dict[str, Any]) -> None:
        """Mark it."""
        checkpoint[_KEY] = self._what

    def on_load_checkpoint(self, _trainer: Any, _module: Any, checkpoint: dict[str, Any]) -> None:
        """Refuse another run's.

        Raises:
            OptionError: Something differs.
        """
        before = checkpoint.get(_KEY, {})
        differ = [
            f"{key} was {_short(before.get(key))} and is {_short(value)}"
            for key, value in self._what.items()
            if before.get(key) != value
        ]
        if differ:
            raise OptionError(
                f"{self._folder} has the checkpoint of another run ({'; '.join(differ)}): give the"
                " same options, or another folder, or do not resume"
            )


def identity(
    recipe: Recipe, names: Sequence[str], validate: Sequence[str], seed: int
) -> dict[str, str]:
    """What two runs must have in common for one to go on with the other."""
    values = {**asdict(recipe), "seed": seed, "training chips": names, "validation chips": validate}
    return {key: repr(value) for key, value in values.items()}


@contextmanager
def told_of_the_end(run: Run) -> Iterator[None]:
    """SIGTERM ends with the exit code of that, Ctrl-C as Ctrl-C; both say how to go on.

    (Lightning takes both, turns Ctrl-C into an exit code and leaves it switched off.)
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        run.say(f"stopped: {_how_to_go_on(run)}")
        if isinstance(stop, SIGTERMException):
            raise SystemExit(_TERMINATED) from None
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


def _how_to_go_on(run: Run) -> str:
    if run.folder is None:
        return "nothing was kept, since there is no folder for checkpoints"
    if not checkpoint_path(run.folder).exists():
        return "no epoch was complete, so there is nothing to go on from"
    return f"resume goes on after the last complete epoch, which is kept in {run.folder}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
