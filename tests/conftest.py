from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "dev", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", parent=settings.get_profile("dev"), max_examples=60)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# The networks of the tests are small: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A job in the background ignores SIGINT, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The real data, which is no part of the project."""
    folder = Path(os.environ.get("GEOUNET_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}: set GEOUNET_DATA")
    return folder


@pytest.fixture(scope="session")
def samples() -> Path:
    """The sample scenes."""
    return ROOT / "sample_tiles"
