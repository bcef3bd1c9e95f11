"""Which bands of an image are read, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geounet.bands import GRAY, canonical_name, placeholder, placeholder_in
from geounet.bands.names import plain
from geounet.errors import BandError
from geounet.scene import SceneInfo

_GRAYS = ("gray", "grey")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """The input of the network, in channel order."""

    names: tuple[str, ...]
    """Canonical where there is such a name, see :func:`choose_bands`."""
    indices: tuple[int, ...]
    """1-based bands of the file."""


def choose_bands(info: SceneInfo, option: str | None) -> Bands:
    """The bands that are asked for, or all that are not alpha.

    Names are canonical where the description is such a name or holds one and no other band does,
    else the description; ``gray`` for the only band where nothing is known; ``band1 band2 ...``, by
    their place without alpha, where nothing is known or two would be called the same.

    Raises:
        BandError: ``option`` is not ``NAME=INDEX,...`` or names a band that the file does not have.
    """
    if option is not None:
        return _given(option, len(info.bands), info.source)
    indices = tuple(i for i, band in enumerate(info.bands, start=1) if not band.is_alpha)
    texts = [info.bands[i - 1].name.strip() for i in indices]
    if len(texts) == 1:
        return Bands(names=(_only(texts[0], info.name),), indices=indices)
    names = [_one_of(texts, place) for place in range(1, len(texts) + 1)]
    if len({plain(name) for name in names}) < len(names):
        names = [placeholder(place) for place in range(1, len(names) + 1)]
    return Bands(names=tuple(names), indices=indices)


def _only(text: str, stem: str) -> str:
    if found := canonical_name(text):
        return found
    unknown = text == stem or not _tells(text, 1)  # the reader calls the only band by its file
    return GRAY if unknown or plain(text) in _GRAYS else text


def _one_of(texts: Sequence[str], place: int) -> str:
    text, found = texts[place - 1], [canonical_name(text) for text in texts]
    canonical = found[place - 1]
    if canonical is not None and found.count(canonical) == 1:
        return canonical
    return text if _tells(text, place) else placeholder(place)


def _tells(text: str, place: int) -> bool:
    """Whether a description is a name, and one that ``--bands`` can hold."""
    writable = text.isprintable() and not set(text) & set(",=")
    return bool(writable and plain(text) and placeholder_in(text) != placeholder(place))


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
