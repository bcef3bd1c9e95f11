"""Which label belongs to which image: by stem, less what all stems of a folder share."""

from __future__ import annotations

import glob
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geounet.errors import DataError

RASTERS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".jp2", ".vrt", ".img", ".mat")
"""Suffixes of what is read as pixels."""
VECTORS = (".gpkg", ".geojson", ".json", ".shp", ".fgb")
"""Suffixes of what is read as polygons."""

_BOUNDARY = re.compile(r"[_\-. ]")
_CANDIDATES = 6  # affixes that are tried on each side of each folder: more are never shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Affix:
    """What is taken off a stem to get its key."""

    prefix: str = ""
    """From its start, where it has that."""
    suffix: str = ""
    """From its end, where it has that."""

    def __str__(self) -> str:
        return f"{self.prefix}*{self.suffix}"

    def key(self, stem: str) -> str:
        """The stem without the affixes."""
        return stem.removeprefix(self.prefix).removesuffix(self.suffix) or stem


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Files that belong together."""

    pairs: tuple[tuple[str, Path, Path], ...]
    """Key, first file, second file."""
    rule: str
    """How they were matched, for the user."""
    lonely: tuple[Path, ...] = ()
    """First files without a second."""
    spare: tuple[Path, ...] = ()
    """Second files without a first."""
    doubled: tuple[str, ...] = ()
    """Keys that several files of one side have."""


def list_files(where: str | Path, suffixes: Sequence[str]) -> tuple[Path, ...]:
    """Files of a folder, of a glob, or the one file, sorted.

    Raises:
        DataError: There are none.
    """
    path = Path(where)
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix.lower() in suffixes and p.name[0] != "."]
    elif path.exists():
        found = [path]
    else:
        found = [Path(p) for p in glob.glob(str(where), recursive=True) if Path(p).is_file()]  # noqa: PTH207  absolute patterns, too
    if not found:
        what = f"holds no {' '.join(suffixes)} file" if path.is_dir() else "does not exist"
        raise DataError(f"{where} {what}: check the path")
    return tuple(sorted(found))


def match(firsts: Sequence[Path], seconds: Sequence[Path]) -> Matching:
    """Pair two lists of files by stem.

    Equal stems come first. Else affixes that at least half of the stems of a list share, up to a
    ``_``, ``-``, ``.`` or space, are taken off (``21_training`` and ``21_manual1`` are ``21``):
    those with which most files find a mate, and of these the shortest. One file and one file are
    always a pair.
    """
    if len(firsts) == len(seconds) == 1:
        pair = (firsts[0].stem, firsts[0], seconds[0])
        return Matching(pairs=(pair,), rule=f"{firsts[0].name} with {seconds[0].name}")
    one, other = _best([p.stem for p in firsts], [p.stem for p in seconds])
    left, right = _keyed(firsts, one), _keyed(seconds, other)
    both = [key for key in left if key in right]
    doubled = [key for side in (left, right) for key, files in side.items() if len(files) > 1]
    how = "same stem" if one == other == Affix() else f"{one} with {other}"
    return Matching(
        pairs=tuple((key, left[key][0], right[key][0]) for key in both),
        rule=how,
        lonely=tuple(f for key, files in left.items() if key not in right for f in files),
        spare=tuple(f for key, files in right.items() if key not in left for f in files),
        doubled=tuple(dict.fromkeys(doubled)),
    )


def _keyed(files: Sequence[Path], affix: Affix) -> dict[str, list[Path]]:
    keyed: dict[str, list[Path]] = {}
    for path in files:
        keyed.setdefault(affix.key(path.stem), []).append(path)
    return keyed


def _best(left: Sequence[str], right: Sequence[str]) -> tuple[Affix, Affix]:
    def rank(pair: tuple[Affix, Affix]) -> tuple[int, int]:
        ours, theirs = ({a.key(s) for s in side} for a, side in zip(pair, (left, right)))  # noqa: B905
        trimmed = sum(len(a.prefix) + len(a.suffix) for a in pair)
        lost = len(left) + len(right) - len(ours) - len(theirs)
        return len(ours & theirs) - lost, -trimmed

    return max(itertools.product(_affixes(left), _affixes(right)), key=rank)


def _affixes(stems: Sequence[str]) -> list[Affix]:
    prefixes: Counter[str] = Counter()
    suffixes: Counter[str] = Counter()
    for stem in stems:
        cuts = [found.start() for found in _BOUNDARY.finditer(stem)]
        prefixes.update(stem[: cut + 1] for cut in cuts)
        suffixes.update(stem[cut:] for cut in cuts)
    return [
        Affix(prefix=prefix, suffix=suffix)
        for prefix in _common(prefixes, len(stems))
        for suffix in _common(suffixes, len(stems))
    ]


def _common(counts: Counter[str], total: int) -> list[str]:
    shared = [text for text, count in counts.items() if 2 * count > total > 1]
    return ["", *sorted(shared, key=len)[:_CANDIDATES]]
