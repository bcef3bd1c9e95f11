"""Freed memory goes back to the system, and nothing breaks where it cannot."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geounet import heap

STATUS = Path("/proc/self/status")


@pytest.fixture(autouse=True)
def looked_for_anew():
    heap._function.cache_clear()
    yield
    heap._function.cache_clear()


def resident_mb() -> float:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not STATUS.exists(), reason="asks Linux for the memory of the process")
def test_what_was_freed_below_something_in_use_goes_back() -> None:
    if heap._function("malloc_trim") is None:
        pytest.skip("another C library")
    arrays = [np.ones(64 << 10, np.uint8) for _ in range(2000)]
    held = arrays[::100]
    full = resident_mb()
    del arrays
    heap.give_back()
    assert full - resident_mb() > 100
    assert all(array.all() for array in held)


LARGE = """
import sys
import numpy as np
from pathlib import Path
from geounet import heap

def resident_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024

if len(sys.argv) > 1:
    heap.give_back_large()
np.ones(30 << 20, np.uint8)  # glibc learns from it, unless it was told not to
arrays = []
for _ in range(20):
    arrays.append(np.ones(10 << 20, np.uint8))
    arrays.append(np.ones(200 << 10, np.uint8))  # lies above
before = resident_mb()
del arrays[::2]
print(before - resident_mb())
"""


@pytest.mark.skipif(not STATUS.exists(), reason="asks Linux for the memory of the process")
def test_large_arrays_go_back_at_once() -> None:
    if heap._function("mallopt") is None:
        pytest.skip("another C library")
    freed = [
        float(subprocess.check_output([sys.executable, "-c", LARGE, *told]))
        for told in ([], ["told"])
    ]
    assert freed[0] < 100
    assert freed[1] > 190


REUSED = """
import contextlib
import resource
import sys
import numpy as np
from pathlib import Path
from geounet import heap

def resident_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024

heap.give_back_large()
start = resident_mb()
with heap.reused() if len(sys.argv) > 1 else contextlib.nullcontext():
    np.ones(100 << 20, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(100 << 20, np.uint8)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    kept = resident_mb() - start
print(faults, kept, resident_mb() - start)
"""


@pytest.mark.skipif(not STATUS.exists(), reason="asks Linux for the memory of the process")
def test_what_is_reused_is_not_asked_for_again() -> None:
    if heap._function("mallopt") is None:
        pytest.skip("another C library")
    (faults, kept, left), (faults_before, _, _) = (
        map(float, subprocess.check_output([sys.executable, "-c", REUSED, *told]).split())
        for told in (["told"], [])
    )
    assert faults_before > 200  # pages of 4 kB, or of 2 MB
    assert faults < faults_before / 10
    assert kept > 90
    assert left < 10


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_another_c_library_is_no_error(monkeypatch, error) -> None:
    def missing(_):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    heap.give_back()
    heap.give_back_large()
    with heap.reused():
        pass
