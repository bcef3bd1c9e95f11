"""Half precision begins after the first convolution."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from geounet.engine.torch import _full_float32, fold_batch_norm, in_precision
from geounet.nn import build
from geounet.spec import ArchSpec


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


OF_ALL = ("torch.backends.fp32_precision", "torch.backends.cudnn.conv.fp32_precision")


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch < 2.9")
@pytest.mark.parametrize("set_by_user", ["", *(f"{name} = 'tf32'" for name in OF_ALL)])
def test_cudnn_does_not_round_to_tf32(set_by_user):
    code = f"""if True:
        import torch
        from geounet.engine.torch import _full_float32
        {set_by_user}
        before = torch.backends.cudnn.conv.fp32_precision
        with _full_float32(torch.device("cuda")):
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert torch.backends.cudnn.conv.fp32_precision == before
        with _full_float32(torch.device("cpu")):
            assert torch.backends.cudnn.conv.fp32_precision == before
    """
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch < 2.9")
def test_one_thread_leaves_it_to_the_other():
    """Several GPUs compute at once, and the setting is one for all."""
    conv, cuda = torch.backends.cudnn.conv, torch.device("cuda")
    before = conv.fp32_precision
    first, second = _full_float32(cuda), _full_float32(cuda)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    during = conv.fp32_precision
    second.__exit__(None, None, None)
    assert before != during == "ieee"
    assert conv.fp32_precision == before
