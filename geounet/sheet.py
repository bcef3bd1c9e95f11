"""The sheet of a quick-look: two pictures, title, legend and scale bar, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Point = tuple[float, float]

_PAPER: Color = (255, 255, 255)
_INK: Color = (33, 37, 41)
_FAINT: Color = (108, 114, 120)
_FRAME: Color = (205, 205, 202)
_Font = Any  # FreeTypeFont, or the bitmap font of a Pillow without FreeType


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """What goes into the picture."""

    scene: Image.Image
    """The scene in colour."""
    classes: Image.Image
    """The class map, the same size."""
    title: str
    """First line, large."""
    subtitle: str
    """Second line, small."""
    caption: str
    """How the colours of the scene were made."""
    legend: tuple[tuple[str, Color], ...]
    """Text and colour of each class."""
    metres: float | None
    """Ground width of a picture pixel in metres; None: no scale bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where everything goes, in pixels from the upper left corner."""

    unit: int
    """Size of the type, and measure of all distances."""
    size: tuple[int, int]
    """Of the whole sheet."""
    scene: tuple[int, int]
    """Corner of the scene."""
    classes: tuple[int, int]
    """Corner of the class map."""
    legend: tuple[Point, ...]
    """Corner of each entry."""

    @property
    def margin(self) -> int:
        return 2 * self.unit


def draw_sheet(sheet: Sheet) -> Image.Image:
    """The finished picture, as wide as its two pictures need (one above the other if wide)."""
    layout = _lay_out(sheet)
    image = Image.new("RGB", layout.size, _PAPER)
    draw = ImageDraw.Draw(image)
    _headings(draw, sheet, layout)
    for corner, picture, caption in (
        (layout.scene, sheet.scene, f"Scene: {sheet.caption}"),
        (layout.classes, sheet.classes, "Class map"),
    ):
        _picture(image, corner, picture, caption, layout.unit)
    if sheet.metres is not None:
        _scale_bar(image, layout, sheet.scene, sheet.metres)
    _legend(draw, sheet, layout)
    return image


def nice_length(limit: float) -> float:
    """The largest of 1, 2, 5 x 10**n that is not above ``limit`` (> 0)."""
    power = math.floor(math.log10(limit)) - 1  # one lower: the logarithm may round up
    steps = [float(f"{digit}e{power + more}") for more in (0, 1, 2) for digit in (1, 2, 5)]
    return max(step for step in steps if step <= limit)


def _lay_out(sheet: Sheet) -> _Layout:
    width, height = sheet.scene.size
    unit = min(max(max(width, height) // 45, 13), 26)
    margin, caption, gap = 2 * unit, round(1.9 * unit), round(1.4 * unit)
    stacked = width > 1.9 * height
    sheet_width = max(2 * margin + (width if stacked else 2 * width + gap), 36 * unit)
    top = margin + round(4.1 * unit) + caption
    second = (margin, top + height + gap + caption) if stacked else (margin + width + gap, top)
    below = second[1] + height + round(1.3 * unit)
    legend = _flow(sheet.legend, unit, (margin, below), sheet_width - margin)
    bottom = legend[-1][1] + 1.4 * unit if legend else below
    return _Layout(
        unit=unit,
        size=(sheet_width, round(bottom + 1.5 * unit)),
        scene=(margin, top),
        classes=second,
        legend=legend,
    )


def _flow(
    entries: Sequence[tuple[str, Color]], unit: int, start: Point, right: float
) -> tuple[Point, ...]:
    """Corners of the legend's entries, filled in row by row in columns of one width."""
    font = _font(unit)
    column = max((font.getlength(text) for text, _ in entries), default=0) + 4 * unit
    columns = max(1, int((right - start[0] + 1.5 * unit) // column))
    return tuple(
        (start[0] + (i % columns) * column, start[1] + (i // columns) * 1.9 * unit)
        for i in range(len(entries))
    )


def _headings(draw: ImageDraw.ImageDraw, sheet: Sheet, layout: _Layout) -> None:
    unit, room = layout.unit, layout.size[0] - 2 * layout.margin
    big, small = _font(round(1.7 * unit)), _font(round(0.9 * unit))
    top = layout.margin - unit // 2
    draw.text((layout.margin, top), _fit(sheet.title, big, room), _INK, big)
    lower = (layout.margin, top + round(2.4 * unit))
    draw.text(lower, _fit(sheet.subtitle, small, room), _FAINT, small)


def _picture(
    image: Image.Image, corner: tuple[int, int], picture: Image.Image, caption: str, unit: int
) -> None:
    draw, font = ImageDraw.Draw(image), _font(unit)
    x, y = corner
    room = max(picture.width, 12 * unit)
    draw.text((x, y - round(1.6 * unit)), _fit(caption, font, room), _INK, font)
    image.paste(picture, corner)
    draw.rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=_FRAME)


def _scale_bar(image: Image.Image, layout: _Layout, picture: Image.Image, metres: float) -> None:
    """White on a dark, half-transparent plate in the lower left corner of the scene."""
    unit, font = layout.unit, _font(layout.unit)
    length = nice_length(metres * picture.width * 0.3)
    label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    bar = length / metres
    plate = round(max(bar, font.getlength(label)) + 1.2 * unit), round(2.6 * unit)
    if plate[0] > picture.width or plate[1] > picture.height:
        return  # a picture smaller than its scale bar
    left = layout.scene[0] + unit // 2
    top = layout.scene[1] + picture.height - plate[1] - unit // 2
    dark = Image.new("RGB", plate, (20, 24, 28))
    box = (left, top, left + plate[0], top + plate[1])
    image.paste(Image.blend(image.crop(box), dark, 0.62), (left, top))
    draw = ImageDraw.Draw(image)
    x, y = left + 0.6 * unit, top + 2.05 * unit
    draw.text((x, top + 0.3 * unit), label, _PAPER, font)
    thick = max(2, unit // 7)
    draw.rectangle((x, y, x + bar, y + thick), fill=_PAPER)
    for end in (x, x + bar - thick):
        draw.rectangle((end, y - 0.35 * unit, end + thick, y + thick), fill=_PAPER)


def _legend(draw: ImageDraw.ImageDraw, sheet: Sheet, layout: _Layout) -> None:
    unit, font = layout.unit, _font(layout.unit)
    for (x, y), (text, color) in zip(layout.legend, sheet.legend, strict=True):
        draw.rounded_rectangle(
            (x, y + 0.1 * unit, x + 1.5 * unit, y + 1.15 * unit), unit // 5, color, _FRAME
        )
        draw.text((x + 2.1 * unit, y), text, _INK, font)


def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def _fit(text: str, font: _Font, room: float) -> str:
    """The text, its middle left out where it would not fit."""
    if font.getlength(text) <= room:
        return text
    keep = len(text) - 1
    while keep > 2 and font.getlength(_shortened(text, keep)) > room:
        keep -= 1
    return _shortened(text, keep)


def _shortened(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return f"{text[:head]}...{text[len(text) - (keep - head) :]}"
