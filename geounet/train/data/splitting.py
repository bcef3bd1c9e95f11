"""Training and validation, by whole groups."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geounet.errors import DataError, OptionError
from geounet.train.data.groups import common_ground
from geounet.train.data.match import RASTERS, list_files
from geounet.train.data.onmap import MapSource
from geounet.train.data.opening import Say
from geounet.train.data.pairs import PairSource
from geounet.train.data.problems import listing

_DRAWS = 256  # splits that are tried
_BEST = 64  # of them are looked at for their room for patches

Val = float | str | Path | Sequence[str]
"""A fraction, names of chips or images, or a folder or file that names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Names of chips."""

    train: tuple[str, ...]
    """What is learnt from."""
    validation: tuple[str, ...]
    """What tells which epoch is best; empty: nothing does."""


def split(source: PairSource, val: Val, seed: int, *, say: Say | None = None) -> Split:
    """Set chips aside for validation.

    Args:
        source: The data.
        val: A fraction of the pixels (0: none): whole groups, those of 256 random choices that come
            nearest to the fraction in every class. Else names of chips or images; a folder with
            files of their stems; or a file that lists them (a JSON list, or a line each).
        seed: Another seed gives another split.
        say: Is told the sizes, and where training and validation share some ground.

    Raises:
        OptionError: A fraction that is not from 0 to below 1.
        DataError: Fewer than two groups, names that are not there, or nothing left to train on.
    """
    if isinstance(val, (int, float)):
        chosen = _fraction(source, float(val), seed)
    else:
        chosen = _named(source, val)
    kept_aside = set(chosen)
    train = tuple(name for name in source.names if name not in kept_aside)
    if not train:
        raise DataError("all chips are set aside for validation: leave some to train on")
    result = Split(train=train, validation=tuple(n for n in source.names if n in kept_aside))
    for line in _told(source, result) if say else ():
        say(line)  # type: ignore[misc]
    return result


def _fraction(source: PairSource, fraction: float, seed: int) -> list[str]:
    if not 0 <= fraction < 1:
        raise OptionError(f"--val {fraction:g}: give a fraction from 0 to below 1, as in 0.2")
    groups = source.groups
    if fraction == 0:
        return []
    if len(groups) < 2:
        raise DataError(
            "all chips are one group, so none can be set aside for validation: give more images or"
            " a smaller --patch, say with --groups what belongs together, or train with --val 0"
        )
    counts = np.array([_counts(source, group) for group in groups], float)
    places = np.array([source.position(group[0]) for group in groups])
    rng = np.random.default_rng(seed)
    sizes = counts.sum(axis=1)
    draws = [_draw(sizes, fraction, _order(places, rng)) for _ in range(_DRAWS)]
    best = min(
        sorted(draws, key=lambda inside: _miss(counts, inside, fraction))[:_BEST],
        key=lambda inside: _miss(counts, inside, fraction) + _cramped(source, inside),
    )
    return [name for i in np.flatnonzero(best) for name in groups[i]]


def _counts(source: PairSource, names: Sequence[str]) -> list[int]:
    return np.sum([source.pixels(name).classes for name in names], axis=0).tolist()  # type: ignore[no-any-return]


def _order(places: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Groups in random order; of a cut scene, every other time from one block outwards.

    Blocks here and there would leave no room for a patch between them.
    """
    if not places[:, 1:].any() or rng.random() < 0.5:
        return rng.permutation(len(places))
    first = places[rng.integers(len(places))]
    far = np.hypot(*(places[:, 1:] - first[1:]).T) + 1e3 * (places[:, 0] != first[0])
    return np.asarray(np.argsort(far + rng.random(len(far)), kind="stable"))


def _cramped(source: PairSource, inside: NDArray[np.bool_]) -> float:
    names = [n for i in np.flatnonzero(~inside) for n in source.groups[i]]
    return source.cramped(names)


def _draw(
    sizes: NDArray[np.float64], fraction: float, order: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Groups in this order until the fraction is reached, or nearly."""
    inside = np.zeros(len(sizes), bool)
    left = fraction * sizes.sum()
    for i in order:
        if not inside.any() or sizes[i] <= 2 * left:
            inside[i] = True
            left -= sizes[i]
        if left <= 0:
            break
    if inside.all():
        inside[order[-1]] = False
    return inside


def _miss(counts: NDArray[np.float64], inside: NDArray[np.bool_], fraction: float) -> float:
    """How far the shares of the classes in validation are from the fraction; 1 a class not learnt.

    In logarithms, so that half as much is as bad as twice as much.
    """
    total = counts.sum(axis=0)
    share = counts[inside].sum(axis=0)[total > 0] / total[total > 0]
    lost = (share >= 1).sum() + (share <= 0).sum()
    off = np.abs(np.log(np.clip(share, 1e-3, 1) / fraction)).mean()
    size = counts[inside].sum() / counts.sum()
    return float(10 * lost + off + abs(np.log(size / fraction)))


def _named(source: PairSource, val: str | Path | Sequence[str]) -> list[str]:
    wanted = [str(v) for v in val] if not isinstance(val, (str, Path)) else _listed(Path(val))
    found = {text: source.named(text) for text in wanted}
    missing = [text for text, names in found.items() if not names]
    if missing:
        raise DataError(
            f"--val names what is not among the images: {listing(missing)}; validation images must"
            " be among --images and have labels, too"
        )
    return [name for names in found.values() for name in names]


def _listed(path: Path) -> list[str]:
    if path.is_dir():
        return [p.stem for p in list_files(path, RASTERS)]
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = json.loads(text) if path.suffix.lower() == ".json" else text.split()
        flat = [n for one in names for n in (one if isinstance(one, list) else [one])]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"--val {path} is no fraction, folder or list of names ({error}): as in --val 0.2"
        ) from error
    return [str(name) for name in flat]


def _told(source: PairSource, result: Split) -> list[str]:
    parts = []
    for what, names in (("training", result.train), ("validation", result.validation)):
        size = sum(source.size(name) for name in names)
        parts.append(f"{what} {len(names)} chips ({size / 1e6:.2f} Mpx)")
    lines = [", ".join(parts)]
    aside = set(result.validation)
    torn = [g for g in source.groups if 0 < len(aside.intersection(g)) < len(g)]
    if torn:
        lines.append(
            f"warning: {len(torn)} groups are in training and validation, so scores will be too"
            f" good: {listing(' '.join(g[:4]) for g in torn)}"
        )
    if shared := _shared_ground(source, aside):
        lines.append(
            f"warning: {len(shared)} validation chips lie on the same ground as training chips, so"
            f" scores will be too good: {listing(shared)}"
        )
    return lines


def _shared_ground(source: PairSource, aside: set[str]) -> list[str]:
    """Validation chips that overlap a training chip of another image."""
    if not isinstance(source, MapSource):
        return []
    blocks = source.content.blocks
    found = set()
    for pair in common_ground(blocks, source.content.pairs):
        names = [blocks[i].name for i in pair]
        inside = [name for name in names if name in aside]
        if len(inside) == 1:
            found.add(inside[0])
    return sorted(found)
