"""Half precision begins after the first convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geounet.bands import Normalizer
from geounet.bundle import load_bundle
from geounet.engine.torch import TorchEngine, fold_batch_norm, in_precision
from geounet.nn import build
from geounet.spec import ArchSpec
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = build(ArchSpec(name="unet", width=4, depth=2), in_bands=2, classes=2).eval()
    first = network.encoder[0][0]
    with torch.no_grad():  # it looks at the difference of the bands only, magnified
        first.weight[:, 1] = -first.weight[:, 0]
        first.weight.mul_(1000)
    return network


def scene():
    """Two bands, (1, 2, 64, 64), that are nearly the same."""
    torch.manual_seed(1)
    common, difference = torch.randn(2, 1, 1, 64, 64)
    return torch.cat([common + 0.001 * difference, common], dim=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_differences_between_bands_survive(network, dtype):
    with torch.inference_mode():
        whole = network(scene())
        half = in_precision(fold_batch_norm(network), dtype)(scene())
        naive = fold_batch_norm(network).to(dtype)(scene().to(dtype))
    assert half.dtype is dtype
    error, naive_error = ((x.float() - whole).std() / whole.std() for x in (half, naive))
    assert error < 0.02
    assert naive_error > 4 * error


def test_float32_stays_as_it_is(network):
    with torch.inference_mode():
        folded = fold_batch_norm(network)
        expected = folded(scene())
        assert torch.equal(in_precision(folded, torch.float32)(scene()), expected)


def test_cudnn_does_not_round_to_tf32(tmp_path):
    spec = random_spec(bands=("red", "nir"))
    bundle = load_bundle(random_bundle(tmp_path / "a.geounet", spec))
    engine = TorchEngine(bundle, Normalizer.of(spec.bands, spec.clip), device="cpu")
    seen = []
    engine._network.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    before = torch.backends.cudnn.allow_tf32
    size = 2 * engine.halo + engine.stride
    engine.logits(np.zeros((1, 2, size, size), np.float32), np.ones((1, size, size), bool))
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 == before
