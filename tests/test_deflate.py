"""What is compressed comes back, and class maps take little room."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from geounet.deflate import deflated


@given(arrays(np.uint8, array_shapes(max_dims=2, max_side=40)), st.booleans())
def test_it_comes_back(array, labels) -> None:
    back = np.frombuffer(zlib.decompress(deflated(array, labels=labels)), np.uint8)
    assert np.array_equal(back.reshape(array.shape), array)


def test_rows_need_not_be_contiguous() -> None:
    wide = np.arange(200, dtype=np.uint8).reshape(10, 20)
    assert zlib.decompress(deflated(wide[:, 5:9], labels=True)) == wide[:, 5:9].tobytes()


@pytest.mark.parametrize("sigma", [1, 3, 8])
def test_maps_take_little_more_room_than_at_level_6(sigma) -> None:
    filters = pytest.importorskip("scipy.ndimage")
    noise = np.random.default_rng(sigma).normal(size=(4, 512, 512))
    labels = filters.gaussian_filter(noise, (0, sigma, sigma)).argmax(0).astype(np.uint8)
    as_labels = len(deflated(labels, labels=True))
    assert as_labels < 1.2 * len(zlib.compress(labels.tobytes(), 6))
    assert as_labels < 0.9 * len(deflated(labels, labels=False, level=1))
