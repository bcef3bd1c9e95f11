"""Bands: canonical names, how each sensor spells them, and how values become network input."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geounet.errors import BandError, OptionError

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
_NUMBERED = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:SR_|TOA_)?B(?:AND)?[ _]?0?(\d{1,2}A?)(?![A-Za-z0-9])", re.IGNORECASE
)
_WORDS = re.compile(r"[^A-Za-z0-9]+")
_PLACEHOLDER = re.compile(r"band[ _]?\d+", re.IGNORECASE)
_LONGEST = 3  # words in a name: "short wave infrared 1" is written in many ways, but not in more
_LISTED = 16  # bands that a message lists
_QUALITY = ("qa_aerosol", "qa_pixel", "qa_radsat", "scl", "cld", "snw", "msk")
_NO_MEASUREMENT = frozenset({"alpha", "angle", "aot", "lia", "wvp", *_QUALITY})
"""Names of bands that come with a scene and are no channel of a sensor."""


def canonical_name(text: str) -> str | None:
    """The canonical name a band description spells out, or None (``"SWIR-1"`` -> ``"swir1"``)."""
    return _whole_name(text) or _name_within(text)


def band_number(text: str) -> str | None:
    """The sensor band number in a description (``"T32_B08_10m"`` -> ``"B8"``).

    A bare ``Band 3``, as many tools write it when they know nothing, is not one.
    """
    if _PLACEHOLDER.fullmatch(text.strip()):
        return None
    found = _NUMBERED.findall(text)
    numbers = {f"B{number.upper()}" for number in found}
    return numbers.pop() if len(numbers) == 1 else None


def match_bands(
    needed: Sequence[str], descriptions: Sequence[str | None], *, hint: str = ""
) -> tuple[int, ...]:
    """Which band of the scene answers each needed band.

    By name where every needed band is named, else by the band numbers of a sensor. A sensor counts
    only where it has all of the numbers (``B8A`` is no Landsat), and, where ``hint`` names sensors,
    only if it is one of those: numbers that mean other bands are never guessed.

    Args:
        needed: Canonical names, in the model's order.
        descriptions: One text a band of the scene (None or empty: unknown).
        hint: File names and tags in which a sensor may be named, those to trust most in the first
            line; the descriptions come before it.

    Returns:
        1-based band indices, one for each of ``needed``.

    Raises:
        BandError: A band is missing, two bands claim to be it, or two sensors' numbering would
            give different answers.
    """
    texts = [d or "" for d in descriptions]
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


def lacking_bands(
    needed: Sequence[str], descriptions: Sequence[str | None], *, hint: str = ""
) -> tuple[str, ...]:
    """The bands that no band of a scene can be; empty where those without a name could be them.

    Args:
        needed: As for :func:`match_bands`, and so are the others.
        descriptions: One text a band.
        hint: In which a sensor may be named.
    """
    texts = [d or "" for d in descriptions]
    missing = tuple(name for name in needed if not _named(name, texts))
    nameless = [text for text in texts if text.strip().casefold() not in _NO_MEASUREMENT]
    unknown = sum(canonical_name(text) is None for text in nameless)
    numbers = _numbers(texts)
    for sensor in _possible_sensors(numbers, f"{' '.join(texts)}\n{hint}"):
        without = tuple(n for n in missing if not _bearers(n, numbers, SENSORS[sensor]))
        if numbers and len(without) <= len(missing):
            missing = without
            unknown = sum(not (canonical_name(text) or band_number(text)) for text in nameless)
    return missing if unknown < len(missing) else ()


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
        picked = match_bands(needed, names, hint=hint)
    except BandError as error:
        missing = [name for name in needed if not _named(name, names)]
        why = str(error).split(":", maxsplit=1)[0] if "the model needs" not in str(error) else ""
        raise BandError(
            f"--bands {text} does not say which band is {' '.join(missing or needed)}"
            f"{why and f' ({why})'}: write --bands {_example(needed)}"
        ) from None
    return tuple(given[names[i - 1]] for i in picked)


def _whole_name(text: str) -> str | None:
    """The canonical name that the text is, apart from case and separators."""
    plain = _plain(text)
    return next((n for n, o in COMMON_NAMES.items() if plain == n.lower() or plain in o), None)


def _name_within(text: str) -> str | None:
    """The one canonical name among the words of a text; the longest reading of them wins.

    ``"Red edge (705 nm)"`` is rededge1 and not red; one letter is never a name.
    """
    words = [word for word in _WORDS.split(text) if word]
    hits: set[str] = set()
    start = 0
    while start < len(words):
        for size in range(min(_LONGEST, len(words) - start), 0, -1):
            joined = "".join(words[start : start + size])
            name = _whole_name(joined) if len(joined) > 1 else None
            if name is not None:
                hits.add(name)
                break
        start += size
    return hits.pop() if len(hits) == 1 else None


def _named(name: str, texts: Sequence[str]) -> list[int]:
    """1-based bands that claim to be ``name``; a text that is the name beats one that holds it."""
    whole = [i for i, t in enumerate(texts, 1) if t and _means(name, t)]
    found = whole or [i for i, t in enumerate(texts, 1) if _name_within(t) == name]
    if not found and name in _SUBSTITUTES:
        return _named(_SUBSTITUTES[name], texts)
    return found


def _means(name: str, text: str) -> bool:
    return _plain(text) == _plain(name) or _whole_name(text) == name


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
    return [s for s in _hinted(hint) or SENSORS if set(numbers) <= set(SENSORS[s])]


def _hinted(hint: str) -> list[str]:
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


def _plain(text: str) -> str:
    return _WORDS.sub("", text).lower()


def _listing(texts: Sequence[str]) -> str:
    named = [f"{i}={t}" if t else f"{i}" for i, t in enumerate(texts, start=1)]
    noun = "band" if len(texts) == 1 else "bands"
    listed = " ".join(named[:_LISTED]) + (" ..." if len(named) > _LISTED else "")
    return f"{len(texts)} {noun} ({listed}{'' if any(texts) else ', without names'})"


def _example(needed: Sequence[str]) -> str:
    return ",".join(f"{name}={i}" for i, name in enumerate(needed, start=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class BandSpec:
    """One input band of a model, with the statistics it was trained with."""

    name: str
    """Canonical name, see :data:`COMMON_NAMES`."""
    mean: float
    """Mean of the training pixels, in the model's unit."""
    std: float
    """Standard deviation, > 0, in the model's unit."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.std) and self.std > 0):
            raise OptionError(
                f"band {self.name!r}: mean {self.mean} and std {self.std} must be finite, std > 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalizer:
    """Turns stored values into network input: ``(clip(v * scale + offset, lo, hi) - mean) / std``.

    ``scale`` and ``offset`` come from the scene (stored value -> physical unit), the rest from the
    model. All arrays are float32 of shape (bands,).
    """

    scale: NDArray[np.float32]
    """Multiplies the stored value; first axis is the band."""
    offset: NDArray[np.float32]
    """Added after the scale."""
    low: float
    """Lower clip, in the model's unit."""
    high: float
    """Upper clip, in the model's unit."""
    mean: NDArray[np.float32]
    """Training mean, in the model's unit."""
    std: NDArray[np.float32]
    """Training standard deviation, in the model's unit."""

    @classmethod
    def of(
        cls,
        bands: Sequence[BandSpec],
        clip: tuple[float, float],
        scale: Sequence[float] | None = None,
        offset: Sequence[float] | None = None,
    ) -> Normalizer:
        """From a model's bands and a scene's scale and offset (default: values are in the unit)."""
        count = len(bands)
        return cls(
            scale=np.asarray([1.0] * count if scale is None else scale, np.float32),
            offset=np.asarray([0.0] * count if offset is None else offset, np.float32),
            low=clip[0],
            high=clip[1],
            mean=np.asarray([b.mean for b in bands], np.float32),
            std=np.asarray([b.std for b in bands], np.float32),
        )

    def physical(self, data: NDArray[np.generic]) -> NDArray[np.float32]:
        """Stored values (bands, ...) in the model's unit, not clipped."""
        shape = (-1,) + (1,) * (data.ndim - 1)
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and clipped by the model
            scaled = data.astype(np.float32) * self.scale.reshape(shape)
            return scaled + self.offset.reshape(shape)

    def __call__(
        self, data: NDArray[np.generic], valid: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Network input (bands, height, width); pixels that are not valid become 0, the mean."""
        shape = (-1,) + (1,) * (data.ndim - 1)
        clipped = np.clip(self.physical(data), self.low, self.high)
        out = (clipped - self.mean.reshape(shape)) / self.std.reshape(shape)
        return out if valid is None else np.where(valid, out, np.float32(0))
