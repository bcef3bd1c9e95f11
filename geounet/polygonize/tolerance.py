"""How far borders may move, as people say it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from odc.geo.geobox import GeoBox

from geounet.area import metres_per_pixel
from geounet.errors import OptionError

_LENGTH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(px|m)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a simplified border may be from the exact one."""

    distance: float
    """In any unit."""
    pixel: tuple[float, float]
    """Width and height of a pixel in that unit."""


def parse_length(text: str, what: str) -> tuple[float, str]:
    """Number and unit, ``px`` or ``m``, of a text such as ``1.5``, ``1.5px`` or ``20m``.

    Raises:
        OptionError: Something else.
    """
    found = _LENGTH.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise OptionError(f"{what} {text}: give pixels, as in 1.5, or metres, as in 20m")
    return float(found[1]), found[2] or "px"


def tolerance_of(simplify: str | float | None, geobox: GeoBox) -> Tolerance | None:
    """The tolerance of a grid for what ``--simplify`` says; None: borders stay as they are.

    Raises:
        OptionError: Metres, where nobody knows how long one is.
    """
    if simplify is None:
        return None
    distance, unit = parse_length(str(simplify), "--simplify")
    if unit == "px":
        return Tolerance(distance=distance, pixel=(1.0, 1.0))
    pixel = metres_per_pixel(geobox)
    if pixel is None:
        raise OptionError(
            f"--simplify {simplify}: the raster has no CRS that says how long a metre is: give"
            " pixels, as in --simplify 1.5"
        )
    return Tolerance(distance=distance, pixel=pixel)
