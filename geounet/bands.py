"""Bands: canonical names, how each sensor spells them, and how values become network input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
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
    },
    "Landsat 4-7": {
        "B1": "blue",
        "B2": "green",
        "B3": "red",
        "B4": "nir",
        "B5": "swir1",
        "B7": "swir2",
    },
}
"""Sensor -> its band numbers -> canonical name."""

_HINTS: Mapping[str, re.Pattern[str]] = {
    "Sentinel-2": re.compile(r"S2[ABCD]_|SENTINEL-?2|\bS2\b|T\d{2}[A-Z]{3}_\d{8}T", re.IGNORECASE),
    "Landsat 8-9": re.compile(r"L[COT]0[89]_|LANDSAT[-_ ]?[89]", re.IGNORECASE),
    "Landsat 4-7": re.compile(r"L[TEM]0[4-7]_|LANDSAT[-_ ]?[4-7]", re.IGNORECASE),
}
_NUMBERED = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:SR_|TOA_)?B(?:AND)?[ _]?0?(\d{1,2}A?)(?![A-Za-z0-9])", re.IGNORECASE
)
_WORDS = re.compile(r"[^A-Za-z0-9]+")
_PLACEHOLDER = re.compile(r"band[ _]?\d+", re.IGNORECASE)


def canonical_name(text: str) -> str | None:
    """The canonical name a band description spells out, or None (``"SWIR-1"`` -> ``"swir1"``)."""
    plain = _WORDS.sub("", text).lower()
    for name, others in COMMON_NAMES.items():
        if plain == name.lower() or plain in others:
            return name
    words = [w.lower() for w in _WORDS.split(text) if w]
    hits = {name for name in COMMON_NAMES if name.lower() in words and len(name) > 1}
    return hits.pop() if len(hits) == 1 else None


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

    Args:
        needed: Canonical names, in the model's order.
        descriptions: One text a band of the scene (None or empty: unknown).
        hint: File names or tags in which a sensor may be named.

    Returns:
        1-based band indices, one for each of ``needed``.

    Raises:
        BandError: A band is missing, or two sensors' numbering would give different answers.
    """
    texts = [d or "" for d in descriptions]
    by_name = _first_of(canonical_name(t) for t in texts)
    if all(name in by_name for name in needed):
        return tuple(by_name[name] for name in needed)
    numbers = _first_of(band_number(t) for t in texts)
    answers = {
        sensor: tuple(numbers[by_canonical[name]] for name in needed)
        for sensor, table in SENSORS.items()
        if (by_canonical := {v: k for k, v in table.items()})
        and all(by_canonical.get(name) in numbers for name in needed)
    }
    named = {s: a for s, a in answers.items() if _HINTS[s].search(hint + " " + " ".join(texts))}
    choices = set((named or answers).values())
    if len(choices) == 1:
        return choices.pop()
    if choices:
        raise BandError(
            f"the band names fit {' and '.join(answers)}, which number their bands differently:"
            f" say which is which with --bands {_example(needed)}"
        )
    raise BandError(
        f"the model needs {' '.join(needed)}; the scene has {_listing(texts)}:"
        f" say which band is which with --bands {_example(needed)}"
    )


def parse_band_option(text: str, needed: Sequence[str], count: int) -> tuple[int, ...]:
    """The indices in ``--bands B02=1,B03=2,...`` (or names), for each of ``needed``.

    Raises:
        BandError: A needed band is not given, a name is unknown, or an index is not in the scene.
    """
    given: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, sep, index = item.partition("=")
        if not sep or not index.strip().isdigit():
            raise BandError(f"--bands {item!r} is not NAME=INDEX, as in {_example(needed)}")
        given[name.strip()] = int(index)
    for name, index in given.items():
        if not 1 <= index <= count:
            raise BandError(f"--bands {name}={index}: the scene has bands 1 to {count}")
    by_name = {canonical_name(name) or name: index for name, index in given.items()}
    if all(name in by_name for name in needed):
        return tuple(by_name[name] for name in needed)
    order = list(given)
    try:
        picked = match_bands(needed, order)
    except BandError:
        missing = [name for name in needed if name not in by_name]
        raise BandError(
            f"--bands {text} does not say which band is {' '.join(missing)}:"
            f" write --bands {_example(needed)}"
        ) from None
    return tuple(given[order[i - 1]] for i in picked)


def _first_of(names: Iterable[str | None]) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, name in enumerate(names, start=1):
        if name is not None:
            found.setdefault(name, index)
    return found


def _listing(texts: Sequence[str]) -> str:
    named = " ".join(f"{i}={t}" if t else f"{i}" for i, t in enumerate(texts, start=1))
    noun = "band" if len(texts) == 1 else "bands"
    return f"{len(texts)} {noun} ({named}{'' if any(texts) else ', without names'})"


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
