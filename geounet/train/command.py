"""``geounet train``: from settings to a bundle and a report of how good it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from geounet.bundle import load_bundle, save_bundle
from geounet.engine.device import resolve_device, resolve_precision
from geounet.errors import OutputError
from geounet.spec import ModelSpec
from geounet.staging import Staging, check_outputs
from geounet.train.checkpoint import checkpoint_path
from geounet.train.config import arch_of, model_name, recipe_of, run_of
from geounet.train.divided import divide
from geounet.train.fit import Trained, fit
from geounet.train.keys import plain, to_yaml
from geounet.train.modelspec import model_spec, scored_on
from geounet.train.precision import MOST, agreement_of
from geounet.train.predict import predictor
from geounet.train.recipe import Recipe
from geounet.train.report import TrainingReport
from geounet.train.run import Progress, silent
from geounet.train.scoring import Gallery, SetScores, score
from geounet.train.settings import TrainSettings
from geounet.train.statistics import clip_of
from geounet.train.work import Work

_CONFIG = "config.yaml"  # in the folder of a run, and what tells that it is one
_CHECKED = 30  # pixels of training for one that is computed in bfloat16: a tenth of the time


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
    return _finish(Work(settings=settings, data=data, recipe=recipe, trained=trained), command)


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


def _with_agreement(spec: ModelSpec, work: Work) -> ModelSpec:
    """The spec that also says how far bfloat16 gives the same labels, and over how many pixels."""
    trained, seen = work.trained, sum(record.pixels for record in work.trained.history)
    found = agreement_of(
        spec,
        trained.network.state_dict(),
        work.data.source,
        work.scored,
        most=min(MOST, seen // _CHECKED),
    )
    metrics = {**spec.card.metrics, "bf16_agreement_pixels": found.pixels}
    return replace(spec, bf16_agreement=found.share, card=replace(spec.card, metrics=metrics))


def _finish(work: Work, command: str) -> TrainResult:
    settings, data, trained = work.settings, work.data, work.trained
    gallery = Gallery(bands=data.source.bands, groups=work.groups)
    predict = predictor(trained.network, trained.normalize)
    scores = score(predict, data.source, work.scored, watch=gallery)
    state = trained.network.state_dict()
    spec = _with_agreement(model_spec(work, scores), work)
    with Staging() as staging:
        bundle = load_bundle(save_bundle(staging.stage(settings.out), spec, state))
        page = TrainingReport(
            title=spec.name,
            summary=f"{spec.card.summary} {scored_on(work)}",
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
