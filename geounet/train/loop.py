"""Lightning's loop around a module, with less memory where there is too little."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from geounet.engine.device import resolve_device, resolve_precision
from geounet.engine.memory import out_of_memory
from geounet.errors import OptionError
from geounet.train.average import LateAverage
from geounet.train.batches import Batches
from geounet.train.checkpoint import (
    Identity,
    checkpoint_path,
    each_epoch,
    identity,
    told_of_the_end,
)
from geounet.train.keeper import Keeper, Patience
from geounet.train.memory import Plan, fitting, ladder
from geounet.train.module import SegmentationModule
from geounet.train.recompute import recomputed
from geounet.train.run import Run

_LIGHTNINGS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_ACCELERATORS = {"cuda": "gpu"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that a run of the loop needs; the module holds the weights before and after."""

    module: SegmentationModule
    """What is trained, in place."""
    batches: Batches
    """What it is trained on."""
    run: Run
    """Where and how."""


def train(job: Job, checkpoint: Path | None) -> tuple[Keeper, tuple[str, ...]]:
    """Train; the module holds the best weights, or the last where nothing was validated.

    Args:
        job: What, on what and how.
        checkpoint: Where to go on from; None: the module as it is.

    Returns:
        The records, and a line for each thing that was done to need less memory.

    Raises:
        OptionError: The checkpoint is of another run, or no plan fits the memory limit.
        DeviceError: A device or a precision that is not here.
        SystemExit: SIGTERM; checkpoints are complete.
    """
    run, recipe = job.run, job.module.recipe
    device = resolve_device(run.device)
    share = _share(recipe.batch, run.devices)
    # weights stay in float32, so half precision does no harm where the hardware has it
    first = Plan(precision=resolve_precision(run.precision, device, agreement=1.0))
    plans = ladder(first, share, device)
    notes: list[str] = []
    if run.limit_memory is None:
        plan = next(plans)
    else:
        with _quiet():
            plan, notes = fitting(job.module, plans, share, device, run.limit_memory)
    for note in notes:
        run.say(note)
    keeper, more = _descend(job, plan, plans, device, checkpoint)
    return keeper, (*notes, *more)


def _share(batch: int, devices: int) -> int:
    if batch % devices:
        raise OptionError(f"a batch of {batch} cannot be shared by {devices} devices: change one")
    return batch // devices


def _descend(
    job: Job, plan: Plan, plans: Iterator[Plan], device: torch.device, checkpoint: Path | None
) -> tuple[Keeper, list[str]]:
    """Train with a plan, and with the next one where memory runs out."""
    start = {key: value.clone() for key, value in job.module.state_dict().items()}
    random = torch.get_rng_state()
    notes: list[str] = []
    while True:
        try:
            return _run(job, plan, device, checkpoint), notes
        except (RuntimeError, MemoryError) as error:
            lower = next(plans, None)
            if lower is None or not out_of_memory(error):
                raise
        notes.append(f"out of memory in {plan}: going on in {lower}")
        job.run.say(notes[-1])
        plan = lower
        torch.cuda.empty_cache()
        job.module.cpu().load_state_dict(start)
        torch.set_rng_state(random)
        checkpoint = _latest(job.run, checkpoint)


def _latest(run: Run, before: Path | None) -> Path | None:
    """An epoch of this very run may be complete."""
    if run.folder is None:
        return before
    path = checkpoint_path(run.folder)
    return path if path.exists() else before


def _run(job: Job, plan: Plan, device: torch.device, checkpoint: Path | None) -> Keeper:
    recipe, run = job.module.recipe, job.run
    keeper = Keeper(run)
    average = LateAverage(recipe.ema, recipe.total_steps) if recipe.ema else None
    job.batches.accumulate = plan.accumulate
    again = recomputed(job.module.network) if plan.recompute else nullcontext()
    with again, told_of_the_end(run), _quiet():
        trainer = _trainer(job, plan, device, [keeper, *([average] if average else [])])
        trainer.fit(job.module, datamodule=job.batches, ckpt_path=checkpoint, weights_only=True)
    if trainer.global_rank:
        raise SystemExit(0)  # a helper of the first process has done its part
    job.module.cpu()
    if keeper.weights:
        job.module.network.load_state_dict(keeper.weights)
    elif average:
        average.finish(job.module)
    return keeper


def _trainer(job: Job, plan: Plan, device: torch.device, callbacks: list[Any]) -> Any:
    run, batches = job.run, job.batches
    recipe = job.module.recipe
    marks = identity(recipe, batches.names, batches.validate, batches.seed)
    callbacks = [*callbacks, Identity(run.folder, marks)]
    if run.patience and batches.validate:
        callbacks.append(Patience(run.patience))
    if run.folder:
        run.folder.mkdir(parents=True, exist_ok=True)
        callbacks.append(each_epoch(run.folder))
    return lightning.Trainer(
        max_epochs=recipe.epochs,  # with max_steps as well, a resumed run begins with no batches
        accelerator=_ACCELERATORS.get(device.type, device.type),
        devices=[device.index or 0] if _one_gpu(device, run) else run.devices,
        precision=_LIGHTNINGS[plan.precision],
        accumulate_grad_batches=plan.accumulate,
        gradient_clip_val=1.0,
        sync_batchnorm=run.devices > 1 and device.type == "cuda",
        callbacks=callbacks,
        logger=_loggers(run.folder),
        enable_checkpointing=run.folder is not None,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=run.folder,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _one_gpu(device: torch.device, run: Run) -> bool:
    return device.type == "cuda" and run.devices == 1


def _loggers(folder: Path | None) -> list[Any]:
    """``metrics.csv`` in the folder, and events for TensorBoard where that is installed."""
    if folder is None:
        return []
    found: list[Any] = [CSVLogger(folder, name="", version="")]
    if find_spec("tensorboard") or find_spec("tensorboardX"):
        found.append(TensorBoardLogger(folder, name="", version=""))
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice on workers and torch's on its own API."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
