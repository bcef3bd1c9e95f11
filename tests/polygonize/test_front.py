"""Law 7 (memory): what waits for the bands below is bounded, and given back."""

from __future__ import annotations

import numpy as np
import pytest
from odc.geo.geobox import GeoBox
from polygons import (
    NORTH_UP,
    PIXELS,
    N,
    gdals,
    geometries,
    matched,
    noise,
    normalized,
    polygonize,
)

from geounet.polygonize import PolygonBatch, StripPolygonizer, Tracing, bands
from geounet.polygonize.pools import BLOCKS, CHUNKS, ENDS, FEATURES, PARTS, RINGS

POOLS = [BLOCKS, CHUNKS, ENDS, RINGS, PARTS, FEATURES]


def front(tracer: StripPolygonizer):
    return tracer._joiner._front


def size(tracer: StripPolygonizer) -> int:
    return sum(a.nbytes for a in front(tracer))


def polygonizer(height: int, width: int, **more) -> StripPolygonizer:
    geobox = GeoBox((height, width), NORTH_UP, None)
    return StripPolygonizer(Tracing(geobox=geobox, nodata=N, **more))


def speckle(k: int) -> np.ndarray:
    """So many labels that none of them hangs together for long, at corners neither."""
    return noise(k, (40, 150), (0, 1, 2, 3, N))


def blobs_that_end(k: int) -> np.ndarray:
    """Two labels of which one hangs together, down to a row of nodata."""
    out = noise(k, (40, 150), (0, 0, 1))
    out[-1] = N
    return out


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("rows", [speckle, blobs_that_end])
def test_memory_does_not_grow_with_the_height(rows, diagonal, monkeypatch) -> None:
    monkeypatch.setattr(bands, "BAND", 16)
    monkeypatch.setattr(bands, "MOST_BANDS", 1)
    tracer = polygonizer(40 * 90, 150, diagonal=diagonal)
    sizes, used = [], []
    for k in range(90):
        tracer.write(rows(k))
        sizes.append(size(tracer))
        used.append(front(tracer).used[:, 0].copy())
    assert all(used[-1][pool] > 0 for pool in POOLS)
    assert (used[-1] <= 1.3 * used[30]).all()
    assert sizes[-1] <= 1.5 * sizes[30]


def test_holes_wait_in_a_few_bytes_a_corner(monkeypatch) -> None:
    """A polygon as tall as the scene, with a hole for every lake in it: one record, not many."""
    monkeypatch.setattr(bands, "MOST_BANDS", 1)
    tracer = polygonizer(4000, 400)
    corners, sizes, used = 0, [], []
    for k in range(40):
        rows = (np.random.default_rng(k).random((100, 400)) < 0.02).astype(np.uint8)
        rows[:, ::20] = 0  # the land holds together
        tracer.write(rows)
        corners += 4 * int(rows.sum())
        sizes.append(size(tracer))
        used.append(front(tracer).used.copy())
    assert (sizes[-1] - sizes[0]) / corners < 40  # small holes: a record and a block each
    taken = used[-1][:, 0] - used[-1][:, 1]
    assert taken[RINGS] > corners / 8
    waiting = [ENDS, PARTS, FEATURES]  # the land, and lakes that cross the end of a band
    assert (taken[waiting] < 100).all()
    assert (used[-1][waiting, 0] < 300).all()
    (land,) = (g for g in geometries(tracer.finish()) if g.interiors)
    assert len(land.interiors) > corners / 8


def test_long_borders_wait_in_about_a_byte_a_corner() -> None:
    """Saws, of one polygon and open to the bottom: a corner at either side of each tooth."""
    saw = np.ones((bands.BAND, 8001), np.uint8)
    saw[3:5, 1:] = N
    saw[5, 2::2] = N
    tracer = polygonizer(10 * len(saw), saw.shape[1])
    done = [tracer.write(saw) for _ in range(10)]
    blocks = front(tracer).used[BLOCKS, 0]
    assert 64 * blocks / (9 * 16_000) < 1.2
    batch = PolygonBatch.join([*done, tracer.finish()])
    labels = np.tile(saw, (10, 1))
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, NORTH_UP)


def teeth(rows: int, columns: int) -> np.ndarray:
    """Combs that hold together only in their last row."""
    out = np.full((rows, columns), N, np.uint8)
    out[:, ::2] = 1
    out[-1] = 1
    return out


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("band", [1, 2, 9])
def test_many_parts_become_one(upside_down, diagonal, band) -> None:
    labels = teeth(30, 301)
    labels = labels[::-1].copy() if upside_down else labels
    batch = polygonize(labels, band=band, diagonal=diagonal)
    assert batch.columns["pixels"].tolist() == [int((labels == 1).sum())]
    if not diagonal:
        assert normalized([1], geometries(batch)) == gdals(labels, NORTH_UP)


def test_slots_are_used_again(monkeypatch) -> None:
    """Two rasters, one below the other, need no more room than one."""
    monkeypatch.setattr(bands, "BAND", 5)
    monkeypatch.setattr(bands, "MOST_BANDS", 1)
    one = blobs_that_end(3)
    tracer = polygonizer(80, 150)
    first = [tracer.write(one)]
    before = front(tracer).used[:, 0].copy()
    first.append(tracer.write(one))
    batch = PolygonBatch.join([*first, tracer.finish()])
    assert (front(tracer).used[:, 0] == before).all()
    both = np.concatenate([one, one])
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(both, NORTH_UP)


def test_growing_keeps_what_is_there() -> None:
    """More and more is open: the pools grow in every band."""
    labels = np.full((120, 300), N, np.uint8)
    for k in range(100):
        labels[k:, 3 * k] = k % 7
    batch = polygonize(labels, band=2)
    matched(batch, labels, NORTH_UP)
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, NORTH_UP)


def test_a_raster_without_an_open_border_takes_no_room(monkeypatch) -> None:
    monkeypatch.setattr(bands, "BAND", 4)
    monkeypatch.setattr(bands, "MOST_BANDS", 1)
    labels = np.full((40, 9), N, np.uint8)
    labels[1::4, 1:-1] = 1
    tracer = polygonizer(40, 9)
    batch = PolygonBatch.join([tracer.write(labels), tracer.finish()])
    assert batch.columns["pixels"].tolist() == [7] * 10
    assert (front(tracer).used == 0).all()


STEPS = [1, 2, 15, 16, 17, 31, 32, 2047, 2048, 2049, 40_000]
"""Around the limits of a byte or two of what is packed."""


def test_steps_of_any_length_are_unpacked_again() -> None:
    """Stairs down to the right and up again, over one band."""
    width = 2 * sum(STEPS) + 2
    labels = np.full((len(STEPS) + 2, width), N, np.uint8)
    col = 0
    for row, step in enumerate(STEPS):
        labels[row, col : width - col] = 1
        col += step
    labels[-2:, ::3] = 1
    batch = polygonize(labels, affine=PIXELS, band=1)
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, PIXELS)


@pytest.mark.parametrize("rows", [*range(1, 40), 300])
def test_a_border_fills_its_blocks_to_any_byte(rows) -> None:
    """A step more each time, so that one of them ends a block, whatever is before it."""
    labels = np.zeros((rows + 2, 3 * rows + 3), np.uint8)
    for row in range(rows):
        labels[row, : 3 * row + 1] = 1
    batch = polygonize(labels, affine=PIXELS, band=rows + 1)
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, PIXELS)
