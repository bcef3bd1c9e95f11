"""The next batches are read while the network works on this one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from geounet.pipeline import Ahead

_AHEAD = 3  # batches


class PrefetchLoader(DataLoader[dict[str, Any]]):
    """A loader whose batches come from one thread, in the same order, at most three ahead.

    A thread and not processes: it shares the cache of decoded pixels, and numpy copies without
    the interpreter's lock. It ends with the iteration, however that ends; what it raises is raised
    where the batch is asked for.
    """

    def __iter__(self) -> Any:
        """The batches."""
        # made here, not in the thread: it may draw from torch's generator
        return _ahead(super().__iter__())


def _ahead(batches: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    with Ahead(batches, depth=_AHEAD) as ready:
        yield from ready
