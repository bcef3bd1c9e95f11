"""What every network must keep, whoever made it: one class to inherit from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geounet.bands import Normalizer
from geounet.blend import blended_strips
from geounet.bundle import load_bundle
from geounet.engine.torch import TorchEngine, fold_batch_norm, in_precision
from geounet.feed import StripFeeder
from geounet.nn import build
from geounet.scene import MemoryScene
from geounet.stitch import segment_strip
from geounet.testing import random_bundle
from geounet.testing.bundles import random_network
from geounet.tiling import TileGrid


def labels_of(scene, engine, tile):
    """The class map of a scene, as ``segment`` makes it."""
    height, width = scene.info.height, scene.info.width
    grid = TileGrid.cover(
        height=height, width=width, tile=tile, halo=engine.halo, stride=engine.stride
    )
    exact = engine.seam == "exact"
    feeds = StripFeeder(scene=scene, bands=(1, 2), grid=grid, spread=0 if exact else grid.halo)
    strips = (
        (segment_strip(engine, feed, grid, confidence=False) for feed in feeds)
        if exact
        else blended_strips([engine], feeds, grid, confidence=False)
    )
    return np.concatenate([strip.labels for strip in strips])


class NetworkTester:
    """Runs for each ``spec``, a fixture of the class that inherits; two bands, two classes."""

    @pytest.fixture
    def network(self, spec):
        return random_network(spec)

    def test_logits_have_the_size_of_the_input(self, spec, network):
        for rows, cols in ((1, 1), (2, 3)) if network.seam == "exact" else ((8, 8), (9, 12)):
            x = torch.randn(2, 2, rows * network.stride, cols * network.stride)
            assert network(x).shape == (2, len(spec.classes), *x.shape[2:])

    def test_says_how_its_tiles_are_joined(self, spec, network):
        assert network.seam == spec.seam == spec.arch.seam
        assert network.halo > 0
        assert network.halo % network.stride == 0

    def test_only_the_stem_sees_the_input(self, network):
        x = torch.randn(1, 2, 8 * network.stride, 8 * network.stride)
        seen = []
        for module in network.modules():
            if list(module.parameters(recurse=False)):
                module.register_forward_pre_hook(lambda m, i: seen.append(m) if i[0] is x else None)
        with torch.inference_mode():
            network(x)
        assert [m is network.stem for m in seen] == [True]
        assert network.stem.in_channels == 2

    def test_the_bias_of_the_head_is_a_term_of_the_logits(self, spec):
        torch.manual_seed(0)
        network = build(spec.arch, 2, 2).eval()
        x = torch.randn(1, 2, 8 * network.stride, 8 * network.stride)
        with torch.inference_mode():
            before = network(x)
            network.head.bias += torch.tensor([0.0, 3.0])
            change = network(x) - before
        # at the edges, interpolation by a transposed convolution lacks a part
        inner = slice(network.stride, -network.stride)
        for band, term in enumerate((0.0, 3.0)):
            got = change[:, band, inner, inner]
            torch.testing.assert_close(got, torch.full_like(got, term), atol=1e-3, rtol=0)

    def test_a_bundle_gives_it_back(self, spec, network, tmp_path):
        path = random_bundle(tmp_path / "a.geounet", spec)
        torch.manual_seed(1)
        expected = torch.rand(1)
        torch.manual_seed(1)
        again = load_bundle(path).network
        assert torch.equal(torch.rand(1), expected)  # loading draws no random number
        x = torch.randn(1, 2, 8 * network.stride, 8 * network.stride)
        with torch.inference_mode():
            assert torch.equal(network(x), again(x))

    def test_batch_norms_are_folded_without_a_change(self, network):
        x = torch.randn(1, 2, 8 * network.stride, 8 * network.stride)
        with torch.inference_mode():
            before, after = network(x), fold_batch_norm(network)(x)
        torch.testing.assert_close(before, after, atol=1e-3 * float(before.std()), rtol=1e-3)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_gives_nearly_the_same(self, network, dtype):
        torch.manual_seed(0)
        side = max(64, 4 * network.stride)
        x = torch.randn(1, 2, side, side)
        with torch.inference_mode():
            full = network(x)
            half = in_precision(fold_batch_norm(network), dtype)(x)
        assert half.dtype == dtype
        assert (half.argmax(1) == full.argmax(1)).float().mean() > 0.95

    @pytest.mark.parametrize("shape", [(1, 1), (45, 51), (97, 33)])
    def test_a_scene_of_an_odd_size(self, spec, tmp_path, shape):
        bundle = load_bundle(random_bundle(tmp_path / "a.geounet", spec))
        engine = TorchEngine(
            bundle, Normalizer.of(spec.bands, spec.clip), device="cpu", precision="fp32"
        )
        assert (engine.seam, engine.halo) == (spec.seam, bundle.network.halo)
        data = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
        labels = labels_of(MemoryScene.of(data), engine, tile=64)
        assert labels.shape == shape
        assert set(np.unique(labels)) <= {0, 1}

    def test_can_be_trained(self, spec):
        torch.manual_seed(0)
        network = build(spec.arch, 2, 2)
        side = max(4, network.stride // 2)
        x = torch.randn(4, 2, side, side).repeat_interleave(8, 2).repeat_interleave(8, 3)
        label = (x[:, 0] > 0).long()
        optimizer = torch.optim.AdamW((p for p in network.parameters() if p.requires_grad), 1e-2)
        losses = []
        for _ in range(15):
            loss = torch.nn.functional.cross_entropy(network(x), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.9 * losses[0]
