"""``geounet compare``: from settings to a table and a plot of architectures side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from geounet.engine.device import resolve_device, resolve_precision
from geounet.errors import OptionError, OutputError
from geounet.nn import build
from geounet.spec import ArchSpec
from geounet.staging import check_outputs
from geounet.train.compare.about import machine, versions
from geounet.train.compare.contest import Contest, Fitter, compare
from geounet.train.compare.table import Comparison, without_nan, write_comparison
from geounet.train.config import arch_of, codes, recipe_of, run_of
from geounet.train.data import PairSource
from geounet.train.divided import Divided, divide
from geounet.train.fit import Trained, fit
from geounet.train.keys import plain
from geounet.train.recipe import Recipe
from geounet.train.run import Progress, silent
from geounet.train.settings import CompareSettings, DataKeys
from geounet.train.source import Source
from geounet.train.statistics import clip_of

KEPT = "trainings.jsonl"
"""File in the folder that holds the trainings that are done."""

_NAME = "compare"
_FEW = 3  # seeds that a spread needs
_SPLIT_SEED = 1  # the default of ``geounet train``; the same whatever is trained with


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareProgress:
    """Where a comparison is; sent about twice a second."""

    recipe: Recipe
    """What is trained."""
    seed: int
    """With which seed."""
    step: int
    """Minibatches done in this training."""
    steps: int
    """Minibatches in a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareResult:
    """What ``geounet compare`` made."""

    comparison: Comparison
    """Scores and costs."""
    paths: tuple[Path, Path, Path]
    """The table, its data, the plot."""

    def to_json(self) -> str:
        """One line of JSON; what cannot be computed is null."""
        entrants = self.comparison.entrants
        files = zip(("table", "data", "plot"), map(str, self.paths), strict=True)
        scores = {e.label: {"iou": e.values("iou"), "dice": e.values("dice")} for e in entrants}
        return json.dumps(without_nan({**dict(files), "scores": scores}))


def run_compare(
    settings: CompareSettings,
    *,
    command: str = "",
    say: Callable[[str], None] = silent,
    progress: Callable[[CompareProgress], None] = silent,
) -> CompareResult:
    """Train architectures on the same data, score them on what was set aside, and write a table.

    What ``val`` sets aside is the test set: no epoch is chosen by it, the last weights count.
    Trainings that are done are kept in :data:`KEPT`, so the same settings go on where a comparison
    was stopped.

    Args:
        settings: What, on what and how.
        command: For the table.
        say: Is told, a line each, what a person should know.
        progress: Is told where a training is.

    Raises:
        DataError: Everything that is wrong with images and labels, before any training.
        ModelError: An architecture that is not there.
        OutputError: An output exists, or cannot be written.
        GeounetError: Whatever else is wrong with the settings.
        SystemExit: SIGTERM.
    """
    archs, seeds = _check(settings)
    data = _divided(settings)
    for line in data.notes:
        say(line)
    if len(seeds) < _FEW:
        say(f"warning: --seeds {settings.seeds}: a spread takes {_FEW} seeds or more")
    contest = _contest(settings, data, archs, seeds)
    say(_plan(contest))
    keep = _prepare(settings.out)
    with _told_how_to_go_on(keep, say):
        entrants = compare(
            contest, data.source, train=_fitter(settings, progress), keep=keep, say=say
        )
    about = _about(settings, contest, data.notes, command)
    comparison = Comparison(contest=contest, entrants=entrants, about=about)
    paths = write_comparison(settings.out, comparison, name=_NAME, overwrite=settings.overwrite)
    return CompareResult(comparison=comparison, paths=paths)


def _check(settings: CompareSettings) -> tuple[list[ArchSpec], tuple[int, ...]]:
    """Refuse before the data are read what could not be done in the end."""
    archs = [arch_of(settings, name) for name in _names(settings.archs)]
    for arch in archs:
        build(arch, 1, 2)
    if settings.encoder_weights and not any(arch.has_encoder for arch in archs):
        raise OptionError(
            f"--encoder-weights {settings.encoder_weights}: none of {settings.archs} has an encoder"
            " that others train: leave it out, or add one such as unet-resnet34"
        )
    run_of(settings)
    _precision(settings, resolve_device(settings.device))
    if settings.out.is_dir():
        names = [settings.out / f"{_NAME}{end}" for end in (".md", ".json", ".svg")]
        check_outputs(names, overwrite=settings.overwrite)
    elif settings.out.exists():
        raise OutputError(f"-o {settings.out} is a file: give a folder")
    return archs, tuple(codes(settings.seeds, "--seeds"))


def _names(given: Any) -> list[str]:
    items = given.split(",") if isinstance(given, str) else given
    return [name for item in items if (name := str(item).strip())]


def _divided(settings: CompareSettings) -> Divided:
    """The data; their validation part is what is scored."""
    data = divide(settings, _SPLIT_SEED)
    if not data.parts.validation:
        raise OptionError(
            f"--val {settings.val}: nothing is set aside to be scored: give a fraction, as in 0.3"
        )
    note = "validation is the test set here: no epoch is chosen by it, the last weights count"
    return replace(data, notes=(*data.notes, note))


def _contest(
    settings: CompareSettings,
    data: Divided,
    archs: Sequence[ArchSpec],
    seeds: tuple[int, ...],
) -> Contest:
    source, parts = data.source, data.parts
    clip = clip_of(settings.unit, source, parts.train)
    recipes = []
    for arch in archs:
        weights = settings.encoder_weights if arch.has_encoder else None
        keys = replace(settings, encoder_weights=weights)
        recipes.append(recipe_of(keys, arch.name, arch, clip, data.pixels))
        if weights is not None:  # they must fit before hours of training, not after
            build(arch, len(source.bands), len(source.classes), encoder_weights=weights)
    device = resolve_device(settings.device)
    return Contest(
        recipes=tuple(recipes),
        train=parts.train,
        test=parts.validation,
        seeds=seeds,
        cost=settings.cost,
        tile=settings.tile,
        device=str(device) if device.type == "cuda" else "cpu",
        context=_context(settings, source, device),
    )


def _context(settings: CompareSettings, source: PairSource, device: torch.device) -> str:
    """What scores depend on beside recipe, chips by name and seed."""
    values = plain(settings)
    reading = {key: values[key] for key in (*DataKeys.__dataclass_fields__, "limit_memory")}
    labels = [source.pixels(name).classes for name in source.names]
    how = [device.type, _precision(settings, device), versions()]
    return json.dumps([reading, labels, how])


def _precision(settings: CompareSettings, device: torch.device) -> str:
    return resolve_precision(settings.precision, device, agreement=1.0)


def _plan(contest: Contest) -> str:
    recipe, trainings = contest.recipe, len(contest.recipes) * len(contest.seeds)
    return (
        f"{trainings} trainings ({', '.join(contest.labels)}; seeds"
        f" {', '.join(map(str, contest.seeds))}) of"
        f" {recipe.epochs} epochs of {recipe.steps} steps of {recipe.batch} patches of"
        f" {recipe.crop} px, {recipe.loss}"
    )


def _prepare(folder: Path) -> Path:
    """The folder, made; where trainings are kept in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"-o {folder} cannot be made ({error.strerror})") from error
    return folder / KEPT


@contextmanager
def _told_how_to_go_on(keep: Path, say: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        kept = f"what is done is kept in {keep}" if keep.exists() else "no training was done yet"
        say(f"stopped: {kept}; the same command goes on with the rest")
        raise


def _fitter(settings: CompareSettings, progress: Callable[[CompareProgress], None]) -> Fitter:
    def train(recipe: Recipe, source: Source, names: Sequence[str], seed: int) -> Trained:
        def tell(at: Progress) -> None:
            done = at.steps if at.record else at.step
            progress(
                CompareProgress(
                    recipe=recipe,
                    seed=seed,
                    step=at.epoch * at.steps + done,
                    steps=at.epochs * at.steps,
                )
            )

        return fit(recipe, source, names, seed, run=run_of(settings, progress=tell))

    return train


def _about(
    settings: CompareSettings, contest: Contest, notes: Sequence[str], command: str
) -> dict[str, str]:
    device = resolve_device(settings.device)
    return {
        "data": "; ".join(" ".join(line.split()) for line in notes),
        "loss and learning": _learning(contest.recipe),
        "trained in": f"{_precision(settings, device)} on {device.type}",
        "machine": machine(device),
        "versions": versions(),
        "command": f"`{command}`" if command else "not known",
    }


def _learning(recipe: Recipe) -> str:
    return (
        f"{recipe.loss}, {recipe.optimizer}, {recipe.schedule}; the learning rate is that of the"
        " table, the rest is the same for all"
    )
