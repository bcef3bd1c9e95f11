"""Charts as inline SVG: small, sharp at any size, and in the colours of the page around them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from geounet.train.report.style import SERIES
from geounet.train.scoring.bootstrap import Estimate

_WIDTH, _HEIGHT = 480, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 34, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series of a chart."""

    name: str
    """For the legend."""
    values: tuple[float | None, ...]
    """One for each step; None or NaN: a gap."""
    color: str
    """Any CSS colour."""
    cased: bool = False
    """With a grey rim, for colours that may be as pale as the paper."""


def series(index: int) -> str:
    """The CSS colour of the ``index``-th series."""
    return f"var(--s{index % SERIES})"


def line_chart(title: str, lines: Iterable[Line], *, mark: int | None = None) -> str:
    """Series over epochs, counted from 1.

    Args:
        title: Above the chart.
        lines: The series; those without a value are left out.
        mark: Step (from 0) at which a dashed line stands.
    """
    shown = [line for line in lines if any(map(_known, line.values))]
    values = [v for line in shown for v in line.values if v is not None and math.isfinite(v)]
    if not values:
        return ""
    steps = max(len(line.values) for line in shown)
    ticks = nice_ticks(min(values), max(values))
    frame = _Frame(steps=steps, low=ticks[0], high=ticks[-1])
    parts = [f'<text class="head" x="0" y="14">{escape(title)}</text>', *_axes(frame, ticks)]
    if mark is not None:
        x = frame.x(mark)
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
    for line in shown:
        parts.extend(_drawn(frame, line))
    return _svg(title, _WIDTH, _HEIGHT, parts) + _legend(shown)


def bar(estimate: Estimate, color: str) -> str:
    """A share of 1 as a bar with its interval as a whisker."""
    if math.isnan(estimate.value):
        return ""
    filled = 110 * estimate.value
    parts = [
        '<rect width="110" height="10" y="3" rx="3" fill="var(--track)"/>',
        f'<rect width="{filled:.1f}" height="10" y="3" rx="3" fill="{escape(color)}"/>',
    ]
    if not math.isnan(estimate.low):
        low, high = 110 * estimate.low, 110 * estimate.high
        ends = f"M{low:.1f} 4v8M{high:.1f} 4v8M{low:.1f} 8H{high:.1f}"
        parts.append(f'<path d="{ends}" stroke="var(--card)" stroke-width="4" fill="none"/>')
        parts.append(f'<path d="{ends}" stroke="var(--ink)" stroke-width="1.6" fill="none"/>')
    return _svg(str(estimate), 110, 16, parts)


def dots(title: str, values: Sequence[tuple[str, float]]) -> str:
    """Values of 0 to 1, one dot each, from the lowest to the highest; NaN is left out."""
    known = sorted((v, name) for name, v in values if not math.isnan(v))
    if not known:
        return ""
    frame = _Frame(steps=len(known), low=0.0, high=1.0)
    parts = [f'<text class="head" x="0" y="14">{escape(title)}</text>']
    parts.extend(_level_lines(frame, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]))
    for i, (value, name) in enumerate(known):
        parts.append(
            f'<circle cx="{frame.x(i)}" cy="{frame.y(value)}" r="4" fill="var(--accent)"'
            f' fill-opacity=".75"><title>{escape(name)}: {value:.3f}</title></circle>'
        )
    foot = _HEIGHT - _BOTTOM + 20
    parts.append(f'<text x="{_LEFT}" y="{foot}">worst</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{foot}" text-anchor="end">best</text>')
    return _svg(title, _WIDTH, _HEIGHT, parts)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers, evenly spaced, that enclose ``low..high``; about ``count`` of them."""
    span = high - low or abs(high) or 1.0
    raw = span / (count - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Where values lie in the picture."""

    steps: int
    low: float
    high: float

    def x(self, step: float) -> float:
        span = _WIDTH - _LEFT - _RIGHT
        middle = self.steps == 1  # a single point stands in the middle
        return round(_LEFT + span * (0.5 if middle else step / (self.steps - 1)), 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share, 1)


def _axes(frame: _Frame, ticks: Sequence[float]) -> Iterator[str]:
    yield from _level_lines(frame, ticks)
    marks = nice_ticks(1, max(2, frame.steps))
    for epoch in sorted({1, *(int(t) for t in marks if 1 < t <= frame.steps and t == int(t))}):
        at = frame.x(epoch - 1)
        yield f'<text x="{at}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{epoch}</text>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">epoch</text>'


def _level_lines(frame: _Frame, ticks: Sequence[float]) -> Iterator[str]:
    for tick in ticks:
        y = frame.y(tick)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>'


def _drawn(frame: _Frame, line: Line) -> Iterator[str]:
    for run in _runs(line.values):
        points = " ".join(f"{frame.x(i)},{frame.y(v)}" for i, v in run)
        if len(run) == 1:
            x, y = points.split(",")
            yield f'<circle cx="{x}" cy="{y}" r="3.5" fill="{escape(line.color)}"/>'
            continue
        if line.cased:
            yield f'<polyline class="casing" points="{points}"/>'
        yield f'<polyline class="line" stroke="{escape(line.color)}" points="{points}"/>'


def _runs(values: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    """Neighbours that are there, without the gaps."""
    run: list[tuple[int, float]] = []
    for i, value in enumerate([*values, None]):
        if value is not None and math.isfinite(value):
            run.append((i, value))
        elif run:
            yield run
            run = []


def _legend(lines: Sequence[Line]) -> str:
    entries = "".join(
        f'<li><span class="swatch" style="background:{escape(line.color)}"></span>'
        f"{escape(line.name)}</li>"
        for line in lines
    )
    return f'<ul class="legend">{entries}</ul>'


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
