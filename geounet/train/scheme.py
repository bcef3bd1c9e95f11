"""The classes to learn, as a user gives them: a text, a mapping or a file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from geounet.classes import ClassDef, ClassScheme
from geounet.errors import OptionError

COLORS: Mapping[str, str] = {
    **dict.fromkeys(("background", "other", "nothing", "unlabelled"), "#d9d9d9"),
    **dict.fromkeys(("land", "dry", "ground", "no water"), "#e8e0c9"),
    **dict.fromkeys(("water", "open water", "flood", "flooded", "river", "lake"), "#2b83ba"),
    **dict.fromkeys(("forest", "tree", "trees", "tree cover", "woodland"), "#1b7837"),
    **dict.fromkeys(("grass", "grassland", "meadow"), "#a6d96a"),
    **dict.fromkeys(("crop", "crops", "cropland", "agriculture", "field"), "#f0c96c"),
    **dict.fromkeys(("built", "built-up", "building", "buildings", "urban"), "#d7301f"),
    **dict.fromkeys(("bare", "soil", "bare ground", "sand"), "#b5a48b"),
    **dict.fromkeys(("snow", "ice", "snow and ice"), "#f0f9ff"),
    **dict.fromkeys(("cloud", "clouds"), "#ffffff"),
}
"""Colour of a class by its name, where none is given."""

_OTHERS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#000000")
# Okabe & Ito 2008, Color Universal Design, https://jfly.uni-koeln.de/color/

_WRITE = "write name=code,..., as in land=0,water=1, or a file with name,code a line"


def read_classes(given: str | Mapping[str, Any]) -> ClassScheme:
    """Classes from ``land=0,water=1``, from a mapping, or from a file of either.

    A mapping is name -> code or name -> ``{code: 1, color: "#2b83ba"}``. A file is YAML or JSON
    with such a mapping, or text with ``name,code`` or ``name,code,#rrggbb`` a line (a heading is
    left out). Classes keep their order.

    Raises:
        OptionError: Anything else, fewer than two classes, or one that is there twice.
    """
    if isinstance(given, Mapping):
        return _scheme(given.items(), "classes")
    path = Path(given)
    if path.is_file():
        return _from_file(path)
    if "=" not in given:
        raise OptionError(f"--classes {given}: no such file: {_WRITE}")
    pairs = [item.rpartition("=") for item in given.split(",") if item.strip()]
    return _scheme(((name.strip(), code.strip()) for name, _, code in pairs), f"--classes {given}")


def _from_file(path: Path) -> ClassScheme:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--classes {path}: cannot be read ({error}): {_WRITE}") from error
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        import yaml

        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            line = " ".join(str(error).split())[:120]
            raise OptionError(f"--classes {path}: not readable ({line})") from error
        if not isinstance(content, Mapping):
            raise OptionError(f"--classes {path}: {_WRITE}")
        return _scheme(content.items(), f"--classes {path}")
    rows = list(csv.reader(text.replace("=", ",").splitlines(), skipinitialspace=True))
    rows = [[cell.strip() for cell in row] for row in rows if row and not row[0].startswith("#")]
    if rows and len(rows[0]) > 1 and not _whole(rows[0][1]):
        rows = rows[1:]  # a heading
    if wrong := [row for row in rows if len(row) not in (2, 3)]:
        raise OptionError(f"--classes {path}: {','.join(wrong[0])!r}: {_WRITE}")
    return _scheme(((row[0], _entry(row)) for row in rows), f"--classes {path}")


def _entry(row: list[str]) -> Any:
    return {"code": row[1], "color": row[2]} if len(row) == 3 else row[1]


def _scheme(entries: Iterable[tuple[Any, Any]], where: str) -> ClassScheme:
    classes: list[ClassDef] = []
    for name, value in entries:
        code = value.get("code") if isinstance(value, Mapping) else value
        if not _whole(code):
            raise OptionError(f"{where}: class {name} has the code {code!r}: {_WRITE}")
        color = value.get("color") if isinstance(value, Mapping) else None
        chosen = str(color).lower() if color else _color(str(name), [c.color for c in classes])
        classes.append(ClassDef(code=int(str(code)), name=str(name), color=chosen))
    try:
        return ClassScheme(classes=tuple(classes))
    except OptionError as error:
        raise OptionError(f"{where}: {error}: {_WRITE}") from error


def _color(name: str, taken: list[str]) -> str:
    usual = COLORS.get(name.lower())
    if usual and usual not in taken:
        return usual
    free = [color for color in _OTHERS if color not in taken]
    return free[0] if free else f"#{hash_color(name, len(taken)):06x}"


def hash_color(name: str, index: int) -> int:
    """A colour that depends on the name and place of a class only, 0..0xffffff."""
    import zlib

    return zlib.crc32(f"{index} {name}".encode()) & 0xFFFFFF


def _whole(code: Any) -> bool:
    return str(code).strip().isdigit() and not isinstance(code, bool)
