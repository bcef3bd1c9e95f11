"""A recipe and a source in, a trained network out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import lightning
import torch

from geounet.bands import BandSpec
from geounet.errors import OptionError
from geounet.nn import SegmentationNetwork, build
from geounet.train.augment import Augment, Normalize
from geounet.train.batches import Batches
from geounet.train.checkpoint import resumable
from geounet.train.loop import Job, train
from geounet.train.loss import SegmentationLoss
from geounet.train.module import SegmentationModule
from geounet.train.norms import calibrate
from geounet.train.recipe import Recipe
from geounet.train.run import EpochRecord, Run
from geounet.train.source import Source
from geounet.train.statistics import statistics_of
from geounet.train.threshold import fold_threshold
from geounet.train.warm import warm_start
from geounet.train.whiten import Whitened, whitenable, whitening


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What training gives."""

    network: SegmentationNetwork
    """In float32 on the CPU, in evaluation mode."""
    normalize: Normalize
    """The normalisation it was trained with."""
    bands: tuple[BandSpec, ...]
    """Statistics of the training part."""
    loss: float
    """Mean loss over the last epoch."""
    seconds: float
    """Wall time, of this process."""
    history: tuple[EpochRecord, ...]
    """One an epoch."""
    best_epoch: int | None
    """Whose weights these are; None: the last's, since nothing was validated."""
    notes: tuple[str, ...]
    """What was done to need less memory."""


def fit(
    recipe: Recipe,
    source: Source,
    names: Sequence[str],
    seed: int,
    *,
    validate: Sequence[str] = (),
    run: Run | None = None,
) -> Trained:
    """Train on these chips, less those that the recipe leaves out.

    The same arguments give the same weights on the same machine and versions; on a CPU also where
    the run was stopped, or killed, and resumed.

    Args:
        recipe: What is trained, and how it learns.
        source: Where chips come from.
        names: Chips to train on.
        seed: Another one gives other weights.
        validate: Chips to choose the best epoch by; empty: the last epoch's weights are kept.
        run: Where and how; None: on the best device, and nothing is written.

    Raises:
        ModelError: An architecture that is not there.
        OptionError: Options that do not go together, or a checkpoint of another run.
        DeviceError: A device or a precision that is not here.
        SystemExit: SIGTERM.
    """
    start, run = time.perf_counter(), run or Run()
    names = [name for name in names if name not in recipe.leave_out]
    if shared := sorted(set(names) & set(validate)):
        raise OptionError(f"{shared[0]} is both trained on and validated on: keep them apart")
    checkpoint = resumable(run)
    lightning.seed_everything(seed, verbose=False)
    found = statistics_of(source, names, recipe.clip)
    normalize = Normalize(found.bands, recipe.clip)
    module = _module(recipe, source, names, normalize, found.shares)
    if checkpoint is None:
        _begin(module, source, names, seed)
    batches = Batches(recipe, source, names, validate, seed)
    keeper, notes = train(Job(module=module, batches=batches, run=run), checkpoint)
    network = module.network.fold().eval().requires_grad_(requires_grad=False)
    if recipe.fit_threshold:
        fold_threshold(network, normalize, source, names)
    return Trained(
        network=network,
        normalize=normalize,
        bands=found.bands,
        loss=keeper.history[-1].loss,
        seconds=time.perf_counter() - start,
        history=tuple(keeper.history),
        best_epoch=keeper.best,
        notes=notes,
    )


def _module(
    recipe: Recipe,
    source: Source,
    names: Sequence[str],
    normalize: Normalize,
    shares: Sequence[float],
) -> SegmentationModule:
    bands, classes = len(source.bands), len(source.classes)
    network = build(recipe.arch, bands, classes, encoder_weights=recipe.encoder_weights)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    whiten = recipe.whiten and recipe.encoder_weights is None and whitenable(network, bands)
    whitened = Whitened(network, whitening(source, names, normalize) if whiten else None)
    augment = Augment(recipe.augmentation, normalize)
    loss = SegmentationLoss(recipe, list(shares))
    return SegmentationModule(recipe, whitened, augment, loss)


def _begin(module: SegmentationModule, source: Source, names: Sequence[str], seed: int) -> None:
    """What comes before the first epoch; a checkpoint already holds its result."""
    recipe = module.recipe
    warm_start(module.network, module.augment, module.loss, source, names, recipe)
    if recipe.freeze_norms:
        few = source.batches(names, size=recipe.crop, batch=16, steps=12, seed=seed)
        calibrate(module.network, module.augment, few)
