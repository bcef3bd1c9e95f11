"""Freed memory goes back to the system, and nothing breaks where it cannot."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from geounet import heap

STATUS = Path("/proc/self/status")


@pytest.fixture(autouse=True)
def looked_for_anew():
    heap._trim.cache_clear()
    yield
    heap._trim.cache_clear()


def resident_mb() -> float:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not STATUS.exists(), reason="asks Linux for the memory of the process")
def test_what_was_freed_below_something_in_use_goes_back() -> None:
    if heap._trim() is None:
        pytest.skip("a C library without malloc_trim")
    arrays = [np.ones(64 << 10, np.uint8) for _ in range(2000)]
    held = arrays[::100]
    full = resident_mb()
    del arrays
    heap.give_back()
    assert full - resident_mb() > 100
    assert all(array.all() for array in held)


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_another_c_library_is_no_error(monkeypatch, error) -> None:
    def missing(_):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    heap.give_back()
