"""The law of the taper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet.errors import OptionError
from geounet.taper import taper


@given(core=st.integers(1, 300), halo=st.integers(0, 90), windows=st.integers(2, 4))
def test_partition_of_unity(core, halo, windows):
    """Windows that lie a core apart sum to 1 between the first ramp and the last."""
    core = max(core, 2 * halo)
    total = np.zeros(windows * core + 2 * halo)
    for start in range(0, windows * core, core):
        total[start : start + core + 2 * halo] += taper(core + 2 * halo, 2 * halo)
    inner = total[2 * halo : len(total) - 2 * halo]
    assert np.abs(inner - 1).max() < 1e-6


@given(size=st.integers(1, 3000), overlap=st.integers(0, 3000))
def test_strictly_positive_symmetric_and_at_most_1(size, overlap):
    weights = taper(size, overlap)
    assert weights.shape == (size,)
    assert weights.dtype == np.float32
    assert weights.min() > 0
    assert weights.max() <= 1
    assert np.array_equal(weights, weights[::-1])
    assert np.outer(weights, weights).min() > 0  # of two sides, in float32


def test_flat_where_a_ramp_begins_and_ends():
    steps = np.abs(np.diff(taper(512, 128)))
    assert steps.max() < 0.013
    assert steps[0] < 1e-3
    assert steps[126:200].max() < 1e-3
    assert taper(512, 128)[0] < 1e-4
    assert np.array_equal(taper(512, 128)[128:384], np.ones(256))


@pytest.mark.parametrize(("size", "overlap"), [(0, 1), (4, -1)])
def test_refuses_what_cannot_be(size, overlap):
    with pytest.raises(OptionError, match=f"a taper of {size} pixels with an overlap of {overlap}"):
        taper(size, overlap)
