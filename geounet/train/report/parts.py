"""The parts of a report, each as a piece of HTML; one without content is empty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from geounet.classes import ClassScheme
from geounet.metrics import NO_BOUNDARY
from geounet.train.report.charts import bar, dots
from geounet.train.report.pictures import HEADS, legend, pictures
from geounet.train.scoring.bootstrap import Estimate
from geounet.train.scoring.gallery import Patch
from geounet.train.scoring.scores import ClassScores, SetScores
from geounet.train.scoring.tally import TOLERANCES

_DOTTED = 3  # groups: with fewer there is nothing to see
_CELLS = 16  # classes: a larger matrix is given as numbers in the JSON only


def tiles(scores: SetScores) -> str:
    """The scores that people ask for first, in large type."""
    second = scores.classes[1]
    two = len(scores.classes) == 2
    first = [("mean IoU", scores.mean_iou), ("accuracy", scores.accuracy)]
    if two:
        first = [(f"IoU of {second.name}", second.iou), (f"F1 of {second.name}", second.f1)]
    edges = second.boundary_f1 if two else scores.mean_boundary_f1
    entries = [*first, (f"boundary F1 at {TOLERANCES[1]} px", edges[1])]
    if scores.auc is not None:
        entries.append(("area under ROC", scores.auc))
    return f'<div class="tiles">{"".join(_tile(*entry) for entry in entries)}</div>'


def class_table(scores: SetScores, scheme: ClassScheme) -> str:
    """Every score of every class with its interval."""
    edges = "".join(f"<th>boundary<br>F1, {t} px</th>" for t in TOLERANCES)
    head = (
        '<tr><th>class</th><th class="left">IoU</th><th></th><th>F1</th><th>precision</th>'
        f"<th>recall</th>{edges}<th>labelled<br>pixels</th></tr>"
    )
    rows = [_class_row(c, d.color) for c, d in zip(scores.classes, scheme, strict=True)]
    means = (scores.mean_f1, None, None, *scores.mean_boundary_f1)
    cells = "".join(_cell(value) for value in means)
    mean = bar(scores.mean_iou, "var(--accent)")
    rows.append(
        f'<tr class="mean"><td>mean</td><td class="left bar">{mean}</td>{_cell(scores.mean_iou)}'
        f"{cells}<td>{scores.pixels:,}</td></tr>"
    )
    note = (
        f"{scores.chips:,} chips in {len(scores.groups):,} groups; {scores.ignored:,} pixels"
        " without label or data do not count. Small figures and whiskers are 95 % confidence"
        " intervals: groups drawn again and again."
    )
    if len(scores.groups) < 2:
        note = f"{scores.chips:,} chips of one group: there is no interval over groups."
    if unseen := scores.without_boundary:
        note = f"{note} {NO_BOUNDARY[:1].upper()}{NO_BOUNDARY[1:]}: {escape(', '.join(unseen))}."
    return f'<table>{head}{"".join(rows)}</table><p class="note">{note}</p>'


def confusion(scores: SetScores) -> str:
    """Where the labelled pixels of each class went, in per cent of the class."""
    names = [c.name for c in scores.classes]
    if len(names) > _CELLS:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = [
        f"<tr><th>{escape(name)}</th>{''.join(_shares([row[i] for row in scores.confusion]))}</tr>"
        for i, name in enumerate(names)
    ]
    return (
        f'<table class="matrix"><tr><th class="left">labelled \\ predicted</th>{head}</tr>'
        f"{''.join(rows)}</table>"
    )


def by_group(scores: SetScores) -> str:
    """The mean IoU of each group, and the worst by name."""
    if len(scores.groups) < _DOTTED:
        return ""
    named = [(_name(group.chips), group) for group in scores.groups]
    known = [entry for entry in named if not math.isnan(entry[1].mean_iou)]
    lowest = sorted(known, key=lambda entry: entry[1].mean_iou)[:6]
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{group.mean_iou:.3f}</td><td>{group.accuracy:.3f}</td>"
        f"<td>{group.pixels:,}</td></tr>"
        for name, group in lowest
    )
    chart = dots("Mean IoU of each group", [(name, group.mean_iou) for name, group in named])
    return (
        f'<div class="charts"><div>{chart}</div><div><table><tr><th>lowest</th><th>mean IoU</th>'
        f"<th>accuracy</th><th>pixels</th></tr>{rows}</table></div></div>"
    )


def gallery(title: str, patches: Sequence[Patch], scheme: ClassScheme) -> str:
    """Patches under a heading, each as four pictures."""
    if not patches:
        return ""
    heads = "".join(f"<span>{head}</span>" for head in HEADS)
    figures = "".join(_figure(patch, scheme) for patch in patches)
    return f'<h3>{escape(title)}</h3><div class="heads">{heads}</div>{figures}'


def swatches(scheme: ClassScheme) -> str:
    """The legend of the pictures."""
    entries = "".join(f"<li>{_swatch(color)}{escape(text)}</li>" for text, color in legend(scheme))
    return f'<ul class="legend">{entries}</ul>'


def values(content: Mapping[str, Any]) -> str:
    """Names and values as a table; a mapping within is written with a dot."""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in _flat(content)
    )
    return f'<table class="values">{rows}</table>' if rows else ""


def _tile(name: str, estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return f'<div class="tile"><span>{escape(name)}</span><b>&ndash;</b></div>'
    inside = "" if math.isnan(estimate.low) else f"{estimate.low:.3f} &ndash; {estimate.high:.3f}"
    return (
        f'<div class="tile"><span>{escape(name)}</span><b>{estimate.value:.3f}</b>'
        f"<span>{inside}</span></div>"
    )


def _class_row(scores: ClassScores, color: str) -> str:
    others = (scores.f1, scores.precision, scores.recall, *scores.boundary_f1)
    return (
        f'<tr><td class="name">{_swatch(color)}{escape(scores.name)}</td>'
        f'<td class="left bar">{bar(scores.iou, color)}</td>'
        f"{''.join(map(_cell, (scores.iou, *others)))}<td>{scores.labelled:,}</td></tr>"
    )


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "<td></td>"
    if math.isnan(estimate.value):
        return "<td>&ndash;</td>"
    inside = f"{estimate.low:.3f} &ndash; {estimate.high:.3f}"
    small = "" if math.isnan(estimate.low) else f"<small>{inside}</small>"
    return f"<td>{estimate.value:.3f}{small}</td>"


def _shares(counts: Sequence[int]) -> Iterator[str]:
    total = sum(counts)
    for count in counts:
        share = count / total if total else 0.0
        strong = " strong" if share > 0.5 else ""
        text = f"{share:.1%}" if total else "&ndash;"
        yield (
            f'<td class="cell{strong}" style="--a:{share:.3f}">{text}<small>{count:,}</small></td>'
        )


def _figure(patch: Patch, scheme: ClassScheme) -> str:
    images = "".join(
        f'<img src="{uri}" alt="{head}" title="{head}">' for head, uri in pictures(patch, scheme)
    )
    row, col = patch.corner
    place = f"row {row}, column {col}; " if patch.corner != (0, 0) else ""
    return (
        f'<figure class="patch">{images}<figcaption><b>{escape(patch.chip)}</b>: {place}'
        f"mean IoU {patch.score:.2f}, {patch.wrong:.1%} of the pixels wrong</figcaption></figure>"
    )


def _swatch(color: str) -> str:
    return f'<span class="swatch" style="background:{escape(color)}"></span>'


def _name(chips: Sequence[str]) -> str:
    return chips[0] if len(chips) == 1 else f"{chips[0]} and {len(chips) - 1} more"


def _flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield f"{before}{name}", text
