"""What bands are called: canonical names, how each sensor spells them, and what has no name."""

from __future__ import annotations

import re
from collections.abc import Mapping

COMMON_NAMES: Mapping[str, tuple[str, ...]] = {
    "coastal": ("coastalaerosol", "coastalblue", "ultrablue", "aerosol", "deepblue"),
    "blue": ("b",),
    "green": ("g",),
    "red": ("r",),
    "rededge1": ("rededge", "rededge071"),
    "rededge2": ("rededge075",),
    "rededge3": ("rededge078",),
    "nir": ("nearinfrared", "nir1", "infrared", "n"),
    "nir08": ("nirnarrow", "nir8a", "narrownir", "nir2"),
    "nir09": ("watervapour", "watervapor"),
    "swir1": ("swir16", "shortwaveinfrared1", "swir01", "swirone"),
    "swir2": ("swir22", "shortwaveinfrared2", "swir02", "swirtwo"),
    "VV": ("sigma0vv", "gamma0vv", "vvdb", "sigma0vvdb", "gamma0vvdb"),
    "VH": ("sigma0vh", "gamma0vh", "vhdb", "sigma0vhdb", "gamma0vhdb"),
    "HH": ("sigma0hh", "gamma0hh", "hhdb"),
    "HV": ("sigma0hv", "gamma0hv", "hvdb"),
}
"""Canonical name -> other spellings, lower case, without separators (STAC ``eo`` common names)."""

SENSORS: Mapping[str, Mapping[str, str]] = {
    "Sentinel-2": {
        "B1": "coastal",
        "B2": "blue",
        "B3": "green",
        "B4": "red",
        "B5": "rededge1",
        "B6": "rededge2",
        "B7": "rededge3",
        "B8": "nir",
        "B8A": "nir08",
        "B9": "nir09",
        "B10": "",
        "B11": "swir1",
        "B12": "swir2",
    },
    "Landsat 8-9": {
        "B1": "coastal",
        "B2": "blue",
        "B3": "green",
        "B4": "red",
        "B5": "nir",
        "B6": "swir1",
        "B7": "swir2",
        **dict.fromkeys(("B8", "B9", "B10", "B11"), ""),
    },
    "Landsat 4-7": {
        "B1": "blue",
        "B2": "green",
        "B3": "red",
        "B4": "nir",
        "B5": "swir1",
        "B6": "",
        "B7": "swir2",
        "B8": "",
    },
}
"""Sensor -> all its band numbers -> canonical name; empty: a band that no model here reads."""

GRAY = "gray"
"""The only band of an image, where nothing says what it is."""

_NUMBERED = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:SR_|TOA_)?B(?:AND)?[ _]?0?(\d{1,2}A?)(?![A-Za-z0-9])", re.IGNORECASE
)
_WORDS = re.compile(r"[\W_]+")
_PLACEHOLDER = re.compile(r"band[ _]?0*(\d+)", re.IGNORECASE)
_LONGEST = 3  # words in a name: "short wave infrared 1" is written in many ways, but not in more


def placeholder(place: int) -> str:
    """What a band without a name is called: ``band1``, ``band2`` ... by its place.

    Places count from 1, without alpha. ``b1`` would be a number of a sensor.
    """
    return f"band{place}"


def placeholder_in(text: str) -> str | None:
    """The placeholder that a description is, or None (``"Band 3"`` -> ``"band3"``)."""
    found = _PLACEHOLDER.fullmatch(text.strip())
    return placeholder(int(found[1])) if found else None


def canonical_name(text: str) -> str | None:
    """The canonical name a band description spells out, or None (``"SWIR-1"`` -> ``"swir1"``)."""
    return whole_name(text) or name_within(text)


def band_number(text: str) -> str | None:
    """The sensor band number in a description (``"T32_B08_10m"`` -> ``"B8"``).

    A bare ``Band 3``, as many tools write it when they know nothing, is not one.
    """
    if placeholder_in(text):
        return None
    found = _NUMBERED.findall(text)
    numbers = {f"B{number.upper()}" for number in found}
    return numbers.pop() if len(numbers) == 1 else None


def whole_name(text: str) -> str | None:
    """The canonical name that the text is, apart from case and separators."""
    bare = plain(text)
    return next((n for n, o in COMMON_NAMES.items() if bare == n.lower() or bare in o), None)


def name_within(text: str) -> str | None:
    """The one canonical name among the words of a text; the longest reading of them wins.

    ``"Red edge (705 nm)"`` is rededge1 and not red; one letter is never a name.
    """
    words = [word for word in _WORDS.split(text) if word]
    hits: set[str] = set()
    start = 0
    while start < len(words):
        for size in range(min(_LONGEST, len(words) - start), 0, -1):
            joined = "".join(words[start : start + size])
            name = whole_name(joined) if len(joined) > 1 else None
            if name is not None:
                hits.add(name)
                break
        start += size
    return hits.pop() if len(hits) == 1 else None


def plain(text: str) -> str:
    """The text without case and separators."""
    return _WORDS.sub("", text).lower()
