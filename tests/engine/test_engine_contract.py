"""What every engine must keep: one suite over torch and OpenVINO."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from geounet.bands import BandSpec, Normalizer
from geounet.bundle import load_bundle
from geounet.classes import ClassDef, ClassScheme
from geounet.engine import ModelEngine
from geounet.engine.openvino import OpenVinoEngine
from geounet.engine.torch import TorchEngine
from geounet.feed import StripFeeder
from geounet.scene import MemoryScene
from geounet.stitch import segment_strip
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet.tiling import TileGrid

CODES = (10, 7, 200)
SCALE, OFFSET = (0.5, 2.0), (-1.0, 3.0)


def in_float32(bundle, normalizer):
    return TorchEngine(bundle, normalizer, device="cpu", precision="fp32")


ENGINES = {"torch": in_float32, "openvino": OpenVinoEngine}


def spec_of(arch, depth=2):
    spec = random_spec(("red", "nir"), classes=3, depth=depth, arch=arch)
    classes = [ClassDef(code=c, name=f"class {c}", color="#123456") for c in CODES]
    bands = (BandSpec(name="red", mean=40.0, std=25.0), BandSpec(name="nir", mean=100.0, std=60.0))
    return replace(spec, classes=ClassScheme(classes=tuple(classes)), bands=bands, clip=(-90, 300))


@pytest.fixture(scope="module", params=["unet", "fcn", "segnet"])
def bundle(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "m.geounet"
    return load_bundle(random_bundle(path, spec_of(request.param), seed=5))


@pytest.fixture(scope="module")
def normalizer(bundle):
    return Normalizer.of(bundle.spec.bands, bundle.spec.clip, SCALE, OFFSET)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request, bundle, normalizer) -> ModelEngine:
    return ENGINES[request.param](bundle, normalizer)


def scene_of(engine, *, batch=1, rows=4, cols=5, seed=0):
    """Stored values (batch, 2, height, width) that are whole numbers of 0..127, and valid."""
    rng = np.random.default_rng(seed)
    shape = [2 * engine.halo + n * engine.stride for n in (rows, cols)]
    tiles = rng.integers(0, 128, (batch, 2, *shape)).astype(np.float32)
    return tiles, rng.random((batch, *shape)) < 0.95


def expected_logits(bundle, normalizer, tiles, valid):
    """The network as it is saved, on input that numpy has normalised."""
    x = np.stack([normalizer(*pair) for pair in zip(tiles, valid, strict=True)])
    with torch.inference_mode():
        return bundle.network(torch.from_numpy(x)).numpy()


def inner(engine, array):
    return array[..., engine.halo : -engine.halo, engine.halo : -engine.halo]


def test_says_what_it_is(engine, bundle) -> None:
    assert engine.name in ENGINES
    assert (engine.device, engine.precision) == ("cpu", "fp32")
    network = bundle.network
    assert (engine.stride, engine.halo) == (network.stride, network.halo)
    assert engine.seam == bundle.spec.seam
    assert engine.minibatch >= 1
    assert engine.codes.tolist() == list(CODES)
    assert engine.codes.dtype == np.uint8


def test_logits_are_those_of_the_network(engine, bundle, normalizer) -> None:
    tiles, valid = scene_of(engine)
    logits = engine.logits(tiles, valid)
    expected = expected_logits(bundle, normalizer, tiles, valid)
    assert logits.dtype == np.float32
    assert expected.std() > 0.1
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_labels_are_codes_without_the_halo(engine, bundle, normalizer) -> None:
    tiles, valid = scene_of(engine, batch=3)
    got = engine.predict(tiles, valid, confidence=False)
    logits = inner(engine, expected_logits(bundle, normalizer, tiles, valid))
    assert got.confidence is None
    assert got.labels.dtype == np.uint8
    assert got.labels.shape == (3, 4 * engine.stride, 5 * engine.stride)
    ordered = np.sort(logits, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 1e-4
    assert clear.mean() > 0.99
    assert np.array_equal(got.labels[clear], np.array(CODES)[logits.argmax(1)][clear])
    assert len(np.unique(got.labels)) > 1


def test_confidence_is_the_largest_probability_in_percent(engine) -> None:
    tiles, valid = scene_of(engine, batch=2)
    odds = engine.probabilities(tiles, valid)
    assert odds.shape == (2, len(CODES), *tiles.shape[2:])
    assert odds.dtype == np.float32
    np.testing.assert_allclose(odds.sum(1), 1, atol=1e-5)
    logits = torch.from_numpy(engine.logits(tiles, valid))
    np.testing.assert_allclose(odds, torch.softmax(logits, 1).numpy(), atol=1e-5)
    got = engine.predict(tiles, valid, confidence=True)
    assert got.confidence.dtype == np.uint8
    assert got.confidence.shape == got.labels.shape
    percent = 100 * inner(engine, odds).max(1)
    assert np.abs(got.confidence - percent).max() <= 0.501
    assert np.array_equal(got.labels, engine.predict(tiles, valid, confidence=False).labels)


def test_pixels_that_are_not_valid_are_the_mean_whatever_they_hold(engine, normalizer) -> None:
    tiles, valid = scene_of(engine)
    mean = (normalizer.mean - normalizer.offset) / normalizer.scale
    everywhere = np.ones_like(valid)
    expected = engine.logits(np.where(valid[:, None], tiles, mean[:, None, None]), everywhere)
    for value in (np.nan, np.inf, -np.inf, -32768, 3e38):
        filled = np.where(valid[:, None], tiles, np.float32(value))
        logits = engine.logits(filled, valid)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        got = engine.predict(filled, valid, confidence=True)
        assert set(np.unique(got.labels)) <= set(CODES)
        assert got.confidence.max() <= 100


def test_values_are_clipped_in_the_unit(engine) -> None:
    tiles, valid = scene_of(engine)
    far = tiles.astype(np.float64)
    far[0, 0, 3::7], far[0, 0, 5::7], far[0, 1, 1::5], far[0, 1, 2::5] = 1e300, np.inf, -1e9, -1e300
    near = far.copy()
    near[0, 0, 3::7], near[0, 0, 5::7], near[0, 1, 1::5], near[0, 1, 2::5] = 999, 999, -99, -99
    np.testing.assert_allclose(engine.logits(far, valid), engine.logits(near, valid), atol=1e-4)


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">i2", ">f4"]
)
def test_stored_types_make_no_difference(engine, dtype) -> None:
    tiles, valid = scene_of(engine)
    stored = tiles.astype(dtype)
    assert np.array_equal(stored, tiles)
    expected = engine.predict(tiles, valid, confidence=True)
    got = engine.predict(stored, valid, confidence=True)
    assert np.array_equal(got.labels, expected.labels)
    assert np.array_equal(got.confidence, expected.confidence)


def test_large_whole_numbers_are_what_they_are(engine, bundle, normalizer) -> None:
    """They would be negative as int16."""
    tiles, valid = scene_of(engine)
    stored = (tiles + 60000).astype(np.uint16)
    expected = expected_logits(bundle, normalizer, stored, valid)
    np.testing.assert_allclose(engine.logits(stored, valid), expected, atol=1e-4)


def test_a_minibatch_makes_no_difference(engine) -> None:
    tiles, valid = scene_of(engine, batch=3)
    together = engine.predict(tiles, valid, confidence=True)
    for i in range(3):
        alone = engine.predict(tiles[i : i + 1], valid[i : i + 1], confidence=True)
        assert np.array_equal(alone.labels[0], together.labels[i])
        assert np.array_equal(alone.confidence[0], together.confidence[i])


@pytest.mark.parametrize("confidence", [False, True])
def test_each_is_what_it_is_alone(engine, confidence) -> None:
    batches = [scene_of(engine, batch=n, rows=n, seed=n) for n in (1, 2, 1)]
    for batch, got in zip(
        batches, engine.predict_each(iter(batches), confidence=confidence), strict=True
    ):
        alone = engine.predict(*batch, confidence=confidence)
        assert np.array_equal(got.labels, alone.labels)
        assert (got.confidence is not None) == confidence
        assert not confidence or np.array_equal(got.confidence, alone.confidence)
    assert list(engine.predict_each([], confidence=confidence)) == []


def test_tiles_of_any_shape_one_after_the_other(engine, bundle, normalizer) -> None:
    for rows, cols in ((1, 1), (3, 1), (2, 6), (1, 1)):
        tiles, valid = scene_of(engine, rows=rows, cols=cols, seed=rows)
        expected = expected_logits(bundle, normalizer, tiles, valid)
        np.testing.assert_allclose(engine.logits(tiles, valid), expected, atol=1e-4)


def test_what_comes_back_stays_as_it_was(engine) -> None:
    tiles, valid = scene_of(engine)
    first = engine.predict(tiles, valid, confidence=True)
    kept = first.labels.copy(), first.confidence.copy()
    engine.predict(tiles[..., ::-1], valid[..., ::-1], confidence=True)
    assert np.array_equal(first.labels, kept[0])
    assert np.array_equal(first.confidence, kept[1])


def test_views_are_taken_and_left_alone(engine) -> None:
    tiles, valid = scene_of(engine)
    large = np.full((2, *np.add(tiles.shape[2:], 9)), 5, np.float32)
    large[:, 4:-5, 3:-6] = tiles[0]
    before = large.copy()
    view = large[None, :, 4:-5, 3:-6]
    expected = engine.predict(tiles, valid, confidence=False).labels
    assert np.array_equal(engine.predict(view, valid, confidence=False).labels, expected)
    assert np.array_equal(large, before)


@pytest.mark.parametrize("tile", [8, 20, 36])
def test_labels_do_not_depend_on_the_tile(engine, tile) -> None:
    rng = np.random.default_rng(3)
    data = rng.integers(0, 128, (2, 50, 61)).astype(np.int16)
    scene = MemoryScene.of(data, valid=rng.random((50, 61)) < 0.9)
    whole, cut = (labels_of(engine, scene, side) for side in (64, tile))
    assert (whole == cut).mean() > 0.9995  # but for ties
    assert len(np.unique(whole)) > 2


def labels_of(engine, scene, tile):
    grid = TileGrid.cover(
        height=scene.info.height,
        width=scene.info.width,
        tile=tile,
        halo=engine.halo,
        stride=engine.stride,
    )
    feeds = StripFeeder(scene=scene, bands=(1, 2), grid=grid)
    strips = [segment_strip(engine, feed, grid, confidence=False) for feed in feeds]
    return np.concatenate([strip.labels for strip in strips])
