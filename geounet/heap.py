"""The memory that was freed, handed back to the system."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in glibc's malloc.h
_TRIM, _LARGE = 128 << 10, 2 << 20
_NEVER = 2**31 - 1


def give_back_large() -> None:
    """From now on, memory of 2 MB and more goes back to the system as soon as it is freed (glibc).

    glibc raises by itself the size from which it does that, to that of the largest array so far;
    arrays of a tile and of a strip then stay with the thread that made them, and add up.
    """
    _set(_TRIM, _LARGE)


@contextlib.contextmanager
def reused() -> Iterator[None]:
    """Meanwhile, what is freed stays with the process for whatever is of its size next (glibc).

    For a network that asks for the same large arrays tile after tile: memory that went back to the
    system comes again page by page, each cleared first. With torch on a CPU that was a quarter of
    the processor time of a run. :func:`give_back`, once a strip, bounds what adds up. Afterwards
    all is as :func:`give_back_large` makes it.
    """
    _set(_NEVER, _NEVER)
    try:
        yield
    finally:
        give_back_large()
        give_back()


def _set(trim: int, large: int) -> None:
    """From how many free bytes the heap shrinks, and how large an array is to be no part of it."""
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, trim)
        mallopt(_MMAP_THRESHOLD, large)


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
