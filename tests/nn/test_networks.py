"""What every architecture must keep, each at several depths."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import NetworkTester

from geounet.bands import Normalizer
from geounet.bundle import load_bundle
from geounet.engine.torch import TorchEngine
from geounet.errors import DependencyError, ModelError, OptionError
from geounet.nn import ARCHITECTURES, build
from geounet.spec import ArchSpec
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet.tiling import mirror_index, round_up

CASES = [(name, depth) for name in sorted(ARCHITECTURES) for depth in (2, 3)]
CASES += [("unet", 1), ("segnet", 1), ("fcn", 4)]


def spec_of(name, depth):
    return replace(
        random_spec(bands=("red", "nir")), arch=ArchSpec(name=name, width=4, depth=depth)
    )


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def spec(request):
    return spec_of(*request.param)


class TestEveryArchitecture(NetworkTester):
    def test_radius_by_perturbation(self, network):
        network = network.double()
        stride, radius, halo = (
            network.stride,
            network.radius,
            round_up(network.radius, network.stride),
        )
        core = slice(halo, halo + stride)
        changes = 0
        for seed in range(20):  # a maximum hides the others, so that one scene may not show it
            torch.manual_seed(seed)
            x = torch.randn(1, 2, 2 * halo + stride, 2 * halo + stride, dtype=torch.double)
            other = x.clone()
            for far in (halo - radius, halo + stride + radius - 1):
                other[..., far] += 5 * torch.randn_like(other[..., far])
            with torch.inference_mode():
                changes += not torch.equal(*(network(i)[..., core, core] for i in (x, other)))
        assert changes > 0

    def test_nothing_outside_the_radius_counts(self, network):
        network = network.double()
        stride, radius = network.stride, network.radius
        halo = round_up(radius, stride)
        torch.manual_seed(0)
        x = torch.randn(1, 2, 2 * halo + stride, 2 * halo + stride, dtype=torch.double)
        other = torch.full_like(x, 99.0)
        inner = slice(halo - radius, halo + stride + radius)
        other[..., inner, inner] = x[..., inner, inner]
        core = slice(halo, halo + stride)
        with torch.inference_mode():
            a, b = (network(i)[..., core, core] for i in (x, other))
        assert torch.equal(a, b)

    @pytest.mark.parametrize("more", [0, 1, 3])
    def test_the_core_is_that_of_all_logits(self, network, more):
        network = network.double()
        halo = network.halo + more * network.stride
        torch.manual_seed(0)
        size = [2 * halo + n * network.stride for n in (1, 3)]
        x = torch.randn(2, 2, *size, dtype=torch.double)
        with torch.inference_mode():
            core, whole = network.core(x, halo), network(x)[..., halo:-halo, halo:-halo]
        torch.testing.assert_close(core, whole, atol=1e-9, rtol=0)

    def test_commutes_with_shifts_by_the_stride(self, network):
        network = network.double()
        stride, halo = network.stride, round_up(network.radius, network.stride)
        torch.manual_seed(0)
        size = 2 * halo + 3 * stride
        x = torch.randn(1, 2, size, size, dtype=torch.double)
        a, b = slice(halo, halo + stride), slice(halo + stride, halo + 2 * stride)
        with torch.inference_mode():
            here, there = (
                network(x)[..., a, a],
                network(x.roll((stride, stride), (2, 3)))[..., b, b],
            )
        torch.testing.assert_close(here, there, atol=1e-9, rtol=0)

    def test_tiles_equal_the_whole(self, spec, tmp_path):
        bundle = load_bundle(random_bundle(tmp_path / "a.geounet", spec))
        normalizer = Normalizer.of(spec.bands, spec.clip)
        engine = TorchEngine(bundle, normalizer, device="cpu", precision="fp32")
        rng = np.random.default_rng(0)
        image = rng.normal(0, 1, (2, 45, 51)).astype(np.float32)
        valid = np.ones(image.shape[1:], bool)

        def logits(row, col, height, width):
            rows = mirror_index(row - engine.halo, row + height + engine.halo, 45)
            cols = mirror_index(col - engine.halo, col + width + engine.halo, 51)
            tile = image[:, rows][:, :, cols][None]
            inner = slice(engine.halo, -engine.halo)
            return engine.logits(tile, valid[rows][:, cols][None])[0, :, inner, inner]

        step = 2 * engine.stride
        whole = logits(0, 0, round_up(45, step), round_up(51, step))
        for row, col in ((0, 0), (0, step), (step, 0)):
            part = whole[:, row : row + step, col : col + step]
            np.testing.assert_allclose(logits(row, col, step, step), part, atol=1e-4)


def test_fcn_starts_as_bilinear_interpolation():
    network = build(ArchSpec(name="fcn", width=4, depth=4), 2, 3)
    torch.manual_seed(0)
    x = torch.randn(1, 3, 8, 8)
    inner = slice(8, -8)
    for layer, factor in ((network.up[0], 2), (network.last, 4)):
        expected = torch.nn.functional.interpolate(x, scale_factor=factor, mode="bilinear")
        torch.testing.assert_close(
            layer(x)[..., inner, inner], expected[..., inner, inner], atol=1e-5, rtol=0
        )


def test_fcn_has_the_published_last_step_at_depth_5():
    assert build(ArchSpec(name="fcn", width=2, depth=5), 1, 2).last.stride == (8, 8)


def test_segnet_puts_maxima_back_where_they_were():
    network = build(ArchSpec(name="segnet", width=2, depth=1), 1, 2)
    seen = {}
    network.decoder[0].register_forward_pre_hook(lambda _m, args: seen.update(x=args[0]))
    with torch.inference_mode():
        features = network.encoder[0].eval()(torch.randn(1, 1, 8, 8))
        network.eval()(torch.randn(1, 1, 8, 8))
    assert features.shape == seen["x"].shape
    cells = seen["x"].unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    assert ((cells != 0).sum(-1) <= 1).all()


def test_refuses_what_cannot_be():
    with pytest.raises(OptionError, match=r"a FCN with .* depth 1 cannot be: .* depth 2"):
        build(ArchSpec(name="fcn", width=4, depth=1), 2, 2)
    with pytest.raises(ModelError, match="'vgg' is not one of fcn, segnet, unet, nor a decoder-"):
        build(ArchSpec(name="vgg", width=4, depth=1), 2, 2)
    with pytest.raises(ModelError, match=r"there is no decoder 'vgg'; choose deeplabv3, .*, unet"):
        build(ArchSpec(name="vgg-resnet18"), 2, 2)
    with pytest.raises(OptionError, match="'imagenet': unet has no encoder that others train"):
        build(ArchSpec(name="unet", width=4, depth=1), 2, 2, encoder_weights="imagenet")


def test_without_segmentation_models_there_is_one_line_that_says_what_to_install(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    spec = random_spec(arch="unet-resnet18")
    remedy = r"unet-resnet18 needs .*: pip install \"segmentation-models-pytorch>=0.5\""
    with pytest.raises(DependencyError, match=remedy):
        build(spec.arch, 2, 2)
    good = load_bundle(random_bundle(tmp_path / "a.geounet"))
    with pytest.raises(DependencyError, match=rf"a\.geounet: architecture {remedy}") as caught:
        _ = replace(good, spec=spec).network
    assert "\n" not in str(caught.value)


def test_a_bundle_with_such_a_spec_is_a_bad_model(tmp_path):
    path = random_bundle(tmp_path / "a.geounet", spec_of("fcn", 2))
    bundle = load_bundle(path)
    arch = ArchSpec(name="fcn", width=4, depth=1)
    with pytest.raises(ModelError, match=r"a\.geounet: a FCN with"):
        _ = replace(bundle, spec=replace(bundle.spec, arch=arch)).network


def test_the_decoder_of_a_unet_computes_hardly_more_than_the_core():
    network = build(ArchSpec(name="unet", width=2, depth=4), 2, 2).eval()
    seen = []
    for block in network.decoder:
        block.register_forward_pre_hook(lambda _m, args: seen.append(args[0].shape[-1]))
    with torch.inference_mode():
        network.core(torch.randn(1, 2, 256, 256), network.halo)
    assert seen == [64 // 8 + 2 * 4, 64 // 4 + 2 * 4, 64 // 2 + 2 * 4, 64 + 2 * 2]
