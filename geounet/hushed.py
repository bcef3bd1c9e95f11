"""Warnings of libraries that say what we know, left out in one thread at a time."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def hushed(category: type[Warning], message: str = "") -> Iterator[None]:
    """Ignore warnings of a category whose text begins with ``message`` (a pattern).

    Filters are those of the process: of two threads that set and restore them at once, one restores
    what the other had set. What sets them by itself, as some functions of rasterio do, is called in
    here, too.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message, category)
        yield
