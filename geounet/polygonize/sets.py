"""Items listed by the set they are in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def by_set(
    set_of: NDArray[np.integer[Any]], sets: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Where each set starts in a list of all items by set, (sets + 1,), and that list.

    Items of a set keep their order.

    Args:
        set_of: (items,) the set of each.
        sets: How many there are.
    """
    start = np.concatenate([[0], np.bincount(set_of, minlength=sets).cumsum()])
    return start, np.argsort(set_of, kind="stable").astype(np.int32)
