"""The sum of losses, as a text says it."""

from __future__ import annotations

import math

from geounet.errors import OptionError

LOSSES = ("ce", "dice", "focal", "jaccard", "lovasz", "tversky")
"""Terms that a loss may be the sum of."""


def parse_loss(text: str) -> tuple[tuple[float, str], ...]:
    """Factors and terms of a text such as ``ce+dice`` or ``0.7*ce + 0.3*lovasz``.

    Raises:
        OptionError: An unknown term, one that is there twice, or a factor that is not above 0.
    """
    terms = tuple(_term(part.strip(), text) for part in text.split("+"))
    names = [name for _, name in terms]
    if len(set(names)) < len(names):
        raise OptionError(f"loss {text!r}: {max(names, key=names.count)} is there twice")
    return terms


def _term(part: str, text: str) -> tuple[float, str]:
    factor, star, name = part.rpartition("*")
    name = name.strip()
    if name not in LOSSES:
        raise OptionError(
            f"loss {text!r}: {name!r} is not one of {', '.join(LOSSES)}: write a sum of them,"
            " as in ce+dice or 0.7*ce+0.3*lovasz"
        )
    try:
        weight = float(factor) if star else 1.0
    except ValueError:
        weight = math.nan
    if not (weight > 0 and math.isfinite(weight)):
        raise OptionError(f"loss {text!r}: the factor {factor!r} of {name} is no number above 0")
    return weight, name
