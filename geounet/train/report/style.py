"""How reports and plots look: one palette, for bright and for dark rooms."""

from __future__ import annotations

SERIES = 8
"""Colours of series, ``--s0`` to ``--s7``: Okabe & Ito's, which colour-blind people tell apart."""

_LIGHT = """
 --paper: #faf9f6; --card: #ffffff; --ink: #23272b; --faint: #666d74; --line: #dedcd5;
 --accent: #1b6ca8; --heat: #1b6ca8; --track: #ebe9e3;
 --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #b0609a; --s4: #b78a00; --s5: #3f9fd8;
 --s6: #8a5a2b; --s7: #6b7078;"""

_DARK = """
 --paper: #14171a; --card: #1c2024; --ink: #e7e5df; --faint: #9aa1a8; --line: #343a40;
 --accent: #5fb0e8; --heat: #2878b0; --track: #2a2f34;
 --s0: #4da3e0; --s1: #f08a3c; --s2: #35c49b; --s3: #d78fc1; --s4: #e2bd3a; --s5: #8ccdf2;
 --s6: #c99a6b; --s7: #a3a9b1;"""

COLORS = f":root {{{_LIGHT} }}\n@media (prefers-color-scheme: dark) {{ :root {{{_DARK} }} }}\n"
"""Custom properties."""

CHART = """
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
 fill: var(--faint); }
svg .head { font-weight: 600; fill: var(--ink); }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .mark { stroke: var(--faint); stroke-dasharray: 3 3; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .casing { fill: none; stroke: var(--faint); stroke-width: 3.4; opacity: .45; }
"""
"""Rules for the charts, also of those that stand alone."""

PAGE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui,
 -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 36px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 0 0 14px; }
h3 { font-size: 14px; margin: 22px 0 8px; color: var(--faint); font-weight: 600; }
p { margin: 6px 0; max-width: 100ch; }
.faint, .note { color: var(--faint); }
.note { font-size: 13px; }
section, .tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
section { padding: 22px 24px; margin-top: 20px; overflow-x: auto; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px;
 margin-top: 24px; }
.tile { padding: 14px 18px; }
.tile b { display: block; font-size: 28px; line-height: 1.25; font-weight: 650;
 font-variant-numeric: tabular-nums; }
.tile span { color: var(--faint); font-size: 13px; display: block; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 24px; }
svg { display: block; max-width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; color: var(--faint); font-size: 13px;
 vertical-align: bottom; }
td, th { padding: 7px 8px; border-bottom: 1px solid var(--line); text-align: right; }
tr:last-child td, tr:last-child th { border-bottom: 0; }
td:first-child, th:first-child, .left { text-align: left; }
.name, th { white-space: nowrap; }
td small { display: block; color: var(--faint); font-size: 11.5px; white-space: nowrap; }
tr.mean td { font-weight: 600; } tr.mean small { font-weight: 400; }
.swatch { display: inline-block; width: 14px; height: 14px; border-radius: 4px; margin-right: 8px;
 vertical-align: -2px; border: 1px solid color-mix(in srgb, var(--ink) 30%, transparent); }
.bar { min-width: 120px; } .bar svg { min-width: 110px; }
.matrix { width: auto; }
.matrix td.cell { text-align: center; min-width: 74px; padding: 7px 4px; border: 0;
 border-radius: 8px; background: color-mix(in srgb, var(--heat) calc(var(--a) * 100%),
 var(--track)); }
.matrix td.strong, .matrix td.strong small { color: #fff; }
.matrix { border-collapse: separate; border-spacing: 4px; }
.matrix th { border: 0; vertical-align: middle; } .matrix tr:first-child th { text-align: center; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 14px; padding: 0;
 list-style: none; font-size: 14px; }
.patch { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; margin: 0 0 20px; }
.patch img { width: 100%; display: block; border-radius: 6px; image-rendering: pixelated; }
.patch figcaption { grid-column: 1 / -1; font-size: 13px; color: var(--faint); }
.patch figcaption b { color: var(--ink); font-weight: 600; }
.heads { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; font-size: 13px;
 color: var(--faint); font-weight: 600; margin-bottom: 4px; }
.values td { text-align: left; vertical-align: top; overflow-wrap: anywhere; }
.values td:first-child { color: var(--faint); white-space: nowrap; width: 1%; }
summary { cursor: pointer; font-size: 18px; font-weight: 600; }
details[open] summary { margin-bottom: 12px; }
footer { color: var(--faint); font-size: 13px; margin-top: 24px; }
@media (max-width: 620px) { .patch, .heads { grid-template-columns: repeat(2, 1fr); }
 .heads { display: none; } main { padding: 20px 12px; } section { padding: 16px 14px; } }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
"""Rules for the page."""
