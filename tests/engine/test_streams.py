"""Two streams of a GPU, where there is none: stand-ins that say what may run before what.

A stand-in of a stream holds what was asked of it and has not run yet. It runs when something waits
for it, and as late as the laws of CUDA allow: whatever does not wait for a copy computes with what
was there before, and a result that is read too soon is not there.
"""

from __future__ import annotations

import contextlib
from collections import deque

import numpy as np
import pytest
import torch

import geounet.engine.torch as ours
from geounet.bands import Normalizer
from geounet.bundle import load_bundle
from geounet.engine import streams
from geounet.engine.streams import Streams
from geounet.engine.torch import TorchEngine
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec

GPU = torch.device("cuda:0")


class Lane:
    """A stream: what it is to do, in order, as late as possible."""

    def __init__(self):
        self.todo = deque()

    def run_to(self, event):
        while event in self.todo or any(step == event for step in self.todo):
            step = self.todo.popleft()
            if callable(step):
                step()

    def run_all(self):
        while self.todo:
            step = self.todo.popleft()
            if callable(step):
                step()

    def wait_event(self, event):
        self.todo.append(event.happen)


class Event:
    """Happens when its lane has come so far."""

    def __init__(self):
        self.lane = None

    def record(self, lane):
        self.lane = lane
        lane.todo.append(self)

    def happen(self):
        self.lane.run_to(self)

    def synchronize(self):
        self.happen()


class Late:
    """A tensor of the GPU, whose values come when its lane has come so far."""

    def __init__(self, gpu, values=None):
        self.gpu, self.values, self.recorded = gpu, values, []

    def record_stream(self, lane):
        self.recorded.append(lane)


class Gpu:
    """All that ``Streams`` asks of torch."""

    def __init__(self, monkeypatch):
        self.computes, self.copies = Lane(), None
        self.current = self.computes
        self.put = []
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: self.computes)
        monkeypatch.setattr(torch.cuda, "Stream", self._stream)
        monkeypatch.setattr(torch.cuda, "stream", self._within)
        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(streams, "_pinned", lambda array: Pinned(self, array.copy()))
        monkeypatch.setattr(streams, "_blank", lambda shape, _dtype: Pinned(self, np.zeros(shape)))

    def _stream(self, device):
        assert device == GPU
        self.copies = Lane()
        return self.copies

    @contextlib.contextmanager
    def _within(self, lane):
        before, self.current = self.current, lane
        yield
        self.current = before

    def compute(self, tensors, function):
        """Launch a kernel."""
        out = Late(self)

        def kernel():
            out.values = function(*(t.values for t in tensors))

        self.computes.todo.append(kernel)
        return out


class Pinned:
    """A tensor in pinned memory of the host."""

    def __init__(self, gpu, array):
        self.gpu, self.array = gpu, array

    def to(self, device, *, non_blocking):
        assert (device, non_blocking) == (GPU, True)
        assert self.gpu.current is self.gpu.copies
        there = Late(self.gpu)
        self.gpu.put.append(there)
        self.gpu.copies.todo.append(lambda: setattr(there, "values", self.array))
        return there

    def copy_(self, late, *, non_blocking):
        assert non_blocking
        assert self.gpu.current is self.gpu.computes

        def copy():
            self.array = late.values

        self.gpu.computes.todo.append(copy)
        return self

    def numpy(self):
        return self.array


@pytest.fixture
def gpu(monkeypatch):
    return Gpu(monkeypatch)


def result_of(tensor):
    tensor.shape, tensor.dtype = (2,), None
    return tensor


def test_computing_waits_for_the_copy_and_reading_for_the_result(gpu) -> None:
    lanes = Streams(GPU)
    (there,) = lanes.put([np.array([1.0, 2.0])])
    assert there.values is None  # the copy goes on by itself
    wait = lanes.take([result_of(gpu.compute([there], lambda x: 3 * x))])
    assert gpu.computes.todo  # nothing has been waited for
    np.testing.assert_array_equal(wait()[0], [3.0, 6.0])


def test_a_copy_waits_for_no_computing(gpu) -> None:
    lanes = Streams(GPU)
    (first,) = lanes.put([np.ones(2)])
    gpu.compute([first], lambda x: x)
    (second,) = lanes.put([np.full(2, 5.0)])
    before = len(gpu.computes.todo)
    gpu.copies.run_all()
    np.testing.assert_array_equal(second.values, [5, 5])
    assert len(gpu.computes.todo) == before


def test_memory_is_kept_until_it_was_computed_with(gpu) -> None:
    there = Streams(GPU).put([np.ones(2), np.zeros(2)])
    assert [t.recorded for t in there] == [[gpu.computes]] * 2


@pytest.fixture
def engine(monkeypatch, tmp_path):
    """On the CPU; when it is told to be on CUDA its two streams are those of the log."""
    bundle = load_bundle(random_bundle(tmp_path / "m.geounet", random_spec(("red", "nir"))))
    normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
    made = TorchEngine(bundle, normalizer, device="cpu", precision="fp32")
    made.log = []

    class Logged:
        def __init__(self, device):
            assert device == GPU

        def put(self, arrays):
            made.log.append("put")
            return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]

        def take(self, tensors):
            made.log.append("begun")
            arrays = [tensor.numpy().copy() for tensor in tensors]

            def wait():
                made.log.append("taken")
                return arrays

            return wait

    monkeypatch.setattr(ours, "Streams", Logged)
    monkeypatch.setattr(ours, "_full_float32", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(TorchEngine, "_upload", lambda _, array: torch.from_numpy(array.copy()))
    return made


def batches_of(engine, number, dtype=np.int16):
    side = 2 * engine.halo + 2 * engine.stride
    rng = np.random.default_rng(0)
    return [
        (rng.integers(0, 5, (1, 2, side, side)).astype(dtype), np.ones((1, side, side), bool))
        for _ in range(number)
    ]


@pytest.mark.parametrize("confidence", [False, True])
def test_the_next_is_begun_before_the_last_is_taken(engine, confidence) -> None:
    batches = batches_of(engine, 3)
    expected = [engine.predict(*batch, confidence=confidence) for batch in batches]
    engine._device = GPU
    found = list(engine.predict_each(batches, confidence=confidence))
    assert engine.log == ["put", "begun", "put", "begun", "taken", "put", "begun", "taken", "taken"]
    for got, alone in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got.labels, alone.labels)
        assert not confidence or np.array_equal(got.confidence, alone.confidence)


def test_where_memory_is_short_a_batch_is_made_bit_by_bit_and_in_its_place(
    engine, monkeypatch
) -> None:
    batches = batches_of(engine, 3)
    large = tuple(np.concatenate([one] * 3) for one in batches[1])
    batches[1] = large
    expected = [engine.predict(*batch, confidence=False) for batch in batches]
    engine._device, engine._minibatch = GPU, 4
    through, sizes = engine._through, []

    def small(tiles, valid, **how):
        sizes.append(len(tiles))
        if len(tiles) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return through(tiles, valid, **how)

    monkeypatch.setattr(engine, "_through", small)
    monkeypatch.setattr(ours, "give_back", lambda _: None)
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: self)
    found = list(engine.predict_each(batches, confidence=False))
    assert sizes == [1, 3, 1, 3, 2, 1]  # begun, begun in vain, begun; then bit by bit
    assert engine.minibatch == 2
    for got, alone in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got.labels, alone.labels)


def test_another_error_is_raised(engine, monkeypatch) -> None:
    engine._device = GPU

    def broken(*_, **__):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(engine, "_through", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(engine.predict_each(batches_of(engine, 2), confidence=False))


def test_uint16_travels_as_it_is(engine) -> None:
    ((tiles, valid),) = batches_of(engine, 1, np.uint16)
    tiles += np.random.default_rng(1).integers(0, 65500, tiles.shape, dtype=np.uint16)
    expected = engine.logits(tiles, valid)
    assert engine._storable(tiles).dtype == np.float32  # a CPU converts in one step
    engine._device = GPU
    stored = engine._storable(tiles)
    assert stored.dtype == np.uint16
    with torch.inference_mode():
        logits = engine._through(torch.from_numpy(stored), torch.from_numpy(valid), core=False)
    np.testing.assert_array_equal(logits.numpy(), expected)
