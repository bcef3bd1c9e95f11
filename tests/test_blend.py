"""Blended tiles: identity, no seam, and that only tile and halo have a say in the result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from cuts import Cut, cuts
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geounet
from geounet.bands import Normalizer
from geounet.blend import _Blender, blended_strips
from geounet.bundle import load_bundle
from geounet.classes import NODATA
from geounet.engine.torch import TorchEngine
from geounet.feed import StripFeeder
from geounet.scene import MemoryScene
from geounet.stitch import segment_strip
from geounet.testing import EchoEngine, random_bundle
from geounet.testing.bundles import random_spec
from geounet.tiling import TileGrid

RNG = np.random.default_rng(3)


@dataclass(frozen=True, kw_only=True)
class Certain:
    """Its bands are the probabilities; with a tilt, of two that depend on the place in the tile."""

    codes: np.ndarray = field(default_factory=lambda: np.array([3, 7, 9], np.uint8))
    halo: int = 0
    minibatch: int = 1
    stride: int = 1
    tilt: float = 0.0

    def probabilities(self, tiles, valid):
        out = np.where(valid[:, None], tiles, 0).astype(np.float32)
        if self.tilt:
            row = np.linspace(-self.tilt, self.tilt, tiles.shape[2], dtype=np.float32)[:, None]
            col = np.linspace(-self.tilt, self.tilt, tiles.shape[3], dtype=np.float32)
            out[:, 0] += row + col
            out[:, 1] -= row + col
        return out


def strips_of(
    engine,
    scene,
    tile,
    *,
    wanted=None,
    columns=None,
    confidence=True,
    advance=lambda _: None,
    whole=False,
    engines=1,
):
    info = scene.info
    grid = TileGrid.cover(
        height=info.height,
        width=info.width,
        tile=tile,
        halo=engine.halo,
        stride=engine.stride,
        whole=whole,
    )
    bands = range(1, len(info.bands) + 1)
    feeds = StripFeeder(
        scene=scene, bands=bands, grid=grid, wanted=wanted, columns=columns, spread=grid.halo
    )
    return list(
        blended_strips([engine] * engines, feeds, grid, confidence=confidence, advance=advance)
    )


def run(engine, scene, tile, **options):
    """Labels and confidence, of strips that follow one another."""
    strips = strips_of(engine, scene, tile, **options)
    assert [s.window.row_off for s in strips[1:]] == [s.window.row_end for s in strips[:-1]]
    assert all(s.labels.shape == (s.window.height, s.window.width) for s in strips)
    return tuple(
        np.concatenate([getattr(s, what) for s in strips]) for what in ("labels", "confidence")
    )


@given(cut=cuts(labels=4))
def test_identity(cut: Cut) -> None:
    seen = []
    scene = MemoryScene.of(cut.data, valid=cut.valid)
    labels, percent = run(cut.engine, scene, cut.tile, advance=seen.append, whole=cut.whole)
    assert np.array_equal(labels, np.where(cut.valid, cut.data[0], NODATA))
    assert np.array_equal(percent, np.where(cut.valid, 100, NODATA))
    assert sum(seen) == cut.valid.size
    assert min(seen) >= 0


@given(cut=cuts(labels=4), engines=st.integers(2, 3))
def test_several_engines_give_what_one_gives(cut: Cut, engines: int) -> None:
    scene = MemoryScene.of(cut.data, valid=cut.valid)
    one = run(cut.engine, scene, cut.tile, whole=cut.whole)
    several = run(cut.engine, scene, cut.tile, whole=cut.whole, engines=engines)
    assert np.array_equal(one, several)


@pytest.mark.parametrize("tile", [8, 24, 96])
@pytest.mark.parametrize("halo", [0, 8, 16])
def test_probabilities_come_back_as_they_went_in(tile: int, halo: int) -> None:
    odds = RNG.dirichlet([1, 1, 1], (61, 83)).transpose(2, 0, 1).astype(np.float32)
    labels, percent = run(Certain(halo=halo), MemoryScene.of(odds), tile)
    ordered = np.sort(odds, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-5
    assert clear.mean() > 0.99
    assert np.array_equal(labels[clear], Certain().codes[odds.argmax(0)][clear])
    assert np.abs(percent - 100 * odds.max(0)).max() <= 0.5001


def test_no_tile_can_be_told_from_the_result() -> None:
    """A network whose neighbouring tiles disagree by 0.8 leaves no step where they end."""
    flat = np.full((3, 400, 400), 0.5, np.float32)
    flat[2] = 0
    engine = Certain(halo=32, tilt=0.2)
    seen = []
    mean = []

    class Keeping(_Blender):
        def close(self, feed, *, confidence):
            strip = super().close(feed, confidence=confidence)
            rows = strip.window.height
            seen.append(self._weights[:rows].copy())
            mean.append(self._sums[0, :rows] / self._weights[:rows])
            return strip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geounet.blend._Blender", Keeping)
        strips_of(engine, MemoryScene.of(flat), 64)
    odds, weights = np.concatenate(mean), np.concatenate(seen)
    assert odds.shape == (400, 400)
    jump = 2 * 0.2 * 64 / 127  # where a tile would end, pasted
    for axis in (0, 1):
        steps = np.abs(np.diff(odds, axis=axis)).max(axis=1 - axis)
        assert steps.max() < jump / 15
        borders = np.zeros(399, bool)  # of cores, and of what their tiles read
        for shift in (-32, 0, 32):
            borders[np.arange(64 + shift, 400, 64)[:5] - 1] = True
        assert steps[borders].max() < 1.05 * steps[~borders].max()
    assert np.abs(weights[32:-64, 32:-64] - 1).max() < 1e-5


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A U-Net that is to be blended, so that it can be held to its exact result."""
    spec = replace(random_spec(("a", "b"), classes=4, width=4, depth=2), seam="blend")
    return load_bundle(random_bundle(tmp_path_factory.mktemp("bundle") / "m.geounet", spec))


def engine_of(bundle):
    normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
    return TorchEngine(bundle, normalizer, device="cpu", precision="fp32")


def test_what_is_exact_is_nearly_so_when_blended(bundle) -> None:
    """The outer ramp of a tile sees its padding, and hardly counts."""
    engine = engine_of(bundle)
    assert engine.seam == "blend"
    scene = MemoryScene.of(RNG.normal(size=(2, 150, 131)).astype(np.float32))
    labels, _ = run(engine, scene, 64)
    grid = TileGrid.cover(height=150, width=131, tile=64, halo=engine.halo, stride=engine.stride)
    feeds = StripFeeder(scene=scene, bands=(1, 2), grid=grid)
    exact = np.concatenate([segment_strip(engine, f, grid, confidence=False).labels for f in feeds])
    assert 0.97 < (labels == exact).mean() < 1


def test_the_minibatch_has_no_say(bundle, monkeypatch) -> None:
    scene = MemoryScene.of(RNG.normal(size=(2, 90, 200)).astype(np.float32))
    results = []
    for size in (1, 3, 8):
        engine = engine_of(bundle)
        monkeypatch.setattr(engine, "_minibatch", size)
        results.append(run(engine, scene, 32))
    for labels, percent in results[1:]:
        assert (labels == results[0][0]).mean() > 0.9999
        assert np.abs(percent.astype(int) - results[0][1]).max() <= 1


def test_probabilities_of_the_engine(bundle, monkeypatch) -> None:
    import torch

    engine = engine_of(bundle)
    tiles = RNG.normal(size=(5, 2, 64, 64)).astype(np.float32)
    valid = np.ones((5, 64, 64), bool)
    odds = engine.probabilities(tiles, valid)
    expected = torch.softmax(torch.from_numpy(engine.logits(tiles, valid)), 1).numpy()
    assert odds.dtype == np.float32
    np.testing.assert_allclose(odds, expected, atol=1e-4)
    np.testing.assert_allclose(odds.sum(1), 1, atol=1e-5)
    forward = engine._forward

    def small_device(tiles, valid, **how):
        if len(tiles) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(tiles, valid, **how)

    engine._minibatch = 5
    monkeypatch.setattr(engine, "_forward", small_device)
    np.testing.assert_allclose(engine.probabilities(tiles, valid), odds, atol=1e-4)
    assert engine.minibatch == 2


@pytest.mark.parametrize("tile", [16, 32])
@pytest.mark.parametrize("columns", [(30, 45), (0, 3), (139, 140), (0, 140)])
def test_an_area_of_interest_changes_nothing_inside(bundle, tile: int, columns) -> None:
    engine = engine_of(bundle)
    data = RNG.normal(size=(2, 160, 140)).astype(np.float32)
    valid = RNG.random((160, 140)) < 0.98
    inside = np.zeros((160, 140), bool)
    inside[70:101, slice(*columns)] = True
    whole = run(engine, MemoryScene.of(data, valid=valid), tile)
    scene = MemoryScene.of(data, valid=valid)
    part = run(engine, scene, tile, wanted=lambda window: inside[window.slices], columns=columns)
    for one, other in zip(whole, part, strict=True):
        assert np.array_equal(one[inside], other[inside])
        assert (other[~inside] == NODATA).all()
    assert sum(w.height for w in scene.reads) < 160


def test_a_hole_stays_a_hole_and_nan_never_spreads(bundle) -> None:
    data = RNG.normal(size=(2, 130, 130)).astype(np.float32)
    data[0, 60, 70] = np.nan
    scene = MemoryScene.of(data)
    labels, percent = run(engine_of(bundle), scene, 32)
    hole = np.zeros((130, 130), bool)
    hole[60, 70] = True
    assert np.array_equal(labels == NODATA, hole)
    assert np.array_equal(percent == NODATA, hole)
    assert percent[~hole].max() <= 100
    assert sum(w.height for w in scene.reads) == 130  # each row once


@pytest.mark.parametrize("height", [300, 3000])
def test_memory_holds_a_row_of_tiles_and_its_overlap(height: int) -> None:
    seen = set()

    class Keeping(_Blender):
        def add(self, tile, probability):
            seen.add(self._sums.shape)
            super().add(tile, probability)

    scene = MemoryScene.of(RNG.integers(0, 4, (1, height, 40), dtype=np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geounet.blend._Blender", Keeping)
        strips = strips_of(EchoEngine(halo=16), scene, 64)
    assert seen == {(4, 64 + 2 * 16, 40)}
    assert max(s.window.height for s in strips) <= 64 + 16


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_segment(tmp_path, bundle, engine: str) -> None:
    data = RNG.normal(size=(2, 150, 131)).astype(np.float32)
    grid = GeoBox((150, 131), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
    scene = MemoryScene.of(data, geobox=grid, names=("a", "b"))
    options = {"confidence": True, "polygons": False, "tile": 64, "engine": engine}
    report = geounet.segment(scene, model=bundle.path, out=tmp_path / "a.tif", **options)
    assert report.engine == engine
    assert (report.seam, report.halo, report.tile) == ("blend", engine_of(bundle).halo, 64)
    with rasterio.open(report.raster) as one, rasterio.open(report.confidence) as other:
        got = one.read(1), other.read(1)
    labels, percent = run(engine_of(bundle), scene, 64)
    assert np.array_equal(labels, got[0])
    # another engine may round 72.5 percent to the other side
    assert np.abs(percent.astype(int) - got[1]).max() <= (engine == "openvino")
    assert report.valid_pixels == 150 * 131
