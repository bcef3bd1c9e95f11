"""Law 3 for blocks: labels do not tell where the chunks of a scene end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import shapely
from affine import Affine
from blocks import labels_in_blocks, splits
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geounet.aoi import AreaOfInterest
from geounet.blend import blended_strips
from geounet.classes import NODATA
from geounet.engine import Prediction
from geounet.engine.port import one_by_one
from geounet.feed import StripFeeder
from geounet.lazy.layout import Layout
from geounet.scene import MemoryScene
from geounet.tiling import TileGrid, mirror_index, round_up


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """A label is made of all pixels within the radius, and of the cell of the stride it lies in."""

    halo: int
    stride: int
    minibatch: int = 1
    seam: str = "exact"
    device: str = "cpu"

    def scores(self, tiles, valid):
        """(batch, height, width) of whole numbers: right where all neighbours are there."""
        seen = np.where(valid, tiles[:, 0].astype(np.int64) + 1, 0)
        batch, height, _ = seen.shape
        cells = seen.reshape(batch, height // self.stride, self.stride, -1, self.stride)
        cells = cells.sum((2, 4)).repeat(self.stride, 1).repeat(self.stride, 2)
        total = 3 * seen + 5 * cells
        for axis in (1, 2):  # what comes round the edge lies in the halo
            total += np.roll(seen, self.halo, axis) + 7 * np.roll(seen, -self.halo, axis)
        return total

    def predict(self, tiles, valid, *, confidence):
        assert not confidence
        assert tiles.shape[2] % self.stride == tiles.shape[3] % self.stride == 0
        inner = slice(self.halo, -self.halo or None)
        scores = self.scores(tiles, valid)[:, inner, inner]
        return Prediction(labels=(scores % 251).astype(np.uint8), confidence=None)

    def predict_each(self, batches, *, confidence):
        return one_by_one(self, batches, confidence=confidence)


@dataclass(frozen=True, kw_only=True)
class Placed(Neighbours):
    """Probabilities that depend on the place in the tile, as of networks that see all of it."""

    seam: str = "blend"

    @property
    def codes(self):
        return np.arange(3, dtype=np.uint8)

    def probabilities(self, tiles, valid):
        scores = self.scores(tiles, valid) % 1009
        place = np.arange(scores.shape[1])[:, None] * 31 + np.arange(scores.shape[2]) * 17
        odds = np.stack([scores, (scores * 7 + place) % 1009, (place * 3) % 1009 + 0 * scores], 1)
        return (odds / odds.sum(1, keepdims=True).clip(1)).astype(np.float32)


corner = st.integers(0, 90)


@st.composite
def scenes(draw):
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    data = rng.integers(0, 250, (1, height, width), dtype=np.uint8)
    data[0][rng.random((height, width)) < draw(st.sampled_from([0.0, 0.1, 0.9]))] = 255
    return data, (draw(splits(height)), draw(splits(width)))


def layout_of(engine, data, tile, *, whole=False):
    _, height, width = data.shape
    return Layout(
        height=height, width=width, halo=engine.halo, stride=engine.stride,
        seam=engine.seam, tile=tile, whole=whole,
    )  # fmt: skip


@given(
    scene=scenes(),
    stride=st.sampled_from([1, 4, 8]),
    halo=st.integers(1, 5),
    tile=st.none() | st.integers(1, 5),
    whole=st.booleans(),
)
def test_exact_blocks_are_the_whole_scene(scene, stride, halo, tile, whole) -> None:
    data, chunks = scene
    _, height, width = data.shape
    engine = Neighbours(halo=halo * stride, stride=stride)
    rows = mirror_index(-engine.halo, round_up(height, stride) + engine.halo, height)
    cols = mirror_index(-engine.halo, round_up(width, stride) + engine.halo, width)
    padded = data[:, rows][:, :, cols]
    # one pass over the whole mirrored scene
    labels = engine.predict(padded[None], padded[0][None] != 255, confidence=False).labels[0]
    expected = np.where(data[0] == 255, NODATA, labels[:height, :width])
    layout = layout_of(engine, data, tile and tile * stride, whole=whole and tile is not None)
    assert np.array_equal(labels_in_blocks(data, chunks, layout, engine), expected)


@given(
    scene=scenes(),
    stride=st.sampled_from([1, 4, 8]),
    halo=st.integers(0, 5),
    tile=st.integers(1, 7),
    whole=st.booleans(),
    minibatch=st.integers(1, 3),
)
def test_blended_blocks_are_the_whole_scene(scene, stride, halo, tile, whole, minibatch) -> None:
    data, chunks = scene
    _, height, width = data.shape
    engine = Placed(halo=halo * stride, stride=stride, minibatch=minibatch)
    grid = TileGrid.cover(
        height=height, width=width, tile=tile * stride,
        halo=engine.halo, stride=stride, whole=whole,
    )  # fmt: skip
    memory = MemoryScene.of(data, valid=data[0] != 255)
    feeds = StripFeeder(scene=memory, bands=(1,), grid=grid, spread=grid.halo)
    strips = blended_strips([engine], feeds, grid, confidence=False)
    expected = np.concatenate([strip.labels for strip in strips])
    layout = layout_of(engine, data, tile * stride, whole=whole)
    assert np.array_equal(labels_in_blocks(data, chunks, layout, engine), expected)


@given(scene=scenes(), seam=st.sampled_from(["exact", "blend"]), box=st.tuples(*[corner] * 4))
def test_an_area_changes_nothing_inside_of_it(scene, seam, box) -> None:
    data, chunks = scene
    _, height, width = data.shape
    engine = (Neighbours if seam == "exact" else Placed)(halo=8, stride=4)
    layout = layout_of(engine, data, 16)
    whole = labels_in_blocks(data, chunks, layout, engine)
    top, bottom, left, right = (*sorted(box[:2]), *sorted(box[2:]))
    # half a pixel more: centres tell
    outline = shapely.box(left - 0.3, top - 0.3, right + 0.3, bottom + 0.3)
    grid = GeoBox((height, width), Affine.identity(), None)
    wanted = AreaOfInterest(shapes=(outline,), geobox=grid)
    inside = np.zeros((height, width), bool)
    inside[top:bottom, left:right] = True
    part = labels_in_blocks(data, chunks, layout, engine, wanted)
    assert np.array_equal(part, np.where(inside, whole, NODATA))


def test_tiles_off_the_stride_are_noticed() -> None:
    """The tests above could not fail if it did not matter where tiles begin."""
    data = np.random.default_rng(1).integers(0, 250, (1, 60, 60), dtype=np.uint8)
    engine, chunks = Neighbours(halo=8, stride=4), ((23, 37), (60,))
    right = labels_in_blocks(data, chunks, layout_of(engine, data, 16), engine)
    assert np.array_equal(
        right, labels_in_blocks(data, ((60,), (60,)), layout_of(engine, data, 16), engine)
    )
    assert not np.array_equal(shifted_by_one(data, chunks, engine), right)


def shifted_by_one(data, chunks, engine):
    """With parts that begin where blocks do, off the stride."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Layout, "_part", lambda _self, span, _size: span)
        return labels_in_blocks(data, chunks, layout_of(engine, data, 16), engine)
