"""The memory that was freed, handed back to the system."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Hand free memory back to the system, where the C library knows how (glibc).

    glibc keeps what was freed in an arena for each thread, up to tens of MB under the last thing
    in use, and raises by itself the size from which it does not. Arrays of a strip are of that
    size: kept, they add up over the threads and the strips of a run.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    """``malloc_trim``; None where there is none (macOS, Windows, musl)."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    trim.argtypes = [ctypes.c_size_t]
    return trim
