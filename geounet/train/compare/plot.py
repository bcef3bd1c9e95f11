"""The plot of a comparison: a panel a measure, a row an architecture, a dot a seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from geounet.train.compare.contest import METRICS, Entrant
from geounet.train.compare.cost import Cost
from geounet.train.report.charts import nice_ticks, series
from geounet.train.report.style import CHART, COLORS

_ROW, _HEAD, _FOOT = 30, 44, 30
_PANEL, _GAP, _LETTER = 184, 40, 7.6  # pixels; of a letter about

_TITLES = ("IoU", "Dice", "boundary F1, 1 px", "boundary F1, 2 px", "boundary F1, 3 px")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One measure of all."""

    title: str
    values: Sequence[Sequence[float]]
    """Of each architecture."""
    from_zero: bool = False
    """Whether the axis begins at 0."""
    middle: Callable[[Sequence[float]], float] = statistics.fmean
    """What the large dot shows."""

    @property
    def ticks(self) -> list[float]:
        known = [v for row in self.values for v in row if not math.isnan(v)] or [0.0]
        return nice_ticks(0.0 if self.from_zero else min(known), max(known), 4)


def plot(entrants: Sequence[Entrant]) -> str:
    """An SVG file that is bright or dark as the page that shows it."""
    panels = _panels(entrants)
    left = 24 + _LETTER * max(len(entrant.label) for entrant in entrants)
    across = 4
    down = -(-len(panels) // across)
    height = _HEAD + _ROW * len(entrants) + _FOOT
    parts: list[str] = []
    for i, panel in enumerate(panels):
        x, y = left + (i % across) * (_PANEL + _GAP), 12 + (i // across) * (height + 8)
        if i % across == 0:
            parts.extend(_labels(entrants, left, y))
        parts.append(f'<g transform="translate({x:.0f} {y})">{"".join(_drawn(panel))}</g>')
    size = round(left + across * (_PANEL + _GAP)), 12 + down * (height + 8)
    return _document(size, parts)


def _panels(entrants: Sequence[Entrant]) -> list[_Panel]:
    scores = [
        _Panel(title=title, values=[entrant.values(metric) for entrant in entrants])
        for title, metric in zip(_TITLES, METRICS, strict=True)
    ]
    costs = [entrant.cost for entrant in entrants if entrant.cost is not None]
    return [*scores, *(_cost_panels(costs) if len(costs) == len(entrants) else ())]


def _cost_panels(costs: Sequence[Cost]) -> Iterator[_Panel]:
    measured: dict[str, list[Sequence[float]]] = {
        "Mpx/s": [cost.mpx_per_s for cost in costs],
        "peak, tile (MiB)": [[cost.peak.inference / 2**20] for cost in costs],
        "peak, training (MiB)": [[cost.peak.training / 2**20] for cost in costs],
    }
    for title, values in measured.items():
        yield _Panel(title=title, values=values, from_zero=True, middle=statistics.median)


def _labels(entrants: Sequence[Entrant], left: float, top: float) -> Iterator[str]:
    for row, entrant in enumerate(entrants):
        y = top + _HEAD + _ROW * (row + 0.5) + 4
        yield f'<text class="name" x="{left - 12:.0f}" y="{y:.0f}">{escape(entrant.label)}</text>'


def _drawn(panel: _Panel) -> Iterator[str]:
    ticks = panel.ticks
    bottom = _HEAD + _ROW * len(panel.values)
    yield f'<text class="head" x="0" y="22">{escape(panel.title)}</text>'
    for tick in ticks:
        x = _x(tick, ticks)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{_HEAD - 8}" y2="{bottom}"/>'
        yield f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
    for row, values in enumerate(panel.values):
        known = [v for v in values if not math.isnan(v)]
        if known:
            y, middle = _HEAD + _ROW * (row + 0.5), panel.middle(known)
            yield from _spread(known, ticks, y, series(row))
            yield (
                f'<circle cx="{_x(middle, ticks)}" cy="{y}" r="6" fill="{series(row)}">'
                f"<title>{middle:.4g}</title></circle>"
            )


def _spread(values: Sequence[float], ticks: Sequence[float], y: float, color: str) -> Iterator[str]:
    """Every value as a small dot, their span as a line."""
    ends = _x(min(values), ticks), _x(max(values), ticks)
    style = f'stroke="{color}" stroke-width="2" stroke-opacity=".5"'
    yield f'<line x1="{ends[0]}" x2="{ends[1]}" y1="{y}" y2="{y}" {style}/>'
    if len(values) > 1:
        for value in values:
            at = _x(value, ticks)
            yield f'<circle cx="{at}" cy="{y}" r="3" fill="{color}" fill-opacity=".45"/>'


def _x(value: float, ticks: Sequence[float]) -> float:
    return round(_PANEL * (value - ticks[0]) / (ticks[-1] - ticks[0]), 1)


def _document(size: tuple[int, int], parts: Sequence[str]) -> str:
    width, height = size
    style = (
        f"{COLORS}{CHART}svg {{ background: var(--card); }}"
        "svg .name { fill: var(--ink); text-anchor: end; font-weight: 600; }"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img"><style>{style}</style>{"".join(parts)}</svg>\n'
    )
