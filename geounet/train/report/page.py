"""The report of a training or an evaluation: one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from geounet.classes import ClassScheme
from geounet.errors import OutputError
from geounet.staging import Staging, check_outputs
from geounet.train.report import parts
from geounet.train.report.charts import Line, line_chart, series
from geounet.train.report.style import CHART, COLORS, PAGE
from geounet.train.run import EpochRecord
from geounet.train.scoring.gallery import Patch
from geounet.train.scoring.scores import SetScores

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # nothing is fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What a report tells."""

    title: str
    """Name of the model."""
    summary: str
    """One line: what it maps, what it was scored on."""
    classes: ClassScheme
    """Names and colours."""
    scores: SetScores
    """Over chips that were kept aside."""
    best: Sequence[Patch] = ()
    """Patches that went well."""
    worst: Sequence[Patch] = ()
    """Patches that did not."""
    history: Sequence[EpochRecord] = ()
    """Of the training; empty: no curves."""
    best_epoch: int | None = None
    """Whose weights were kept, from 0; None: the last's."""
    notes: Sequence[str] = ()
    """What the run had to say, one sentence each."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """All settings."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Command, data, versions, hashes."""

    def html(self) -> str:
        """The whole page."""
        body = "".join(
            f"<section><h2>{escape(head)}</h2>{content}</section>"
            for head, content in self._sections()
            if content
        )
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{escape(self.title)}</title><style>{COLORS}{CHART}{PAGE}</style></head>"
            f"<body><main><header><h1>{escape(self.title)}</h1>"
            f'<p class="faint">{escape(self.summary)}</p></header>{parts.tiles(self.scores)}{body}'
            f"{self._details()}</main></body></html>\n"
        )

    def _sections(self) -> Iterator[tuple[str, str]]:
        yield "Classes", parts.class_table(self.scores, self.classes)
        told = curves(self.history, self.classes, self.best_epoch) + self._notes()
        yield "Training" if self.history else "Notes", told
        yield "Confusion", parts.confusion(self.scores)
        yield "Groups", parts.by_group(self.scores)
        worst = parts.gallery("Worst", self.worst, self.classes)
        best = parts.gallery("Best", self.best, self.classes)
        both = worst + best
        yield "Patches", parts.swatches(self.classes) + both if both else ""

    def _notes(self) -> str:
        return "".join(f'<p class="note">{escape(note)}</p>' for note in self.notes)

    def _details(self) -> str:
        return "".join(
            f"<section><details><summary>{head}</summary>{table}</details></section>"
            for head, content in (("Settings", self.config), ("Provenance", self.provenance))
            if (table := parts.values(content))
        )


def write_report(path: str | Path, report: TrainingReport, *, overwrite: bool = False) -> Path:
    """Write a report as one HTML file.

    Raises:
        OutputError: The file exists or cannot be written.
    """
    path = Path(path)
    check_outputs([path], overwrite=overwrite)
    with Staging() as staging:
        try:
            staging.stage(path).write_text(report.html(), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror or error})") from error
        staging.commit()
    return path


def curves(history: Sequence[EpochRecord], classes: ClassScheme, best: int | None = None) -> str:
    """Loss and IoU over the epochs, the best one (from 0) marked; empty without epochs."""
    if not history:
        return ""
    mark = None if best is None else best - history[0].epoch
    loss = line_chart(
        "Loss",
        [
            Line(name="training", values=tuple(r.loss for r in history), color=series(0)),
            Line(name="validation", values=tuple(r.val_loss for r in history), color=series(1)),
        ],
        mark=mark,
    )
    iou = line_chart("IoU of the validation chips", _iou_lines(history, classes), mark=mark)
    kept = "" if best is None else f" The weights of epoch {best + 1} (dashed) were kept."
    charts = "".join(f"<div>{chart}</div>" for chart in (loss, iou) if chart)
    return f'<div class="charts">{charts}</div><p class="note">{_spent(history)}{kept}</p>'


def _spent(history: Sequence[EpochRecord]) -> str:
    seconds = sum(record.seconds for record in history)
    pixels = sum(record.pixels for record in history)
    rate = f", {pixels / seconds / 1e6:.2f} million a second" if seconds > 0 else ""
    checking = sum(record.val_seconds for record in history)
    return (
        f"{len(history)} epochs of {pixels / len(history) / 1e6:.1f} million pixels in"
        f" {_duration(seconds)}{rate}; validation took {_duration(checking)}."
    )


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _iou_lines(history: Sequence[EpochRecord], classes: ClassScheme) -> Iterator[Line]:
    for i, entry in enumerate(classes):
        values = tuple(r.val_iou[i] if r.val_iou else None for r in history)
        yield Line(name=entry.name, values=values, color=entry.color, cased=True)
    yield Line(name="mean", values=tuple(r.mean_iou for r in history), color="var(--ink)")
