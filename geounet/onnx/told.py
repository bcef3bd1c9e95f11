"""Values of a JSON that a person wrote: right, or refused with what to write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from geounet.errors import OptionError

Told = Mapping[str, Any]
"""Key -> what JSON says."""

_INFINITE = 1e38  # of float32


def needed(told: Told, key: str, example: str) -> Any:
    """What must be there; ``example`` says how it is written."""
    if key not in told:
        raise OptionError(f"{key} is missing: write {json.dumps(key)}, {example}")
    return told[key]


def choice(told: Told, key: str, choices: Sequence[str], default: Any) -> Any:
    """One of ``choices``, or the default."""
    value = told.get(key, default)
    if value not in (*choices, default):
        raise OptionError(f"{key} {value!r:.80}: choose {', '.join(choices[:-1])} or {choices[-1]}")
    return value


def text(told: Told, key: str, default: str) -> str:
    """A text that is not empty."""
    return str(typed(told, key, default, lambda v: isinstance(v, str) and v != "", "a text"))


def mapping(told: Told, key: str) -> Any:
    """A JSON object; empty where there is none."""
    return typed(told, key, {}, lambda v: isinstance(v, dict), "an object")


def flag(told: Told, key: str) -> bool:
    """True or false; false where nothing is said."""
    return bool(typed(told, key, None, lambda v: isinstance(v, bool), "true or false"))


def number(told: Told, key: str, default: float) -> float:
    """A finite number."""
    return float(typed(told, key, default, _finite, "a number"))


def whole(told: Told, key: str, least: int) -> int | None:
    """A whole number from ``least`` to 100000; None where there is none."""
    what = f"a whole number from {least} to 100000"
    found = typed(told, key, None, lambda v: type(v) is int and least <= v <= 100_000, what)
    return None if found is None else int(found)


def pair(told: Told, key: str) -> tuple[float, float] | None:
    """Two finite numbers; None where there are none."""

    def right(value: Any) -> bool:
        return isinstance(value, list) and len(value) == 2 and all(map(_finite, value))

    found = typed(told, key, None, right, "two numbers, as in [0, 1]")
    return None if found is None else (float(found[0]), float(found[1]))


def each(told: Told, key: str, default: float, count: int) -> list[float]:
    """A number for each of ``count`` bands, where one may stand for all."""
    value = told.get(key, default)
    values = value if isinstance(value, list) else [value] * count
    if len(values) != count or not all(map(_finite, values)):
        raise OptionError(f"{key}: write one number, or one for each of {count} bands")
    return [float(v) for v in values]


def typed(told: Told, key: str, default: Any, right: Callable[[Any], bool], what: str) -> Any:
    """A value that is ``right``, or the default.

    Raises:
        OptionError: It is not; ``what`` says what would be.
    """
    value = told.get(key, default)
    if key in told and not right(value):
        raise OptionError(f"{key} {value!r:.80}: write {what}")
    return value


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _INFINITE
