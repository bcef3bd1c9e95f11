"""Which bands of an image are read, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass

from geounet.bands import canonical_name
from geounet.errors import BandError
from geounet.scene import SceneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """The input of the network, in channel order."""

    names: tuple[str, ...]
    """Canonical where there is such a name."""
    indices: tuple[int, ...]
    """1-based bands of the file."""


def choose_bands(info: SceneInfo, option: str | None) -> Bands:
    """The bands that are asked for, or all that are not alpha.

    Names are canonical where the description is such a name or holds one, else the description;
    ``gray`` for the only band of a picture; ``b1 b2 ...`` where nothing is known or two would be
    called the same.

    Raises:
        BandError: ``option`` is not ``NAME=INDEX,...`` or names a band that the file does not have.
    """
    if option is not None:
        return _given(option, len(info.bands), info.source)
    indices = tuple(i for i, band in enumerate(info.bands, start=1) if not band.is_alpha)
    names = [_name(info.bands[i - 1].name, i, len(info.bands), info.name) for i in indices]
    if len(set(names)) < len(names):
        names = [f"b{i}" for i in indices]
    return Bands(names=tuple(names), indices=indices)


def _name(described: str, index: int, count: int, stem: str) -> str:
    text = described.strip()
    if found := canonical_name(text):
        return found
    if count == 1 and text in ("", stem):  # the reader calls the only band by its file
        return "gray"
    return text if text and text.isprintable() and "," not in text else f"b{index}"


def _given(option: str, count: int, source: str) -> Bands:
    names: list[str] = []
    indices: list[int] = []
    for item in filter(None, (part.strip() for part in option.split(","))):
        name, _, index = (part.strip() for part in item.partition("="))
        if not (name and index.isdigit()):
            raise BandError(f"--bands {item!r} is not NAME=INDEX, as in red=1,green=2,blue=3")
        if not 1 <= int(index) <= count:
            raise BandError(f"--bands {item}: {source} has bands 1 to {count}")
        names.append(canonical_name(name) or name)
        indices.append(int(index))
    if not names or len(set(names)) < len(names):
        raise BandError(f"--bands {option!r} must give at least one name, and none of them twice")
    return Bands(names=tuple(names), indices=tuple(indices))
