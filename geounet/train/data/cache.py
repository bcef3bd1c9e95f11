"""Decoded pixels, kept up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from numpy.typing import NDArray

Arrays = tuple[NDArray[Any], ...]


class Cache:
    """Least recently used arrays go first.

    Threads: one at a time makes an entry, so that makers need no locks of their own.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._entries: OrderedDict[Hashable, Arrays] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def held(self) -> int:
        """Bytes in the cache; above the limit only while it holds a single entry."""
        return self._held

    def get(self, key: Hashable, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of that key, made if they are not there."""
        with self._lock:
            if key not in self._entries:
                self._put(key, make())
            self._entries.move_to_end(key)
            return self._entries[key]

    def _put(self, key: Hashable, arrays: Arrays) -> None:
        self._entries[key] = arrays
        self._held += _bytes(arrays)
        while self._held > self._limit and len(self._entries) > 1:
            _, dropped = self._entries.popitem(last=False)
            self._held -= _bytes(dropped)


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays)
