"""The memory that was freed, handed back to the system."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

_MMAP_THRESHOLD = -3  # of mallopt, in glibc's malloc.h
_LARGE = 2 << 20


def give_back_large() -> None:
    """From now on, memory of 2 MB and more goes back to the system as soon as it is freed (glibc).

    glibc raises by itself the size from which it does that, to that of the largest array so far;
    arrays of a tile and of a strip then stay with the thread that made them, and add up.
    """
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Hand what was freed under something that is in use back to the system (glibc)."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(ctypes.c_size_t(0))


@cache
def _function(name: str) -> Any:
    """One of the C library's own; None where there is none (macOS, Windows, musl)."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
