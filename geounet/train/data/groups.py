"""Which chips must not be split between training and validation."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geounet.errors import DataError
from geounet.train.data.blocks import Block
from geounet.train.data.pair import Pair
from geounet.train.data.place import footprints, grouped, overlaps


def read_groups(path: Path) -> dict[str, str]:
    """Stem -> group of a JSON (list of lists, or stem -> group) or CSV (stem,group) file.

    Raises:
        DataError: It is neither, or holds nothing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): give a JSON or CSV file") from error
    groups = _from_json(text, path) if path.suffix.lower() == ".json" else _from_csv(text)
    if not groups:
        raise DataError(f"{path} holds no groups: write lines of stem,group, or lists")
    return groups


def by_file(
    blocks: Sequence[Block], stems: Sequence[Sequence[str]], groups: Mapping[str, str]
) -> tuple[list[list[int]], list[str]]:
    """Blocks in the groups of a file; an image that the file does not name is a group.

    Args:
        blocks: All chips.
        stems: What each image is called in files: key, stem of the image, stem of the label.
        groups: Stem -> group.

    Returns:
        Indices of the blocks, and the keys of the images that are in no group.
    """
    found = [next((groups[s] for s in names if s in groups), None) for names in stems]
    missing = [names[0] for names, group in zip(stems, found, strict=True) if group is None]
    together: dict[Any, list[int]] = {}
    for i, block in enumerate(blocks):
        group = found[block.pair]
        together.setdefault(block.pair if group is None else group, []).append(i)
    return grouped(len(blocks), together.values()), missing


def by_place(
    blocks: Sequence[Block], pairs: Sequence[Pair], around: Mapping[str, Any], *, on_map: bool
) -> tuple[list[list[int]], int]:
    """Blocks of one neighbourhood, and those on the same ground.

    Returns:
        Indices of the blocks, and how many of them have some ground in common with another image.
    """
    together: dict[Any, list[int]] = {}
    for i, block in enumerate(blocks):
        together.setdefault(around.get(block.name, block.name), []).append(i)
    ground = common_ground(blocks, pairs) if on_map else []
    return (
        grouped(len(blocks), [*together.values(), *ground]),
        len({i for pair in ground for i in pair}),
    )


def common_ground(blocks: Sequence[Block], pairs: Sequence[Pair]) -> list[tuple[int, int]]:
    """Indices of blocks of two images that lie on the same ground."""
    shapes = footprints([(pairs[b.pair].info.geobox, b.window) for b in blocks])
    return [(a, b) for a, b in overlaps(shapes) if blocks[a].pair != blocks[b].pair]


def _from_json(text: str, path: Path) -> dict[str, str]:
    try:
        content = json.loads(text)
        if isinstance(content, dict):
            return {str(stem): str(group) for stem, group in content.items()}
        return {str(stem): str(i) for i, group in enumerate(content) for stem in group}
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path} is no list of lists of stems ({error}): as in [[1, 2], [3]]"
        ) from error


def _from_csv(text: str) -> dict[str, str]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    return {Path(row[0]).stem: row[1] for row in rows if len(row) > 1 and row[0]}
