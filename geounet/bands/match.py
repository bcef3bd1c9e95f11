"""Which bands of a scene answer the bands that a model needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from geounet.bands.names import (
    GRAY,
    SENSORS,
    band_number,
    canonical_name,
    name_within,
    placeholder,
    placeholder_in,
    plain,
    whole_name,
)
from geounet.errors import BandError

_SUBSTITUTES: Mapping[str, str] = {
    # STAC calls Landsat's band 5 nir08; Sentinel-2's B8A lies at the same wavelength
    "nir": "nir08",
}
_HINTS: Mapping[str, re.Pattern[str]] = {
    "Sentinel-2": re.compile(
        r"S2[ABCD]_|SENTINEL-?2|(?<![A-Za-z0-9])S2(?![A-Za-z0-9])|T\d{2}[A-Z]{3}_\d{8}T|HLS\.S30",
        re.IGNORECASE,
    ),
    "Landsat 8-9": re.compile(r"L[COT]0[89]_|LANDSAT[-_ ]?[89]|HLS\.L30", re.IGNORECASE),
    "Landsat 4-7": re.compile(r"L[TEM]0[4-7]_|LANDSAT[-_ ]?[4-7]", re.IGNORECASE),
}
_LISTED = 16  # bands that a message lists
_ALPHA = "alpha"
_QUALITY = ("qa_aerosol", "qa_pixel", "qa_radsat", "scl", "cld", "snw", "msk")
_NO_MEASUREMENT = frozenset({_ALPHA, "angle", "aot", "lia", "wvp", *_QUALITY})
"""Names of bands that come with a scene and are no channel of a sensor."""


def match_bands(
    needed: Sequence[str], descriptions: Sequence[str | None], *, hint: str = ""
) -> tuple[int, ...]:
    """Which band of the scene answers each needed band.

    By name where every needed band is named, else by the band numbers of a sensor. A sensor counts
    only where it has all of the numbers (``B8A`` is no Landsat), and, where ``hint`` names sensors,
    only if it is one of those: numbers that mean other bands are never guessed.

    Bands that had no name in training (``gray``, ``band1 band2 ...``) are found by their place, and
    only in a scene of just as many bands, where nothing says that they are others; alpha is none.

    Args:
        needed: Names, canonical where there is such a name, in the model's order.
        descriptions: One text a band of the scene (None or empty: unknown).
        hint: File names and tags in which a sensor may be named, those to trust most in the first
            line; the descriptions come before it.

    Returns:
        1-based band indices, one for each of ``needed``.

    Raises:
        BandError: A band is missing, two bands claim to be it, two sensors' numbering would give
            different answers, or bands without a name are more, fewer or others.
    """
    texts = [d or "" for d in descriptions]
    if tuple(needed) == (GRAY,):
        return (_gray(texts),)
    if _without_name(needed):
        return _by_place(needed, texts)
    return _by_meaning(needed, texts, hint)


def lacking_bands(
    needed: Sequence[str], descriptions: Sequence[str | None], *, hint: str = ""
) -> tuple[str, ...]:
    """The bands that no band of a scene can be; empty where those without a name could be them.

    A model's band without a name can be any, if there are enough.

    Args:
        needed: As for :func:`match_bands`, and so are the others.
        descriptions: One text a band.
        hint: In which a sensor may be named.
    """
    texts = [d or "" for d in descriptions]
    free = (GRAY,) if tuple(needed) == (GRAY,) else _without_name(needed)
    short = tuple(name for name in needed[len(_data(texts)) :] if name in free)
    missing = tuple(name for name in needed if name not in free and not _named(name, texts))
    nameless = [text for text in texts if text.strip().casefold() not in _NO_MEASUREMENT]
    unknown = sum(canonical_name(text) is None for text in nameless)
    numbers = _numbers(texts)
    for sensor in _possible_sensors(numbers, f"{' '.join(texts)}\n{hint}"):
        without = tuple(n for n in missing if not _bearers(n, numbers, SENSORS[sensor]))
        if numbers and len(without) <= len(missing):
            missing = without
            unknown = sum(not (canonical_name(text) or band_number(text)) for text in nameless)
    return (*(missing if unknown < len(missing) else ()), *short)


def parse_band_option(
    text: str, needed: Sequence[str], count: int, *, hint: str = ""
) -> tuple[int, ...]:
    """The indices in ``--bands B02=1,B03=2,...`` (or names), for each of ``needed``.

    Raises:
        BandError: A needed band is not given, given twice or ambiguous, or an index is not in the
            scene.
    """
    given: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, index = (part.strip() for part in (item + "=").split("=")[:2])
        if not (name and index.isdigit() and item.count("=") == 1):
            raise BandError(f"--bands {item!r} is not NAME=INDEX, as in {_example(needed)}")
        if not 1 <= int(index) <= count:
            raise BandError(f"--bands {name}={index}: the scene has bands 1 to {count}")
        if name in given:
            raise BandError(f"--bands gives {name} twice: {given[name]} and {index}")
        given[name] = int(index)
    names = list(given)
    try:
        picked = _by_meaning(needed, names, hint)
    except BandError as error:
        missing = [name for name in needed if not _named(name, names)]
        why = str(error).split(":", maxsplit=1)[0] if "the model needs" not in str(error) else ""
        raise BandError(
            f"--bands {text} does not say which band is {' '.join(missing or needed)}"
            f"{why and f' ({why})'}: write --bands {_example(needed)}"
        ) from None
    return tuple(given[names[i - 1]] for i in picked)


def _by_meaning(needed: Sequence[str], texts: Sequence[str], hint: str) -> tuple[int, ...]:
    """By names, or else by numbers."""
    named = {name: _named(name, texts) for name in needed}
    if all(named.values()):
        return tuple(_the_one(name, named[name], texts, needed) for name in needed)
    answers = _by_number(needed, texts, f"{' '.join(texts)}\n{hint}")
    if len(set(answers.values())) == 1:
        picked = next(iter(answers.values()))
        return tuple(_the_one(n, i, texts, needed) for n, i in zip(needed, picked, strict=True))
    if answers:
        raise BandError(
            f"the band names fit {' and '.join(answers)}, which number their bands differently:"
            f" say which is which with --bands {_example(needed)}"
        )
    lacking = lacking_bands(needed, texts, hint=hint)
    those = "them" if len(lacking) == len(needed) else " ".join(lacking)
    raise BandError(
        f"the model needs {' '.join(needed)}; the scene has {_listing(texts)}: "
        + (
            f"give a scene that has {those}, or another model"
            if lacking
            else f"say which band is which with --bands {_example(needed)}"
        )
    )


def _gray(texts: Sequence[str]) -> int:
    """The band that is called gray, or the only one, unless it is called otherwise."""
    found = _named(GRAY, texts) or _data(texts)
    if len(found) == 1 and not canonical_name(texts[found[0] - 1]):
        return found[0]
    remedy = "if it is that, say so" if len(found) == 1 else "say which one to read"
    raise BandError(
        f"the model needs one band, {GRAY}; the scene has {_listing(texts)}:"
        f" {remedy} with --bands {GRAY}={found[0] if found else 1}"
    )


def _by_place(needed: Sequence[str], texts: Sequence[str]) -> tuple[int, ...]:
    """Bands without a name by their place, the others by name."""
    data, without = _data(texts), _without_name(needed)
    if len(data) != len(needed):
        some = f", or say which to read with --bands {_example(needed)}"
        raise BandError(
            f"the model needs {_needs(needed)}; the scene has {_listing(texts)}: give a scene of"
            f" {_count(len(needed))}{some if len(data) > len(needed) else ''}"
        )
    found = [
        ([] if _says_other(texts[at - 1], name) else [at])
        if name in without
        else _named(name, texts)
        for name, at in zip(needed, data, strict=True)
    ]
    picked = {index for indices in found for index in indices}
    if not all(found) or len(picked) < len(needed):
        raise BandError(
            f"the model needs {_needs(needed)}; the scene has {_listing(texts)}:"
            f" say which is which with --bands {_example(needed)}"
        )
    return tuple(_the_one(n, i, texts, needed) for n, i in zip(needed, found, strict=True))


def _without_name(needed: Sequence[str]) -> tuple[str, ...]:
    """Those of a model's bands that are only called by their place."""
    return tuple(n for place, n in enumerate(needed, start=1) if n == placeholder(place))


def _says_other(text: str, name: str) -> bool:
    """Whether a description says what the band is, or gives it another place."""
    said = placeholder_in(text) or canonical_name(text) or band_number(text) or name
    return said != name


def _data(texts: Sequence[str]) -> list[int]:
    """1-based bands that are no alpha."""
    return [i for i, text in enumerate(texts, start=1) if text.strip().casefold() != _ALPHA]


def _named(name: str, texts: Sequence[str]) -> list[int]:
    """1-based bands that claim to be ``name``; a text that is the name beats one that holds it."""
    whole = [i for i, t in enumerate(texts, 1) if t and _means(name, t)]
    found = whole or [i for i, t in enumerate(texts, 1) if name_within(t) == name]
    if not found and name in _SUBSTITUTES:
        return _named(_SUBSTITUTES[name], texts)
    return found


def _means(name: str, text: str) -> bool:
    return text == name or whole_name(text) == name or (plain(text) == plain(name) != "")


def _by_number(
    needed: Sequence[str], texts: Sequence[str], hint: str
) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Sensor -> for each needed band the bands (1-based) that bear its number."""
    numbers = _numbers(texts)
    answers = {}
    for sensor in _possible_sensors(numbers, hint):
        found = tuple(_bearers(name, numbers, SENSORS[sensor]) for name in needed)
        if all(found):
            answers[sensor] = found
    return answers


def _numbers(texts: Sequence[str]) -> dict[str, list[int]]:
    """Band number -> the bands (1-based) that bear it."""
    numbers: dict[str, list[int]] = {}
    for index, text in enumerate(texts, start=1):
        if (number := band_number(text)) is not None:
            numbers.setdefault(number, []).append(index)
    return numbers


def _possible_sensors(numbers: Mapping[str, list[int]], hint: str) -> list[str]:
    """Sensors that have all of the numbers, and are named where any is."""
    return [s for s in sensors_in(hint) or SENSORS if set(numbers) <= set(SENSORS[s])]


def sensors_in(hint: str) -> list[str]:
    """The sensors named in the first line that names any."""
    for line in hint.splitlines():
        if named := [sensor for sensor, pattern in _HINTS.items() if pattern.search(line)]:
            return named
    return []


def _bearers(
    name: str, numbers: Mapping[str, list[int]], sensor: Mapping[str, str]
) -> tuple[int, ...]:
    for wanted in (name, _SUBSTITUTES.get(name)):
        for number, meaning in sensor.items():
            if meaning == wanted and number in numbers:
                return tuple(numbers[number])
    return ()


def _the_one(name: str, found: Sequence[int], texts: Sequence[str], needed: Sequence[str]) -> int:
    if len(found) == 1:
        return found[0]
    listing = " ".join(f"{i}={texts[i - 1]}" for i in found[:_LISTED])
    raise BandError(
        f"{len(found)} bands could be {name} ({listing}):"
        f" say which is which with --bands {_example(needed)}"
    )


def _needs(needed: Sequence[str]) -> str:
    """What a model needs, in words: ``red green and 2 bands without a name``."""
    count = len(_without_name(needed))
    named = [name for name in needed if name not in _without_name(needed)]
    nameless = f"{_count(count)} without a name"
    return f"{' '.join(named)} and {nameless}" if named else nameless


def _listing(texts: Sequence[str]) -> str:
    """The bands of a scene with what they are called; alpha is none of them."""
    bands = [(i, texts[i - 1]) for i in _data(texts)]
    if not bands:
        return f"none but {_ALPHA}"
    beside = f" and {_ALPHA}" if len(bands) < len(texts) else ""
    named = [f"{i}={text}" if text else f"{i}" for i, text in bands]
    listed = " ".join(named[:_LISTED]) + (" ..." if len(named) > _LISTED else "")
    unnamed = "" if any(text for _, text in bands) else ", without names"
    return f"{_count(len(bands))} ({listed}{unnamed}){beside}"


def _count(bands: int) -> str:
    return f"{bands} band" if bands == 1 else f"{bands} bands"


def _example(needed: Sequence[str]) -> str:
    return ",".join(f"{name}={i}" for i, name in enumerate(needed, start=1))
