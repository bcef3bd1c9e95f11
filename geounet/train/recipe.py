"""How to train: values only, so that a recipe can be printed, compared and stored."""

from __future__ import annotations

from dataclasses import dataclass, field

from geounet.errors import OptionError
from geounet.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is changed at random in each training patch; 0 switches a thing off.

    Flips and quarter turns are always on: a map has no up.
    """

    degrees: float = 0.0
    """Largest rotation beyond the quarter turns."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest zoom; (1, 1) is none."""
    warp_share: float = 0.5
    """Share of the patches that are rotated and zoomed."""
    gain: float = 0.0
    """Standard deviation of the logarithm of a factor common to all bands (haze, sun)."""
    band_gain: float = 0.0
    """The same for each band alone (calibration)."""
    offset: float = 0.0
    """Standard deviation of a term common to all bands, in the model's unit."""
    band_offset: float = 0.0
    """The same for each band alone."""
    noise: float = 0.0
    """Standard deviation of white noise in half of the patches, in training standard deviations."""
    drop_band: float = 0.0
    """Share of the patches in which one band is silenced (set to its mean)."""
    rough_water: float = 0.0
    """Share of the patches whose water is lifted in the first band, as wind does to VV."""
    rough_most: float = 8.0
    """Largest such lift, in the model's unit."""
    holes: float = 0.0
    """Share of the patches with a hole without data, as a masked cloud leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to train one model."""

    name: str
    """Name of the model."""
    arch: ArchSpec
    """The network."""
    clip: tuple[float, float]
    """Input is clipped to this range, in the model's unit, as it will be in use."""
    augmentation: Augmentation
    """What is changed at random."""
    steps: int
    """Optimiser steps."""
    batch: int = 16
    """Patches a step."""
    crop: int = 128
    """Patch size in pixels, where chips are larger; a multiple of the network's stride."""
    learning_rate: float = 3e-3
    """Peak of the one-cycle schedule (AdamW)."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    ema: float = 0.97
    """Decay of the moving average of the weights over the second half, which is what is kept."""
    dice: float = 0.5
    """Weight of the Dice loss; cross-entropy has the rest."""
    dice_classes: tuple[int, ...] | None = None
    """Channels that the Dice loss looks at; None: all."""
    label_smoothing: float = 0.0
    """Of the cross-entropy."""
    balance: float = 0.0
    """Class weights of the cross-entropy are frequency ** -balance: 0 none, 0.5 the root."""
    margin: int = 0
    """Pixels at each side of a patch that are context only and not in the loss."""
    pixel_steps: int = 0
    """Warm start: steps of 8192 single pixels, see :mod:`geounet.train.warm`."""
    patch_steps: int = 0
    """Warm start: steps of 1024 patches of 9 x 9 pixels after those."""
    freeze_norms: bool = False
    """Fix the statistics of the batch norms before the patches. A batch of patches is of few places
    only; normalised by itself it loses how bright those places are, which tells classes apart."""
    fit_threshold: bool = False
    """Two classes: shift the bias so that IoU on the training part is largest at probability 1/2.
    """
    leave_out: tuple[str, ...] = field(default=())
    """Chips that are scored but never trained on."""

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.crop) < 1:
            raise OptionError(
                f"recipe {self.name}: steps {self.steps}, batch {self.batch} and crop {self.crop}"
                " must be at least 1"
            )
        if not 0 <= self.dice <= 1:
            raise OptionError(f"recipe {self.name}: dice {self.dice} must be 0 to 1")
        if not 0 <= self.ema < 1:
            raise OptionError(f"recipe {self.name}: ema {self.ema} must be 0 to below 1")
