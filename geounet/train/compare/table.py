"""The result of a comparison as a table in Markdown, as JSON, and as a plot."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from geounet.errors import OutputError
from geounet.spec import ArchSpec
from geounet.staging import Staging, check_outputs
from geounet.train.compare.contest import METRICS, OWN, Contest, Entrant
from geounet.train.compare.plot import plot
from geounet.train.recipe import Recipe

SKIPS: Mapping[str, str] = {
    "unet": "every level, concatenated",
    "fcn": "two levels, scores summed",
    "segnet": "none; pooling indices",
    "unetplusplus": "every level, nested and dense",
    "manet": "every level, with attention",
    "linknet": "every level, summed",
    "fpn": "every level, summed",
    "pspnet": "none",
    "pan": "every level, gated and summed",
    "deeplabv3": "none",
    "deeplabv3plus": "one level, concatenated",
    "upernet": "every level, fused",
    "segformer": "every level, fused",
}
"""Name of the architecture, or of the decoder before the hyphen -> its skip connections."""

NAMES = ("IoU", "Dice", "boundary F1 at 1 px", "2 px", "3 px")
"""Heads of :data:`~geounet.train.compare.contest.METRICS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came out, and how."""

    contest: Contest
    """What was compared."""
    entrants: tuple[Entrant, ...]
    """In the order in which they were given."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Data, command, machine, versions: written as they are."""

    def to_json(self) -> str:
        """Everything, as JSON text; what cannot be computed, or was not measured, is null."""
        contest = self.contest
        content = {
            "about": dict(self.about),
            "seeds": list(contest.seeds),
            "train_chips": list(contest.train),
            "test_chips": list(contest.test),
            "tile": contest.tile,
            "recipe": {k: v for k, v in asdict(contest.recipe).items() if k not in OWN},
            "architectures": [_entry(entrant) for entrant in self.entrants],
        }
        return json.dumps(without_nan(content), indent=1, default=str) + "\n"

    def markdown(self, picture: str | None = None) -> str:
        """The table, what it says in words, and how it came about; ``picture`` is shown."""
        contest = self.contest
        many = len(contest.seeds)
        budget = (
            f"{len(contest.train)} chips to train on, {len(contest.test)} others to score;"
            f" {contest.recipe.steps * contest.recipe.epochs} steps of {contest.recipe.batch}"
            f" patches of {contest.recipe.crop} px; seeds {', '.join(map(str, contest.seeds))}."
            f" {'Mean and standard deviation over the seeds. ' if many > 1 else ''}Bold: the best"
            f" mean.{self._how_measured() if self._costs() else ''}"
        )
        parts = [self._table(), *(["\n".join(self.findings())] if len(self.entrants) > 1 else [])]
        if picture:
            parts.append(f"![Scores, speed and memory of the architectures]({picture})")
        known = [f"* {name}: {_plain(value)}" for name, value in self.about.items()]
        known.extend(f"* {line}" for line in self._notes())
        return "\n\n".join([*parts, budget, *(["\n".join(known)] if known else [])]) + "\n"

    def text(self) -> str:
        """The scores for people who read them in a terminal."""
        rows = [
            ("", *NAMES),
            *(
                (entrant.label, *(spread_text(entrant.values(m)) for m in METRICS))
                for entrant in self.entrants
            ),
        ]
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(wide[0]), *map(str.rjust, row[1:], wide[1:])]) for row in rows
        ]
        return "\n".join(lines)

    def findings(self) -> list[str]:
        """One line a score: which is best, by how much, and whether that is more than chance.

        A lead that is not larger than the spread of either of the two over the seeds is none.
        """
        return [f"* {name}: {self._finding(m)}" for name, m in zip(_LONG, METRICS, strict=True)]

    def _finding(self, metric: str) -> str:
        ranked = sorted(self.entrants, key=lambda e: -_mean(e.values(metric)))
        ranked = [e for e in ranked if not math.isnan(_mean(e.values(metric)))]
        if len(ranked) < 2:
            return "too few values to compare."
        first, second = ranked[:2]
        pairs = list(zip(first.values(metric), second.values(metric), strict=True))
        ahead = _mean(first.values(metric)) - _mean(second.values(metric))
        spreads = [s for e in (first, second) if not math.isnan(s := _spread(e.values(metric)))]
        if ahead <= max(spreads, default=0.0):
            return (
                f"no telling {first.label} from {second.label}: {ahead:.3f} between them, within"
                " their spread over the seeds."
            )
        won = sum(a > b for a, b in pairs)
        return (
            f"{first.label} is best, {ahead:.3f} above {second.label}; it is the better of the two"
            f" with {won} of {len(pairs)} seeds."
        )

    def _notes(self) -> Iterator[str]:
        """What was not the same for all."""
        for entrant in self.entrants:
            if weights := _weights(entrant.recipe):
                yield f"{entrant.label}: the encoder begins with {weights}"
            for trial in entrant.trials:
                yield from (f"{entrant.label}, seed {trial.seed}: {note}" for note in trial.notes)

    def _how_measured(self) -> str:
        return (
            f" Speed: the network alone on a tile of {self.contest.tile} px in float32, median;"
            " peaks: beyond what an interpreter with torch takes, for a tile and for training."
        )

    def _costs(self) -> dict[str, list[str]]:
        """Head -> column; nothing where costs were not measured."""
        costs = [entrant.cost for entrant in self.entrants if entrant.cost is not None]
        if len(costs) < len(self.entrants):
            return {}
        return {
            "parameters": [_short(cost.parameters) for cost in costs],
            "FLOPs a pixel": [_short(cost.flops_per_pixel) for cost in costs],
            "Mpx/s": [f"{cost.speed:.2f}" for cost in costs],
            "peak, tile": [_mib(cost.peak.inference) for cost in costs],
            "peak, training": [_mib(cost.peak.training) for cost in costs],
        }

    def _table(self) -> str:
        costs = self._costs()
        head = ("architecture", "skip connections", *NAMES, *costs, "learning rate")
        columns = [
            [entrant.label for entrant in self.entrants],
            [skips(entrant.arch) for entrant in self.entrants],
            *(self._column([entrant.values(m) for entrant in self.entrants]) for m in METRICS),
            *costs.values(),
            [f"{entrant.recipe.learning_rate:g}" for entrant in self.entrants],
        ]
        rule = ["---", "---", *["---:"] * (len(head) - 2)]
        rows = [head, rule, *zip(*columns, strict=True)]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    @staticmethod
    def _column(values: Sequence[Sequence[float]]) -> list[str]:
        """Mean and spread of each row's values, the best mean in bold."""
        means = [_mean(v) for v in values]
        best = max((m for m in means if not math.isnan(m)), default=math.nan)
        return [
            f"**{spread_text(v)}**" if m == best and len(values) > 1 else spread_text(v)
            for v, m in zip(values, means, strict=True)
        ]


_MARKS = re.compile(r"[\\`*_<|\[]")  # of Markdown, within a line

_LONG = ("IoU", "Dice", "Boundary F1 at 1 px", "Boundary F1 at 2 px", "Boundary F1 at 3 px")


def write_comparison(
    folder: str | Path, comparison: Comparison, *, name: str = "compare", overwrite: bool = False
) -> tuple[Path, Path, Path]:
    """Write ``NAME.md``, ``NAME.json`` and ``NAME.svg``, which the first one shows.

    Raises:
        OutputError: One of them exists, or cannot be written.
    """
    markdown, data, picture = (Path(folder) / f"{name}{end}" for end in (".md", ".json", ".svg"))
    check_outputs([markdown, data, picture], overwrite=overwrite)
    contents = {
        markdown: comparison.markdown(picture.name),
        data: comparison.to_json(),
        picture: plot(comparison.entrants),
    }
    with Staging() as staging:
        for path, text in contents.items():
            try:
                staging.stage(path).write_text(text, encoding="utf-8")
            except OSError as error:
                raise OutputError(f"{path} cannot be written ({error.strerror})") from error
        staging.commit()
    return markdown, data, picture


def skips(arch: ArchSpec) -> str:
    """What is known of the skip connections of an architecture."""
    return SKIPS.get(arch.name.partition("-")[0], "not known")


def spread_text(values: Sequence[float]) -> str:
    """Mean and, of several, the sample standard deviation."""
    known = [v for v in values if not math.isnan(v)]
    if not known:
        return "-"
    spread = f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.3f}{spread}"


def _entry(entrant: Entrant) -> dict[str, Any]:
    scores = {
        metric: {"mean": _mean(values), "spread": _spread(values), "seeds": values}
        for metric in METRICS
        for values in [entrant.values(metric)]
    }
    cost = entrant.cost
    return {
        "label": entrant.label,
        "arch": asdict(entrant.arch),
        "learning_rate": entrant.recipe.learning_rate,
        "encoder_weights": _weights(entrant.recipe),
        "skip_connections": skips(entrant.arch),
        "scores": scores,
        "seconds": [trial.seconds for trial in entrant.trials],
        "notes": [list(trial.notes) for trial in entrant.trials],
        "loss": [trial.loss for trial in entrant.trials],
        "cost": None if cost is None else {**asdict(cost), "mpx_per_s_median": cost.speed},
    }


def _plain(value: Any) -> str:
    """Text that Markdown shows as it is; code is code."""
    text = str(value)
    return text if text.startswith("`") else _MARKS.sub(r"\\\g<0>", text)


def _weights(recipe: Recipe) -> str | None:
    """Name of the weights that its encoder begins with, without a folder."""
    return None if recipe.encoder_weights is None else Path(recipe.encoder_weights).name


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return statistics.fmean(known) if known else math.nan


def _spread(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return statistics.stdev(known) if len(known) > 1 else math.nan


def _short(value: float) -> str:
    for power, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= power:
            return f"{value / power:.3g}{unit}"
    return f"{value:.3g}"


def _mib(value: int) -> str:
    return f"{value / 2**20:.0f} MiB"


def without_nan(value: Any) -> Any:
    """The same with None for NaN, which JSON does not have."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {k: without_nan(v) for k, v in value.items()}
    return [without_nan(v) for v in value] if isinstance(value, list | tuple) else value
