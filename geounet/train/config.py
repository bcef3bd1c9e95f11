"""From what a user says to what is done: data, architecture, recipe and run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast, get_args

from geounet.bundle import SUFFIX
from geounet.classes import ClassScheme
from geounet.errors import OptionError
from geounet.spec import ArchSpec, Unit
from geounet.train.data import DataRequest
from geounet.train.data.splitting import Val
from geounet.train.recipe import Augmentation, Optimizer, Recipe, Schedule
from geounet.train.run import Progress, Run, silent
from geounet.train.settings import DataKeys, LearningKeys, TrainSettings

_ENCODER_STRIDE = 32  # the most that encoders of segmentation-models-pytorch have
_OWN_RATE, _ENCODER_RATE = 3e-3, 1e-3  # peaks; pretrained or not, deep encoders bear less
_LEAST_STEPS, _MOST_STEPS = 50, 1000  # in an epoch
_SWITCHES = ("flip", "rotate", "zoom", "radiometry", "noise")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def model_name(settings: TrainSettings) -> str:
    """The name asked for, or that of the file: lower case, digits and hyphens.

    Raises:
        OptionError: The file is not to be a bundle.
    """
    if settings.out.suffix != SUFFIX:
        raise OptionError(f"-o {settings.out}: end it in {SUFFIX}")
    plain = re.sub(r"[^a-z0-9]+", "-", settings.out.stem.lower()).strip("-")
    return settings.name or plain or "model"


def arch_of(keys: LearningKeys, name: str) -> ArchSpec:
    """The architecture of that name, with the width and depth asked for.

    Raises:
        OptionError: It cannot be, or cannot see patches of that size.
    """
    encoder = "-" in name
    width, depth = (None, None) if encoder else (keys.width, keys.depth)
    arch = ArchSpec(name=name, width=width, depth=depth)
    stride = _ENCODER_STRIDE if depth is None else int(2**depth)
    if keys.patch % stride:
        near = max(stride, round(keys.patch / stride) * stride)
        raise OptionError(
            f"--patch {keys.patch}: {name} needs a multiple of {stride}, such as {near}"
        )
    return arch


def recipe_of(
    keys: LearningKeys, name: str, arch: ArchSpec, clip: tuple[float, float], pixels: int
) -> Recipe:
    """How to train.

    Args:
        keys: What was asked for.
        name: Of the model.
        arch: The network.
        clip: Range of the input, in the unit.
        pixels: Of all chips to train on, which decide how many steps are an epoch.

    Raises:
        OptionError: A value that cannot be.
    """
    once = math.ceil(pixels / (keys.batch_size * keys.patch**2))
    rate = _ENCODER_RATE if arch.has_encoder else _OWN_RATE
    off = [switch for switch in _SWITCHES if not getattr(keys, switch)]
    return Recipe(
        name=name,
        arch=arch,
        clip=clip,
        augmentation=Augmentation.usual().without(*off),
        steps=min(max(once, _LEAST_STEPS), _MOST_STEPS) if keys.steps is None else keys.steps,
        epochs=keys.epochs,
        encoder_weights=keys.encoder_weights,
        batch=keys.batch_size,
        crop=keys.patch,
        learning_rate=rate if keys.lr is None else keys.lr,
        weight_decay=keys.weight_decay,
        optimizer=cast("Optimizer", keys.optimizer),  # the recipe checks them
        schedule=cast("Schedule", keys.schedule),
        loss=keys.loss,
        balance=keys.balance,
        label_smoothing=keys.label_smoothing,
        fit_threshold=keys.threshold,
    )


def run_of(
    keys: LearningKeys,
    folder: Path | None = None,
    *,
    say: Callable[[str], None] = silent,
    progress: Callable[[Progress], None] = silent,
    resume: bool = False,
    patience: int | None = None,
) -> Run:
    """Where and how to train; the arguments are as in :class:`~geounet.train.run.Run`."""
    limit = keys.limit_memory
    return Run(
        folder=folder,
        device=keys.device,
        devices=keys.devices,
        precision=keys.precision,
        limit_memory=None if limit is None else parse_size(limit, "--limit-memory"),
        resume=resume,
        patience=patience,
        say=say,
        progress=progress,
    )


def request_of(keys: DataKeys, classes: ClassScheme, unit: str, patch: int) -> DataRequest:
    """What to open for these classes.

    Raises:
        OptionError: Options that do not go together.
    """
    if unit not in get_args(Unit):
        raise OptionError(f"--unit {unit}: choose {', '.join(get_args(Unit))}")
    return DataRequest(
        images=keys.images,
        labels=keys.labels,
        classes=classes,
        ignore=frozenset(codes(keys.ignore, "--ignore")),
        remap=mapped(keys.map, "--map"),
        class_field=keys.class_field,
        background=keys.background,
        bands=keys.bands,
        scale=keys.scale,
        offset=keys.offset,
        unit=unit,
        groups=keys.groups,
        mask=keys.mask,
        patch=patch,
    )


def val_of(given: Any) -> Val:
    """The fraction, the file or folder, or the names that ``val`` says."""
    try:
        return float(given)
    except (TypeError, ValueError):
        return [str(name) for name in given] if isinstance(given, list | tuple) else str(given)


def codes(given: Any, what: str) -> list[int]:
    """Whole numbers from a list, one number, or a text such as ``255,-1``.

    Raises:
        OptionError: Something else.
    """
    items = given.split(",") if isinstance(given, str) else given
    listed = items if isinstance(items, list | tuple) else [] if items is None else [items]
    try:
        return [int(str(item)) for item in listed if str(item).strip()]
    except ValueError:
        raise OptionError(f"{what} {given}: give whole numbers, as in 255,254") from None


def mapped(given: Any, what: str) -> dict[int, int]:
    """Number -> number from a mapping or a text such as ``255=1,2=0``.

    Raises:
        OptionError: Something else.
    """
    if given is None:
        return {}
    try:
        if isinstance(given, Mapping):
            return {int(str(a)): int(str(b)) for a, b in given.items()}
        pairs = [item.split("=") for item in str(given).split(",") if item.strip()]
        return {int(a): int(b) for a, b in pairs}
    except ValueError:
        raise OptionError(
            f"{what} {given}: write A=B,... with whole numbers, as in 255=1"
        ) from None


def parse_size(text: str, what: str) -> int:
    """Bytes of a text such as ``4GB``, ``512M`` or ``1.5GiB`` (all powers of 1024).

    Raises:
        OptionError: Something else.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise OptionError(f"{what} {text}: write a size, as in 4GB")
    return int(float(found[1]) * 1024 ** ["", *"KMGT"].index(found[2].upper()))
