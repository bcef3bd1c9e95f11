"""What the torch engine does on a GPU, where there is none: stand-ins for the device.

The device ``meta`` computes nothing, but refuses what mixes devices or types, as a GPU does.
"""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch

import geounet.engine.torch as ours
from geounet.bands import Normalizer
from geounet.bundle import load_bundle
from geounet.engine.memory import give_back, out_of_memory
from geounet.engine.torch import TorchEngine
from geounet.errors import DeviceError
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec

HALVES = [("bf16", torch.bfloat16), ("fp16", torch.float16)]
ARCHS = ["unet", "fcn", "segnet"]


@pytest.fixture(params=ARCHS)
def bundle(request, tmp_path):
    spec = random_spec(("red", "nir"), arch=request.param)
    return load_bundle(random_bundle(tmp_path / "m.geounet", spec))


@pytest.fixture
def engine(monkeypatch, bundle):
    """Makes an engine on a device that is not here, in a precision that this one would refuse."""

    def make(device, precision):
        monkeypatch.setattr(ours, "resolve_device", lambda _: torch.device(device))
        monkeypatch.setattr(ours, "resolve_precision", lambda name, *_: name)
        monkeypatch.setitem(ours._MINIBATCH, "meta", 2)
        normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
        return TorchEngine(bundle, normalizer, precision=precision)

    return make


def tiles_of(engine, number=2, dtype=np.int16):
    side = 2 * engine.halo + 2 * engine.stride
    bands = len(engine._normalizer.mean)
    return np.ones((number, bands, side, side), dtype), np.ones((number, side, side), bool)


def seen_by(convolutions):
    """(type, whether channels_last) of what goes into each convolution, as they run.

    A view that leaves out the edges counts: channels are next to each other.
    """
    seen = []
    last = torch.channels_last

    def hook(module, inputs):
        (x,) = inputs[:1]
        strides = [x.stride(1) == 1, module.weight.is_contiguous(memory_format=last)]
        assert module.weight.dtype is x.dtype
        seen.append((x.dtype, all(strides)))

    for module in convolutions:
        module.register_forward_pre_hook(hook)
    return seen


def convolutions_of(engine):
    kinds = torch.nn.Conv2d | torch.nn.ConvTranspose2d
    return [module for module in engine._network.modules() if isinstance(module, kinds)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize(("precision", "half"), HALVES)
def test_all_is_on_the_device(engine, precision, half, dtype):
    made = engine("meta", precision)
    assert {p.device.type for p in made._network.parameters()} == {"meta"}
    with torch.inference_mode():
        logits = made._forward(*tiles_of(made, dtype=dtype))
        labels = made._codes[logits.max(1).indices]
    assert (logits.device.type, logits.dtype) == ("meta", half)
    assert (labels.device.type, labels.dtype) == ("meta", torch.uint8)


@pytest.mark.parametrize(("precision", "half"), HALVES)
def test_channels_last_and_half_after_the_first(engine, precision, half):
    made = engine("cpu", precision)
    convolutions = convolutions_of(made)
    seen = seen_by(convolutions)
    made.predict(*tiles_of(made, 1), confidence=False)
    assert len(seen) == len(convolutions)
    assert all(channels_last for _, channels_last in seen)
    assert [dtype for dtype, _ in seen] == [torch.float32] + [half] * (len(seen) - 1)


def test_uploads_to_cuda_are_pinned_and_do_not_wait(engine, monkeypatch):
    made, calls = engine("cpu", "fp32"), []

    class Tensor:
        def pin_memory(self):
            calls.append("pinned")
            return self

        def to(self, device, **options):
            calls.append((device.type, options))

    monkeypatch.setattr(ours.torch, "from_numpy", lambda _: Tensor())
    made._device = torch.device("cuda:0")
    made._upload(np.zeros(3, np.float32))
    made._device = torch.device("mps")
    made._upload(np.zeros(3, np.float32))
    assert calls == ["pinned", ("cuda", {"non_blocking": True}), ("mps", {})]


TOLD = {
    "cuda": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "pinned": RuntimeError("CUDA error: out of memory"),
    "cudnn": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB)"),
    "buffer": RuntimeError("Invalid buffer size: 372.53 GB"),
    "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
}


@pytest.mark.parametrize("error", TOLD.values(), ids=TOLD)
def test_out_of_memory_halves_the_minibatch_on_every_device(engine, monkeypatch, error):
    made = engine("cpu", "fp32")
    tiles, valid = tiles_of(made, 7)
    expected = made.predict(tiles, valid, confidence=True)
    made._minibatch = 8
    forward = made._forward

    def small(tiles, valid, **how):
        if len(tiles) > 2:
            raise error.with_traceback(None)
        return forward(tiles, valid, **how)

    monkeypatch.setattr(made, "_forward", small)
    again = made.predict(tiles, valid, confidence=True)
    assert made.minibatch == 2
    np.testing.assert_array_equal(again.labels, expected.labels)
    np.testing.assert_array_equal(again.confidence, expected.confidence)


def test_what_failed_is_freed_before_the_cache_is(engine, monkeypatch):
    made, alive, freed = engine("cpu", "fp32"), [], []
    made._minibatch = 2
    forward = made._forward

    def small(tiles, valid, **how):
        if len(tiles) > 1:
            held = torch.zeros(3)  # as the tensors of the layers before
            alive.append(weakref.ref(held))
            raise RuntimeError("MPS backend out of memory")
        return forward(tiles, valid, **how)

    monkeypatch.setattr(made, "_forward", small)
    monkeypatch.setattr(ours, "give_back", lambda _: freed.append(alive[-1]() is None))
    made.predict(*tiles_of(made, 2), confidence=False)
    assert freed == [True]


def test_one_tile_too_large_is_told(engine, monkeypatch):
    made = engine("cpu", "fp32")
    made._minibatch = 1

    def none(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(made, "_forward", none)
    with pytest.raises(DeviceError, match=r"memory of cpu: pass a smaller --tile$"):
        made.predict(*tiles_of(made, 1), confidence=False)
    made._device = torch.device("mps")
    with pytest.raises(DeviceError, match=r"of mps: pass a smaller --tile, or --device cpu$"):
        made.predict(*tiles_of(made, 1), confidence=False)


def test_other_errors_are_not_taken_for_it(engine, monkeypatch):
    made = engine("cpu", "fp32")

    def broken(*_, **__):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(made, "_forward", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        made.predict(*tiles_of(made, 2), confidence=False)
    assert not out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_gpus_cache_is_given_back(monkeypatch, kind):
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("cuda"))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: calls.append("mps"))
    for device in ("cpu", kind):
        give_back(torch.device(device))
    assert calls == [kind]
