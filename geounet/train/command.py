"""``geounet train``: from settings to a bundle and a report of how good it is."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch

from geounet.area import pixel_size_m
from geounet.bundle import load_bundle, save_bundle
from geounet.engine.device import resolve_device, resolve_precision
from geounet.errors import OutputError
from geounet.spec import ModelCard, ModelSpec, Unit
from geounet.staging import Staging, check_outputs
from geounet.train.checkpoint import checkpoint_path
from geounet.train.config import arch_of, model_name, recipe_of, run_of
from geounet.train.data import PairSource
from geounet.train.divided import Divided, divide
from geounet.train.fit import Trained, fit
from geounet.train.keys import plain, to_yaml
from geounet.train.precision import agreement_of
from geounet.train.predict import predictor
from geounet.train.recipe import Recipe
from geounet.train.report import TrainingReport
from geounet.train.run import Progress, silent
from geounet.train.scoring import Gallery, SetScores, score
from geounet.train.scoring.scores import grouped
from geounet.train.settings import TrainSettings
from geounet.train.statistics import clip_of

_PLAUSIBLE: Mapping[str, tuple[float, float]] = {"reflectance": (-0.05, 1.2), "dB": (-45.0, 3.0)}
_ZOOM = 1.25  # how far pixels may be from those it was trained on
_CONFIG = "config.yaml"  # in the folder of a run, and what tells that it is one
_NAMED_BANDS = 8  # in a summary

_NOT_THE_RUN = ("out", "resume", "overwrite", "device", "summary", "terms", "limits")
"""Settings that say nothing about how a model came about, and are not in its provenance."""
_PATHS = ("images", "labels", "mask", "groups", "encoder_weights")
"""Settings of which provenance has the last part only: a model may go where paths should not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What ``geounet train`` made."""

    model: Path
    """The bundle."""
    report: Path
    """The page."""
    folder: Path
    """Logs and settings of the run."""
    sha256: str
    """Identifies the model."""
    scores: SetScores
    """Over the chips that were set aside; over those that it was trained on where none were."""
    validated: bool
    """Whether any were set aside."""
    trained: Trained
    """The network and its history."""

    def to_json(self) -> str:
        """One line of JSON."""
        trained = self.trained
        pixels = sum(record.pixels for record in trained.history)
        seconds = sum(record.seconds for record in trained.history)
        return json.dumps(
            {
                "model": str(self.model),
                "report": str(self.report),
                "folder": str(self.folder),
                "sha256": self.sha256,
                "epochs": len(trained.history),
                "best_epoch": None if trained.best_epoch is None else trained.best_epoch + 1,
                "seconds": round(trained.seconds, 1),
                "mpx_per_s": round(pixels / max(seconds, 1e-9) / 1e6, 3),
                "notes": list(trained.notes),
                "scored_on": "validation" if self.validated else "training",
                "scores": self.scores.as_dict(),
            }
        )


def run_train(
    settings: TrainSettings,
    *,
    command: str = "",
    say: Callable[[str], None] = silent,
    progress: Callable[[Progress], None] = silent,
) -> TrainResult:
    """Train a model, score it on what was set aside, and write bundle and report.

    Logs, settings and, until the end, the checkpoint are in ``MODEL.run``.

    Args:
        settings: What, on what and how.
        command: For the report.
        say: Is told, a line each, what a person should know.
        progress: Is told where the training is.

    Raises:
        DataError: Everything that is wrong with images and labels, before any training.
        OutputError: An output exists, or cannot be written.
        GeounetError: Whatever else is wrong with the settings.
        SystemExit: SIGTERM; ``resume`` goes on.
    """
    if _is_helper():
        say = silent
    _check(settings)
    data = divide(settings, settings.seed)
    for line in data.notes:
        say(line)
    source, parts = data.source, data.parts
    if not parts.validation:
        say("warning: nothing is set aside, so nobody knows how good the model is")
    clip = clip_of(settings.unit, source, parts.train)
    arch = arch_of(settings, settings.arch)
    recipe = recipe_of(settings, model_name(settings), arch, clip, data.pixels)
    say(_plan(recipe))
    run = run_of(
        settings,
        settings.folder,
        say=say,
        progress=progress,
        resume=settings.resume,
        patience=settings.patience,
    )
    with _folder(settings):
        trained = fit(
            recipe, source, parts.train, settings.seed, validate=parts.validation, run=run
        )
    return _finish(_Work(settings=settings, data=data, recipe=recipe, trained=trained), command)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What was asked for, and what came of it."""

    settings: TrainSettings
    data: Divided
    recipe: Recipe
    trained: Trained

    @property
    def scored(self) -> tuple[str, ...]:
        """Chips that the model is scored on: those set aside, or else all that it has seen."""
        return self.data.parts.validation or self.data.parts.train

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The same, by group."""
        return grouped(self.data.source.groups, self.scored)


def _check(settings: TrainSettings) -> None:
    """Refuse before the data are read what could not be done, or written in the end."""
    model_name(settings)
    arch_of(settings, settings.arch)
    device = resolve_device(run_of(settings).device)
    resolve_precision(settings.precision, device, None)
    check_outputs([settings.out, settings.report], overwrite=settings.overwrite)
    if settings.folder.exists() and not (settings.folder / _CONFIG).is_file():
        raise OutputError(
            f"{settings.folder} is no folder of a training, and logs would go there: give the model"
            " another name with -o"
        )
    waiting = checkpoint_path(settings.folder).exists()
    if waiting and not (settings.resume or settings.overwrite) and not _is_helper():
        raise OutputError(
            f"{settings.folder} has a training that was stopped: go on with --resume, or start"
            " again with --overwrite"
        )


@contextmanager
def _folder(settings: TrainSettings) -> Iterator[None]:
    """The folder of the run, which stays only if there is something in it to go on from."""
    _prepare(settings)
    try:
        yield
    except BaseException:
        if not _is_helper() and not checkpoint_path(settings.folder).exists():
            shutil.rmtree(settings.folder, ignore_errors=True)
        raise


def _prepare(settings: TrainSettings) -> None:
    """The folder of the run, with the settings in it; without an earlier run's leavings."""
    if _is_helper():
        return
    try:
        if not settings.resume and settings.folder.exists():
            shutil.rmtree(settings.folder)
        settings.folder.mkdir(parents=True, exist_ok=True)
        kept = to_yaml(replace(settings, resume=False, overwrite=False))
        (settings.folder / _CONFIG).write_text(kept, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{settings.folder} cannot be written ({error.strerror})") from error


def _is_helper() -> bool:
    """Whether this is not the first of several processes that train together."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def _plan(recipe: Recipe) -> str:
    patches = f"{recipe.batch} patches of {recipe.crop} px"
    return (
        f"training {recipe.arch}: {recipe.epochs} epochs of {recipe.steps} steps of {patches},"
        f" {recipe.loss}"
    )


def _finish(work: _Work, command: str) -> TrainResult:
    settings, data, trained = work.settings, work.data, work.trained
    gallery = Gallery(bands=data.source.bands, groups=work.groups)
    predict = predictor(trained.network, trained.normalize)
    scores = score(predict, data.source, work.scored, watch=gallery)
    state = trained.network.state_dict()
    spec = _spec(work, scores)
    agreement = agreement_of(spec, state, data.source, work.scored)
    spec = replace(spec, bf16_agreement=round(agreement, 6))
    with Staging() as staging:
        bundle = load_bundle(save_bundle(staging.stage(settings.out), spec, state))
        page = TrainingReport(
            title=spec.name,
            summary=f"{spec.card.summary} {_scored_on(work)}",
            classes=data.source.classes,
            scores=scores,
            best=gallery.best,
            worst=gallery.worst,
            history=trained.history,
            best_epoch=trained.best_epoch,
            notes=[*data.notes, *trained.notes],
            config=plain(settings),
            provenance={"command": command, "sha256": bundle.sha256, **spec.card.provenance},
        )
        try:
            staging.stage(settings.report).write_text(page.html(), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{settings.report} cannot be written ({error.strerror})") from error
        staging.commit()
    with suppress(OSError):  # all is written: what is left over does no harm
        checkpoint_path(settings.folder).unlink(missing_ok=True)
    return TrainResult(
        model=settings.out,
        report=settings.report,
        folder=settings.folder,
        sha256=bundle.sha256,
        scores=scores,
        validated=bool(data.parts.validation),
        trained=trained,
    )


def _spec(work: _Work, scores: SetScores) -> ModelSpec:
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
            metrics={"how": _scored_on(work), **_headline(scores)},
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


def _learnt_from(work: _Work) -> str:
    settings, parts = work.settings, work.data.parts
    pixels = sum(sum(work.data.source.pixels(name).classes) for name in parts.train)
    return (
        f"{len(parts.train)} chips ({pixels / 1e6:.2f} million labelled pixels) from"
        f" {Path(settings.images).name} and {Path(settings.labels).name};"
        f" {len(parts.validation)} more were set aside for validation."
    )


def _scored_on(work: _Work) -> str:
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
