"""The spec of a model that was trained, and the card in it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch

from geounet.area import pixel_size_m
from geounet.spec import ModelCard, ModelSpec, Unit
from geounet.train.data import PairSource
from geounet.train.keys import plain
from geounet.train.scoring import SetScores
from geounet.train.settings import TrainSettings
from geounet.train.work import Work

_PLAUSIBLE: Mapping[str, tuple[float, float]] = {"reflectance": (-0.05, 1.2), "dB": (-45.0, 3.0)}
_ZOOM = 1.25  # how far pixels may be from those it was trained on
_NAMED_BANDS = 8  # in a summary

_NOT_THE_RUN = ("out", "resume", "overwrite", "device", "summary", "terms", "limits")
"""Settings that say nothing about how a model came about, and are not in its provenance."""
_PATHS = ("images", "labels", "mask", "groups", "encoder_weights")
"""Settings of which provenance has the last part only: a model may go where paths should not."""


def model_spec(work: Work, scores: SetScores) -> ModelSpec:
    """The spec with its card; nothing is said of bfloat16 yet."""
    settings, recipe, source = work.settings, work.recipe, work.data.source
    low, high = recipe.clip
    span = high - low
    return ModelSpec(
        name=recipe.name,
        version="1",
        arch=recipe.arch,
        bands=work.trained.bands,
        unit=cast("Unit", settings.unit),  # which the spec checks
        clip=recipe.clip,
        plausible=_PLAUSIBLE.get(settings.unit, (low - span, high + span)),
        classes=source.classes,
        pixel_size=_pixel_size(source),
        seam=work.trained.network.seam,
        card=ModelCard(
            summary=settings.summary or _summary(source),
            data=_learnt_from(work),
            terms=settings.terms or "Not stated by whoever trained it.",
            limits=settings.limits
            or "Known to work on data like those it was trained on, and not checked elsewhere.",
            metrics={"how": scored_on(work), **_headline(scores)},
            provenance=_provenance(settings),
        ),
    )


def _headline(scores: SetScores) -> dict[str, Any]:
    """Value, low and high end of the 95 % interval of what a card shows."""
    whole = scores.as_dict()
    kept = ("iou", "f1", "precision", "recall", "boundary_f1")
    return {
        **{k: whole[k] for k in ("mean_iou", "mean_f1", "accuracy", "auc", "pixels")},
        "classes": {one["name"]: {k: one[k] for k in kept} for one in whole["classes"]},
    }


def _summary(source: PairSource) -> str:
    names = ", ".join(source.classes.names)
    bands = ", ".join(source.bands)
    seen = bands if len(source.bands) <= _NAMED_BANDS else f"{len(source.bands)} bands"
    return f"{names[:1].upper()}{names[1:]} from {seen}."


def _learnt_from(work: Work) -> str:
    settings, parts = work.settings, work.data.parts
    pixels = sum(sum(work.data.source.pixels(name).classes) for name in parts.train)
    return (
        f"{len(parts.train)} chips ({pixels / 1e6:.2f} million labelled pixels) from"
        f" {Path(settings.images).name} and {Path(settings.labels).name};"
        f" {len(parts.validation)} more were set aside for validation."
    )


def scored_on(work: Work) -> str:
    """What the scores are of, and what they are worth, for people."""
    if not work.data.parts.validation:
        return (
            f"Scored on the {len(work.scored)} chips that it was trained on, since none were set"
            " aside: elsewhere it is worse."
        )
    return (
        f"Scored on {len(work.scored)} chips in {len(work.groups)} groups that were set aside; the"
        " best epoch was chosen by them, so elsewhere expect a little less."
    )


def _provenance(settings: TrainSettings) -> dict[str, Any]:
    said = {k: v for k, v in plain(settings).items() if k not in _NOT_THE_RUN and v is not None}
    said |= {k: Path(said[k]).name for k in _PATHS if k in said}
    return {
        "geounet": version("geounet"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "settings": said,
    }


def _pixel_size(source: PairSource) -> tuple[float, float] | None:
    """Metres; None where no image has a place."""
    infos = [pair.info for pair in source.content.pairs]
    sizes = [pixel_size_m(info.geobox) for info in infos if info.georeferenced]
    known = [size for size in sizes if size]
    return (min(known) / _ZOOM, max(known) * _ZOOM) if known else None
