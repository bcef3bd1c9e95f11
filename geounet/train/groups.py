"""Folds of whole groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geounet.errors import OptionError


def split_groups(
    groups: Sequence[Sequence[str]], folds: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    """Chips in ``folds`` parts of about the same size.

    Law: a group is never split, and every chip is in exactly one part.

    Args:
        groups: Names of the chips that belong together.
        folds: How many parts, at least 2.
        seed: Another seed gives other parts.

    Raises:
        OptionError: Fewer groups than parts, or fewer than two parts.
    """
    if not 2 <= folds <= len(groups):
        raise OptionError(f"{folds} folds of {len(groups)} groups: give 2 to {len(groups)}")
    order = np.random.default_rng(seed).permutation(len(groups))
    parts: list[list[str]] = [[] for _ in range(folds)]
    for index in sorted(order, key=lambda i: -len(groups[i])):  # large first; ties at random
        min(parts, key=len).extend(groups[index])
    return tuple(tuple(part) for part in parts)
