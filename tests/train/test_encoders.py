"""Decoders and encoders of segmentation-models-pytorch: as every network, and blended."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import NetworkTester, labels_of

from geounet.bands import Normalizer
from geounet.blend import _Blender
from geounet.bundle import load_bundle
from geounet.engine.torch import TorchEngine
from geounet.errors import ModelError
from geounet.nn import build
from geounet.nn.smp import DECODERS, EncoderDecoder
from geounet.scene import MemoryScene
from geounet.spec import ArchSpec
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what the library imports
]

NAMES = [
    "unet-resnet18",
    "segformer-mit_b0",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "unetplusplus-resnet18",
            "deeplabv3plus-resnet18",
            "fpn-efficientnet-b0",
            "unet-mit_b0",
            "unet-tu-resnet18",
        )
    ),
]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TestEncoderDecoder(NetworkTester):
    @pytest.fixture(params=NAMES)
    def spec(self, request):
        return random_spec(("red", "nir"), arch=request.param)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_is_there_and_keeps_the_size(decoder):
    network = build(ArchSpec(name=f"{decoder}-resnet18"), 4, 3).eval()
    assert isinstance(network, EncoderDecoder)
    with torch.inference_mode():
        assert network(torch.randn(1, 4, 160, 128)).shape == (1, 3, 160, 128)
    assert network.halo == 64


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("unet-resnett34", r"there is no encoder 'resnett34'; .* \(such as resnet34, .*\) or tu-"),
        ("unet-", "there is no encoder ''"),
        ("unet-tu-nope", r"cannot be built \(Unknown model \(nope\)\): choose another encoder"),
        ("unet-tu-vit_tiny_patch16_224", r"cannot be built \(Unsupported .* pattern"),
        ("unet-mobileone_s0", "several layers of the encoder 'mobileone_s0' see the input"),
        ("unet-tu-swin_tiny_patch4_window7_224", "does not take tiles of any size"),
    ],
)
def test_what_cannot_be_built(name, match):
    with pytest.raises(ModelError, match=match) as caught:
        build(ArchSpec(name=name), 2, 2)
    assert "\n" not in str(caught.value)


def jumps(tmp_path, monkeypatch, name, *, blend):
    """Steps of a class's probability between neighbours: the largest at borders, and inside."""
    spec = random_spec(("red", "nir"), arch=name)
    bundle = load_bundle(random_bundle(tmp_path / "a.geounet", spec))
    engine = TorchEngine(
        bundle, Normalizer.of(spec.bands, spec.clip), device="cpu", precision="fp32"
    )
    kept = []

    class Keeping(_Blender):
        def close(self, feed, *, confidence):
            strip = super().close(feed, confidence=confidence)
            rows = strip.window.height
            kept.append(self._sums[0, :rows] / self._weights[:rows])
            return strip

    if not blend:  # pasted: the core alone counts
        monkeypatch.setattr(
            "geounet.taper.taper",
            lambda size, overlap: np.pad(
                np.ones(size - overlap, np.float32), overlap // 2, constant_values=1e-9
            ).astype(np.float32),
        )
    monkeypatch.setattr("geounet.blend._Blender", Keeping)
    rng = np.random.default_rng(0)
    small = torch.from_numpy(rng.normal(size=(1, 2, 30, 30)).astype(np.float32))
    data = torch.nn.functional.interpolate(small, scale_factor=16, mode="bicubic")[0].numpy()
    labels_of(MemoryScene.of(data), engine, tile=128)
    odds = np.concatenate(kept)
    assert odds.shape == (480, 480)
    steps = np.abs(np.diff(odds, axis=0))
    borders = np.zeros(479, bool)
    for shift in (-64, 0, 64):
        borders[[128 + shift - 1, 256 + shift - 1, 384 + shift - 1]] = True
    return np.quantile(steps[borders], 0.999), np.quantile(steps[~borders], 0.999)


@pytest.mark.parametrize("name", ["unet-resnet18", "segformer-mit_b0"])
def test_no_visible_seam(tmp_path, monkeypatch, name):
    at_borders, inside = jumps(tmp_path, monkeypatch, name, blend=True)
    assert at_borders < 1.2 * inside


def test_pasting_such_a_network_would_leave_seams(tmp_path, monkeypatch):
    """The test above could fail."""
    at_borders, inside = jumps(tmp_path, monkeypatch, "segformer-mit_b0", blend=False)
    assert at_borders > 1.5 * inside
