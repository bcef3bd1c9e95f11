"""Libraries that report to their makers what is done with them, kept from it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_REPORTER = "openvino_telemetry"


@contextmanager
def untold() -> Iterator[None]:
    """Import OpenVINO or NNCF in here, which otherwise tell a web service of each import.

    They do so through a package of its own, in a thread and a process, and do without it where it
    is missing. What has been imported before, by others, stays as it is.
    """
    absent = _REPORTER not in sys.modules
    if absent:
        sys.modules[_REPORTER] = None  # type: ignore[assignment]  # "is not there", to an import
    try:
        yield
    finally:
        if absent:
            sys.modules.pop(_REPORTER, None)
