"""A recipe and a source in, a trained network out."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from geounet.bands import BandSpec
from geounet.nn import SegmentationNetwork, build
from geounet.train.augment import Augment, Normalize
from geounet.train.loss import SegmentationLoss
from geounet.train.module import SegmentationModule
from geounet.train.norms import calibrate
from geounet.train.recipe import Recipe
from geounet.train.source import Source
from geounet.train.statistics import band_statistics, class_shares
from geounet.train.threshold import fold_threshold
from geounet.train.warm import warm_start
from geounet.train.whiten import Whitened, whitening


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
    """Mean loss over the run."""
    seconds: float
    """Wall time."""


def fit(recipe: Recipe, source: Source, names: Sequence[str], seed: int) -> Trained:
    """Train on these chips, less those that the recipe leaves out.

    The same arguments give the same weights on the same machine and versions.

    Raises:
        ModelError: An architecture that is not there.
    """
    start = time.perf_counter()
    names = [name for name in names if name not in recipe.leave_out]
    lightning.seed_everything(seed, verbose=False)
    bands = band_statistics(source, names, recipe.clip)
    normalize = Normalize(bands, recipe.clip)
    network = build(recipe.arch, len(bands), len(source.classes))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    whitened = Whitened(network, whitening(source, names, normalize))
    augment = Augment(recipe.augmentation, normalize)
    loss = SegmentationLoss(recipe, list(class_shares(source, names)))
    warm_start(whitened, augment, loss, source, names, recipe)
    if recipe.freeze_norms:
        few = source.batches(names, size=recipe.crop, batch=16, steps=12, seed=seed)
        calibrate(whitened, augment, few)
    module = SegmentationModule(recipe, whitened, augment, loss)
    batches = source.batches(
        names, size=recipe.crop, batch=recipe.batch, steps=recipe.steps, seed=seed
    )
    trainer = _trainer(recipe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers; torch's on its own API
        trainer.fit(module, batches)
    network = module.network.cpu().fold().eval().requires_grad_(requires_grad=False)
    if recipe.fit_threshold:
        fold_threshold(network, normalize, source, names)
    return Trained(
        network=network,
        normalize=normalize.cpu(),
        bands=bands,
        loss=float(trainer.callback_metrics["loss"]),
        seconds=time.perf_counter() - start,
    )


def _trainer(recipe: Recipe) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    # averaging from the start would keep a share of the random weights
    late = recipe.steps // 2
    average = (
        [EMAWeightAveraging(decay=recipe.ema, update_starting_at_step=late)] if recipe.ema else []
    )
    return lightning.Trainer(
        max_steps=recipe.steps,
        max_epochs=1,
        accelerator="auto",
        devices=1,
        gradient_clip_val=1.0,
        callbacks=average,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
