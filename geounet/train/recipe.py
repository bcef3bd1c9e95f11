"""How to train: values only, so that a recipe can be printed, compared and stored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from geounet.errors import OptionError
from geounet.spec import ArchSpec
from geounet.train.terms import parse_loss

Optimizer = Literal["adam", "adamw"]
Schedule = Literal["one-cycle", "cosine"]

_OFF: dict[str, dict[str, Any]] = {
    "flip": {"flip_horizontal": False, "flip_vertical": False, "quarter_turns": False},
    "rotate": {"degrees": 0.0, "quarter_turns": False},
    "zoom": {"scale": (1.0, 1.0)},
    "radiometry": dict.fromkeys(
        ("gain", "band_gain", "offset", "band_offset", "brightness", "contrast"), 0.0
    ),
    "noise": {"noise": 0.0},
}
SWITCHES = tuple(_OFF)
"""What :meth:`Augmentation.without` switches off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is changed at random in each training patch; 0 switches a thing off.

    Flips and quarter turns are on unless switched off: a map has no up, a photo may have.
    """

    flip_horizontal: bool = True
    """Whether half of the patches are mirrored, left to right."""
    flip_vertical: bool = True
    """Whether half of the patches are mirrored, top to bottom."""
    quarter_turns: bool = True
    """Whether patches are turned by a multiple of 90 degrees."""
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
    brightness: float = 0.0
    """Largest term common to all bands, in training standard deviations, in half of the patches."""
    contrast: float = 0.0
    """Largest change of a factor around the training mean, in half of the patches; below 1."""
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

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high:
            raise OptionError(f"augmentation: zoom {low}..{high} must rise from above 0")
        if not (0 <= self.brightness <= 1 and 0 <= self.contrast < 1):
            raise OptionError(
                f"augmentation: brightness {self.brightness} must be 0 to 1 and contrast"
                f" {self.contrast} 0 to below 1"
            )

    @classmethod
    def usual(cls) -> Augmentation:
        """A start for any image without an up, whatever its unit."""
        return cls(degrees=15.0, scale=(0.8, 1.25), brightness=0.2, contrast=0.2, noise=0.05)

    def without(self, *switches: str) -> Augmentation:
        """The same with some of :data:`SWITCHES` off.

        ``flip`` takes the quarter turns along, since turns and one flip make the other; so does
        ``rotate``.

        Raises:
            OptionError: There is no such switch.
        """
        changed = self
        for switch in switches:
            if switch not in _OFF:
                raise OptionError(f"augmentation {switch!r}: choose from {', '.join(SWITCHES)}")
            changed = replace(changed, **_OFF[switch])
        return changed


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
    """Optimiser steps in an epoch."""
    epochs: int = 1
    """Each ends with a validation, where there are chips for it, and a checkpoint."""
    encoder_weights: str | Path | None = None
    """File or name of weights for the encoder, see :func:`geounet.nn.build`."""
    whiten: bool = True
    """Whether the network sees decorrelated bands while it trains, see :mod:`geounet.train.whiten`;
    never with weights for the encoder, which know bands as they are."""
    batch: int = 16
    """Patches a step."""
    crop: int = 128
    """Patch size in pixels, where chips are larger; a multiple of the network's stride."""
    learning_rate: float = 3e-3
    """Peak of the schedule."""
    weight_decay: float = 1e-2
    """Of the optimiser: decoupled from the gradient in adamw, part of it in adam."""
    optimizer: Optimizer = "adamw"
    """Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101; or Adam, Kingma & Ba 2015."""
    schedule: Schedule = "one-cycle"
    """Of the learning rate over all steps: up for 15 % of them and down, or down as a cosine."""
    ema: float = 0.97
    """Decay of the moving average of the weights over the second half, which is what is validated
    and kept; 0: none."""
    loss: str = "0.5*ce+0.5*dice"
    """Sum of :data:`geounet.train.terms.LOSSES`."""
    loss_classes: tuple[int, ...] | None = None
    """Channels that the Dice, Jaccard and Tversky losses look at; None: all."""
    label_smoothing: float = 0.0
    """Of the cross-entropy."""
    balance: float = 0.0
    """Class weights of cross-entropy and focal loss are frequency ** -balance: 0 none, 0.5 the
    root. (The other losses count every class alike, however rare.)"""
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
        if min(self.steps, self.epochs, self.batch, self.crop) < 1:
            raise OptionError(
                f"recipe {self.name}: steps {self.steps}, epochs {self.epochs}, batch {self.batch}"
                f" and crop {self.crop} must be at least 1"
            )
        if 2 * self.margin >= self.crop:
            raise OptionError(
                f"recipe {self.name}: a margin of {self.margin} leaves nothing of a patch of"
                f" {self.crop}"
            )
        if not self.learning_rate > 0:
            raise OptionError(f"recipe {self.name}: learning rate {self.learning_rate} is not > 0")
        if not 0 <= self.ema < 1:
            raise OptionError(f"recipe {self.name}: ema {self.ema} must be 0 to below 1")
        parse_loss(self.loss)
        self._check_choices()

    def _check_choices(self) -> None:
        for what, value, choices in (
            ("optimizer", self.optimizer, get_args(Optimizer)),
            ("schedule", self.schedule, get_args(Schedule)),
        ):
            if value not in choices:
                raise OptionError(
                    f"recipe {self.name}: {what} {value!r}: choose {' or '.join(choices)}"
                )

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.epochs * self.steps
