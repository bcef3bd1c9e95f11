"""Laws 2, 3 and 6 on arrays: identity, exactness, nodata."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cuts import Cut, cuts
from hypothesis import given
from hypothesis import strategies as st

from geounet.bands import Normalizer
from geounet.bundle import Bundle, load_bundle
from geounet.classes import NODATA
from geounet.engine.torch import TorchEngine
from geounet.feed import StripFeeder
from geounet.scene import MemoryScene
from geounet.stitch import segment_strips
from geounet.testing import EchoEngine, random_bundle
from geounet.testing.bundles import random_spec
from geounet.tiling import TileGrid, mirror_index, round_up

RNG = np.random.default_rng(7)


def run(
    engine,
    scene,
    tile,
    *,
    halo=None,
    stride=None,
    wanted=None,
    columns=None,
    confidence=False,
    whole=False,
    engines=1,
):
    info = scene.info
    grid = TileGrid.cover(
        height=info.height,
        width=info.width,
        tile=tile,
        halo=engine.halo if halo is None else halo,
        stride=engine.stride if stride is None else stride,
        whole=whole,
    )
    bands = range(1, len(info.bands) + 1)
    feeder = StripFeeder(scene=scene, bands=bands, grid=grid, wanted=wanted, columns=columns)
    strips = list(segment_strips([engine] * engines, feeder, grid, confidence=confidence))
    labels = np.concatenate([s.labels for s in strips])
    if not confidence:
        return labels
    return labels, np.concatenate([s.confidence for s in strips])


@given(cut=cuts(labels=200))
def test_identity(cut: Cut) -> None:
    scene = MemoryScene.of(cut.data, valid=cut.valid)
    labels, percent = run(cut.engine, scene, cut.tile, confidence=True, whole=cut.whole)
    assert np.array_equal(labels, np.where(cut.valid, cut.data[0], NODATA))
    assert np.array_equal(percent, np.where(cut.valid, 100, NODATA))


@given(cut=cuts(labels=200), engines=st.integers(2, 3))
def test_several_engines_give_what_one_gives(cut: Cut, engines: int) -> None:
    scene = MemoryScene.of(cut.data, valid=cut.valid)
    one, several = (
        run(cut.engine, scene, cut.tile, confidence=True, whole=cut.whole, engines=n)
        for n in (1, engines)
    )
    assert np.array_equal(one, several)


@given(cut=cuts(labels=200))
def test_tiles_of_full_size_see_the_mirrored_scene(cut: Cut) -> None:
    """However far they reach beyond it, and no row of it is read twice."""
    scene = MemoryScene.of(cut.data, valid=cut.valid)
    height, width = cut.valid.shape
    engine = cut.engine
    grid = TileGrid.cover(
        height=height,
        width=width,
        tile=cut.tile,
        halo=engine.halo,
        stride=engine.stride,
        whole=True,
    )
    for feed in StripFeeder(scene=scene, bands=(1,), grid=grid):
        for tile in grid.tiles(feed.row) if feed.data is not None else ():
            rows = mirror_index(tile.read.row_off, tile.read.row_end, height)
            cols = mirror_index(tile.read.col_off, tile.read.col_end, width)
            data, valid = feed.cut(tile)
            assert np.array_equal(data, cut.data[:, rows][:, :, cols])
            assert np.array_equal(valid, cut.valid[rows][:, cols])
    assert sum(window.height for window in scene.reads) == height


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    spec = random_spec(("a", "b"), classes=4, width=4, depth=3)
    path = random_bundle(Path(tmp_path_factory.mktemp("bundle")) / "random.geounet", spec)
    return load_bundle(path)


def engine_of(bundle: Bundle, precision: str = "fp32") -> TorchEngine:
    normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
    return TorchEngine(bundle, normalizer, device="cpu", precision=precision)


def whole_scene_logits(engine: TorchEngine, data, valid):
    """The reference of law 3: one pass over the mirror-padded scene, written independently."""
    _, height, width = data.shape
    halo, stride = engine.halo, engine.stride
    rows = mirror_index(-halo, round_up(height, stride) + halo, height)
    cols = mirror_index(-halo, round_up(width, stride) + halo, width)
    padded, mask = data[:, rows][:, :, cols], valid[rows][:, cols]
    logits = engine.logits(padded[None], mask[None])[0]
    return logits[:, halo : halo + height, halo : halo + width]


@pytest.mark.parametrize("tile", [8, 24, 64, 96, 200])
@pytest.mark.parametrize("shape", [(130, 157), (200, 96), (40, 31), (1, 90), (90, 1), (5, 5)])
def test_exactness_labels_do_not_depend_on_the_cut(bundle: Bundle, tile: int, shape) -> None:
    engine = engine_of(bundle)
    data = RNG.normal(size=(2, *shape)).astype(np.float32)
    valid = RNG.random(shape) < 0.97
    expected = whole_scene_logits(engine, data, valid)
    labels = run(engine, MemoryScene.of(data, valid=valid), tile)
    ordered = np.sort(expected, axis=0)
    tie = ordered[-1] - ordered[-2] < 1e-4
    assert tie.sum() <= 1 + 0.02 * tie.size
    same = (labels == expected.argmax(0)) | tie | ~valid
    assert same.all()
    assert len(np.unique(labels[valid])) > 1 or labels.size < 100


def test_exactness_logits_to_1e_4(bundle: Bundle) -> None:
    engine = engine_of(bundle)
    data = RNG.normal(size=(2, 120, 130)).astype(np.float32)
    valid = np.ones((120, 130), bool)
    expected = whole_scene_logits(engine, data, valid)
    grid = TileGrid.cover(height=120, width=130, tile=32, halo=engine.halo, stride=engine.stride)
    for feed in StripFeeder(scene=MemoryScene.of(data), bands=(1, 2), grid=grid):
        for tile in grid.tiles(feed.window.row_off // grid.tile):
            cut, mask = feed.cut(tile)
            logits = engine.logits(cut[None], mask[None])[0]
            rows, cols = tile.crop.slices
            assert np.abs(logits[:, rows, cols] - expected[:, *tile.core.slices]).max() < 1e-4


def test_a_halo_one_stride_too_small_is_not_exact(bundle: Bundle) -> None:
    """The tests above could not fail if the halo did not matter."""
    engine = engine_of(bundle)
    data = RNG.normal(size=(2, 160, 160)).astype(np.float32)
    valid = np.ones((160, 160), bool)
    expected = whole_scene_logits(engine, data, valid)
    grid = TileGrid.cover(height=160, width=160, tile=32, halo=16, stride=engine.stride)
    tile = list(grid.tiles(2))[2]
    feed = list(StripFeeder(scene=MemoryScene.of(data), bands=(1, 2), grid=grid))[2]
    cut, mask = feed.cut(tile)
    logits = engine.logits(cut[None], mask[None])[0]
    rows, cols = tile.crop.slices
    assert np.abs(logits[:, rows, cols] - expected[:, *tile.core.slices]).max() > 1e-2


def test_nodata_reaches_no_further_than_the_halo_and_nan_never_spreads(bundle: Bundle) -> None:
    engine = engine_of(bundle)
    data = RNG.normal(size=(2, 200, 200)).astype(np.float32)
    holed = data.copy()
    holed[0, 100, 100] = np.nan
    plain = run(engine, MemoryScene.of(data), 64)
    result = run(engine, MemoryScene.of(holed), 64)
    assert result[100, 100] == NODATA
    assert (result == NODATA).sum() == 1
    far = np.ones((200, 200), bool)
    far[100 - engine.halo : 101 + engine.halo, 100 - engine.halo : 101 + engine.halo] = False
    assert np.array_equal(result[far], plain[far])


def test_tiles_without_a_valid_pixel_skip_the_network() -> None:
    calls = []

    class Counting(EchoEngine):
        def predict(self, tiles, valid, *, confidence):
            calls.append(len(tiles))
            return EchoEngine.predict(self, tiles, valid, confidence=confidence)

    valid = np.zeros((64, 64), bool)
    valid[40, 50] = True
    data = np.ones((1, 64, 64), np.uint8)
    labels = run(Counting(halo=4), MemoryScene.of(data, valid=valid), 16)
    assert sum(calls) == 1
    assert (labels != NODATA).sum() == 1


def test_each_row_is_read_once_and_an_area_of_interest_reads_only_its_rows() -> None:
    data = RNG.integers(0, 200, (1, 300, 40), dtype=np.uint8)
    scene = MemoryScene.of(data)
    run(EchoEngine(halo=20), scene, 32)
    assert sum(w.height for w in scene.reads) == 300
    scene = MemoryScene.of(data)

    def wanted(window):
        rows = np.arange(window.row_off, window.row_end)
        return np.repeat(((rows >= 130) & (rows < 150))[:, None], window.width, axis=1)

    labels = run(EchoEngine(halo=20), scene, 32, wanted=wanted)
    assert np.array_equal(labels[130:150], data[0, 130:150])
    assert (labels[:130] == NODATA).all()
    assert sum(w.height for w in scene.reads) <= 64 + 2 * 20


@pytest.mark.parametrize("tile", [8, 24, 96])
@pytest.mark.parametrize("columns", [(60, 75), (0, 1), (180, 181), (100, 181)])
def test_an_area_of_interest_reads_only_its_columns(bundle: Bundle, tile: int, columns) -> None:
    """And a halo around them, also where the scene is mirrored."""
    engine = engine_of(bundle)
    data = RNG.normal(size=(2, 100, 181)).astype(np.float32)
    valid = RNG.random((100, 181)) < 0.97
    inside = np.zeros((100, 181), bool)
    inside[30:80, slice(*columns)] = True
    scene = MemoryScene.of(data, valid=valid)
    whole = run(engine, scene, tile)
    scene.reads.clear()
    part = run(engine, scene, tile, wanted=lambda w: inside[w.slices], columns=columns)
    assert np.array_equal(part, np.where(inside, whole, NODATA))
    around = tile + engine.halo + engine.stride
    assert min(w.col_off for w in scene.reads) >= max(0, columns[0] - around)
    assert max(w.col_end for w in scene.reads) <= min(181, columns[1] + around)


@given(columns=st.tuples(st.integers(0, 99), st.integers(1, 30)), tile=st.integers(1, 40),
       halo=st.integers(0, 30))  # fmt: skip
def test_columns_that_are_not_asked_for_change_nothing(columns, tile: int, halo: int) -> None:
    """An engine that looks as far as its halo, but no further, cannot tell."""
    first, last = columns[0], min(100, columns[0] + columns[1])
    data = RNG.integers(1, 200, (1, 20, 100), dtype=np.uint8)
    inside = np.zeros((20, 100), bool)
    inside[:, first:last] = True

    class Looking(EchoEngine):
        def predict(self, tiles, valid, *, confidence):
            width = tiles.shape[3] - 2 * halo
            sums = sum(tiles[:, 0, :, k : k + width].astype(int) for k in range(2 * halo + 1))
            labels = (sums[:, slice(halo, -halo or None)] % 250).astype(np.uint8)
            echo = EchoEngine.predict(self, tiles, valid, confidence=confidence)
            return replace(echo, labels=labels)

    scene, engine = MemoryScene.of(data), Looking(halo=halo)
    whole = run(engine, scene, tile)
    part = run(engine, scene, tile, wanted=lambda w: inside[w.slices], columns=(first, last))
    assert np.array_equal(part, np.where(inside, whole, NODATA))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_radius_and_stride_by_perturbation(depth: int) -> None:
    import torch

    from geounet.nn import UNet

    torch.manual_seed(depth)
    net = UNet(1, 2, width=4, depth=depth).double().eval()
    size = round_up(net.radius, net.stride) * 2 + 5 * net.stride
    x = torch.randn(1, 1, size, size, dtype=torch.double, requires_grad=True)
    start = size // 2 // net.stride * net.stride
    block = slice(start, start + net.stride)
    (grad,) = torch.autograd.grad(net(x)[0, :, block, block].square().sum(), x)
    hit = grad[0, 0].nonzero()
    low, high = int(hit.min()), int(hit.max())
    assert max(start - low, high - block.stop + 1) == net.radius
    shifted = torch.roll(x, (net.stride, net.stride), dims=(2, 3))
    inner = slice(start, start + 2 * net.stride)
    back = slice(start + net.stride, start + 3 * net.stride)
    with torch.no_grad():
        assert torch.allclose(net(x)[..., inner, inner], net(shifted)[..., back, back], atol=1e-9)


def test_out_of_memory_halves_the_minibatch_and_goes_on(bundle: Bundle, monkeypatch) -> None:
    import torch

    from geounet.errors import DeviceError

    engine = engine_of(bundle)
    engine._minibatch = 8
    forward = engine._forward

    def small_device(tiles, valid, **how):
        if len(tiles) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(tiles, valid, **how)

    monkeypatch.setattr(engine, "_forward", small_device)
    tiles = RNG.normal(size=(7, 2, 128, 128)).astype(np.float32)
    valid = np.ones((7, 128, 128), bool)
    prediction = engine.predict(tiles, valid, confidence=True)
    assert engine.minibatch == 2
    assert prediction.labels.shape == (7, 128 - 2 * engine.halo, 128 - 2 * engine.halo)
    monkeypatch.setattr(engine, "_forward", lambda t, v, **_: small_device(np.repeat(t, 9, 0), v))
    with pytest.raises(DeviceError, match="pass a smaller --tile"):
        engine.predict(tiles, valid, confidence=False)


def test_confidence_is_the_softmax_maximum_in_percent(bundle: Bundle) -> None:
    engine = engine_of(bundle)
    tiles = RNG.normal(size=(2, 2, 128, 128)).astype(np.float32)
    valid = np.ones((2, 128, 128), bool)
    logits = engine.logits(tiles, valid)[
        ..., engine.halo : -engine.halo, engine.halo : -engine.halo
    ]
    odds = np.exp(logits - logits.max(1, keepdims=True))
    expected = 100 * (odds / odds.sum(1, keepdims=True)).max(1)
    got = engine.predict(tiles, valid, confidence=True)
    assert np.array_equal(got.labels, logits.argmax(1))
    assert np.abs(got.confidence - expected).max() <= 0.51


def test_the_same_seed_gives_the_same_bundle(tmp_path: Path) -> None:
    paths = [random_bundle(tmp_path / f"{i}.geounet", seed=4) for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
