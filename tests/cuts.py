"""Scenes, and ways to cut them into tiles, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from geounet.testing import EchoEngine
from geounet.tiling import round_up


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A scene of one band and how it is to be segmented."""

    data: np.ndarray
    """(1, height, width) uint8."""
    valid: np.ndarray
    """(height, width), all, half or none of it."""
    tile: int
    """Side of a core."""
    engine: EchoEngine
    """With some halo, stride and minibatch."""
    whole: bool
    """Whether all tiles are of full size."""


@st.composite
def cuts(draw: Any, labels: int) -> Cut:
    """Small scenes of values below ``labels``, cut in any way."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    stride = draw(st.sampled_from([1, 4, 8]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return Cut(
        data=rng.integers(0, labels, (1, height, width), dtype=np.uint8),
        valid=rng.random((height, width)) < rng.choice([0.0, 0.5, 1.0]),
        tile=draw(st.integers(1, 64)),
        engine=EchoEngine(
            halo=round_up(draw(st.integers(0, 40)), stride),
            minibatch=draw(st.integers(1, 5)),
            stride=stride,
        ),
        whole=draw(st.booleans()),
    )
