"""Architectures side by side: the same chips, the same budget, the same seeds.

The recipe is the same for all but for the learning rate, which may suit the kind of architecture (a
rate that is right for one may be too large for another, which its spread over the seeds then
shows), and for the weights that an encoder begins with.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from geounet.errors import OptionError, OutputError
from geounet.spec import ArchSpec
from geounet.staging import Staging
from geounet.train.compare.cost import Cost, measure
from geounet.train.compare.memory import Load
from geounet.train.fit import Trained, fit
from geounet.train.predict import predictor
from geounet.train.recipe import Recipe
from geounet.train.run import silent
from geounet.train.scoring.bootstrap import Estimate
from geounet.train.scoring.scores import SetScores, score
from geounet.train.scoring.tally import TOLERANCES
from geounet.train.source import Source

Fitter = Callable[[Recipe, Source, Sequence[str], int], Trained]
"""Trains a recipe on the named chips with a seed, as :func:`geounet.train.fit.fit` does."""

MeasureCost = Callable[[Mapping[str, ArchSpec], Load], Mapping[str, Cost]]
"""Measures architectures by label, as :func:`geounet.train.compare.cost.measure` does."""


OWN = ("name", "arch", "learning_rate", "encoder_weights")
"""What of a recipe may be an architecture's own; the rest is the budget of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What is compared, and on what."""

    recipes: tuple[Recipe, ...]
    """One an architecture, at least one; they differ in :data:`OWN` alone."""
    train: tuple[str, ...]
    """Chips to train on."""
    test: tuple[str, ...]
    """Chips to score, none of which is trained on, nor is an epoch chosen by them."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Each architecture is trained once with each."""
    cost: bool = True
    """Whether operations, time and memory are measured."""
    tile: int = 512
    """Side of the tile on which time and memory are measured, in pixels."""
    device: str = "cpu"
    """Where networks are scored, and time and memory measured: ``cpu`` or ``cuda:N``."""
    context: str = ""
    """What else scores depend on, as text: how images are read, precision, versions. Trainings that
    were kept from another context do not count."""

    def __post_init__(self) -> None:
        if not (self.recipes and self.seeds):
            raise OptionError("nothing to compare: give at least one architecture and one seed")
        _once("architecture", [str(recipe.arch) for recipe in self.recipes])
        _once("seed", list(map(str, self.seeds)))
        if wrong := [seed for seed in self.seeds if not 0 <= seed < 2**32]:
            raise OptionError(f"seed {wrong[0]} must be 0 to {2**32 - 1}")
        if both := sorted(set(self.train) & set(self.test)):
            raise OptionError(f"{both[0]} is both trained on and scored: keep them apart")
        for recipe in self.recipes[1:]:
            if differ := sorted(_budget(recipe).items() - _budget(self.recipes[0]).items()):
                raise OptionError(
                    f"{recipe.arch.name} has another {differ[0][0]} than"
                    f" {self.recipes[0].arch.name}: give all the same"
                )

    @property
    def recipe(self) -> Recipe:
        """The first: the budget of all."""
        return self.recipes[0]

    @property
    def labels(self) -> dict[str, Recipe]:
        """Name of each architecture in the tables; with its size where the name is not enough."""
        names = [recipe.arch.name for recipe in self.recipes]
        return {
            r.arch.name if names.count(r.arch.name) == 1 else str(r.arch): r for r in self.recipes
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training, scored."""

    seed: int
    """Of the training."""
    scores: Mapping[str, float]
    """By the names of :data:`METRICS`; NaN where one cannot be computed."""
    loss: float
    """Mean training loss of the last epoch."""
    seconds: float
    """Wall time of the training."""
    notes: tuple[str, ...] = ()
    """What was done to need less memory, which others may not have needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One architecture, all seeds."""

    label: str
    """Its name in the tables."""
    recipe: Recipe
    """What it is, and how it was trained."""
    cost: Cost | None
    """What it takes; None: not measured."""
    trials: tuple[Trial, ...]
    """One a seed."""

    @property
    def arch(self) -> ArchSpec:
        """What it is."""
        return self.recipe.arch

    def values(self, metric: str) -> list[float]:
        """A score, one value a seed, in their order."""
        return [trial.scores[metric] for trial in self.trials]


METRICS = ("iou", "dice", *(f"boundary_f1_{t}px" for t in TOLERANCES))
"""Of the second of two classes; means over the classes where there are more."""


def compare(
    contest: Contest,
    source: Source,
    *,
    train: Fitter = fit,
    cost: MeasureCost = measure,
    keep: Path | None = None,
    say: Callable[[str], None] = silent,
) -> tuple[Entrant, ...]:
    """Train each architecture with each seed and score it on chips that it has not seen.

    Seeds are the outer loop, so that a comparison that is stopped has compared something.

    Args:
        contest: Architectures, chips, budget, seeds.
        source: Where chips come from.
        train: Trains. It must not look at the test chips.
        cost: Measures, where the contest asks for it.
        keep: File that gets a line of JSON for each finished training. Those that it already holds
            from the same contest are not trained again.
        say: Is told of each training that is done, in a line.

    Raises:
        OptionError: A recipe that one of the architectures cannot have.
        OutputError: ``keep`` cannot be read or written.
    """
    labels, store = contest.labels, _Store(keep)
    trials: dict[str, list[Trial]] = {label: [] for label in labels}
    count = len(labels) * len(contest.seeds)
    for number, (seed, label) in enumerate(product(contest.seeds, labels), 1):
        key = _fingerprint(labels[label], contest, source, seed)
        kept = store.find(key)
        trial = kept or _try(labels[label], source, contest, seed, train)
        if kept is None:
            store.add(key, label, trial)
        trials[label].append(trial)
        told = f"{label}, seed {seed}: {_told(trial)}"
        say(f"{number} of {count}: {told}{' (kept from before)' if kept else ''}")
        for note in trial.notes:
            say(f"{label}, seed {seed}: {note}")
    costs: Mapping[str, Cost] = {}
    if contest.cost:
        say("measuring operations, time and memory")
        costs = cost({k: recipe.arch for k, recipe in labels.items()}, _load(contest, source))
    return tuple(
        Entrant(label=label, recipe=recipe, cost=costs.get(label), trials=tuple(trials[label]))
        for label, recipe in labels.items()
    )


def headline(scores: SetScores) -> dict[str, float]:
    """The :data:`METRICS` of a set of scores."""
    second = scores.classes[1]
    two = len(scores.classes) == 2
    edges = second.boundary_f1 if two else scores.mean_boundary_f1
    first = (second.iou, second.f1) if two else (scores.mean_iou, scores.mean_f1)
    estimates: tuple[Estimate, ...] = (*first, *edges)
    return {name: e.value for name, e in zip(METRICS, estimates, strict=True)}


def _once(what: str, values: Sequence[str]) -> None:
    if twice := [value for value in values if values.count(value) > 1]:
        raise OptionError(f"{what} {twice[0]} is given twice: give each once")


def _budget(recipe: Recipe) -> dict[str, str]:
    """What must be the same for all."""
    return {key: repr(value) for key, value in asdict(recipe).items() if key not in OWN}


def _load(contest: Contest, source: Source) -> Load:
    return Load(
        bands=len(source.bands),
        classes=len(source.classes),
        tile=contest.tile,
        batch=contest.recipe.batch,
        crop=contest.recipe.crop,
        device=contest.device,
    )


def _try(recipe: Recipe, source: Source, contest: Contest, seed: int, train: Fitter) -> Trial:
    trained = train(recipe, source, contest.train, seed)
    predict = predictor(trained.network.to(contest.device), trained.normalize)
    scores = score(predict, source, contest.test, draws=0)
    return Trial(
        seed=seed,
        scores=headline(scores),
        loss=trained.loss,
        seconds=round(trained.seconds, 1),
        notes=trained.notes,
    )


def _told(trial: Trial) -> str:
    shown = {k: "-" if math.isnan(v) else f"{v:.3f}" for k, v in trial.scores.items()}
    values = ", ".join(f"{name} {text}" for name, text in shown.items())
    return f"{values} ({trial.seconds:.0f} s)"


def _fingerprint(recipe: Recipe, contest: Contest, source: Source, seed: int) -> str:
    """Equal for equal trainings on equal chips, by their names."""
    chips = [source.bands, source.classes.names, contest.train, contest.test]
    about = [asdict(recipe), *chips, seed, contest.context]
    return hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()[:16]


class _Store:
    """Finished trainings in a file, a line each, which is complete at any moment."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lines: list[dict[str, Any]] = []
        self._known: dict[str, Trial] = {}
        if path is not None and path.exists():
            self._read(path)

    def find(self, key: str) -> Trial | None:
        return self._known.get(key)

    def add(self, key: str, label: str, trial: Trial) -> None:
        self._known[key] = trial
        self._lines.append({"key": key, "label": label, **_plain(trial)})
        if self._path is None:
            return
        with Staging() as staging:
            try:
                text = "".join(f"{json.dumps(line)}\n" for line in self._lines)
                staging.stage(self._path).write_text(text, encoding="utf-8")
            except OSError as error:
                raise OutputError(f"{self._path} cannot be written ({error.strerror})") from error
            staging.commit()

    def _read(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            self._lines = [json.loads(line) for line in lines]
            self._known = {line["key"]: _trial(line) for line in self._lines}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path} holds no trainings of a comparison ({' '.join(str(error).split())[:100]}):"
                " remove it or give another name"
            ) from error


def _plain(trial: Trial) -> dict[str, Any]:
    scores = {k: None if math.isnan(v) else v for k, v in trial.scores.items()}
    return {**asdict(trial), "scores": scores}


def _trial(line: Mapping[str, Any]) -> Trial:
    return Trial(
        seed=int(line["seed"]),
        scores={k: math.nan if v is None else float(v) for k, v in line["scores"].items()},
        loss=float(line["loss"]),
        seconds=float(line["seconds"]),
        notes=tuple(line["notes"]),
    )
