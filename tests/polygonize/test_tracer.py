"""Law 4 (round trip) of the polygoniser, with GDAL's as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from polygons import (
    AFFINES,
    BANDS,
    CUTS,
    NAMED,
    NORTH_UP,
    PIXELS,
    N,
    assert_same,
    blobs,
    gdals,
    geometries,
    larger,
    noise,
    normalized,
    polygonize,
    rasterize,
    rasters,
    spiral,
)

SADDLE = np.array([[1, 0], [0, 1]], np.uint8)
SADDLES = {
    "two squares": SADDLE,
    "nodata": np.array([[1, N], [N, 1]], np.uint8),
    "a hole in figure eight": np.array(
        [[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], np.uint8
    ),
    "the other diagonal": np.array(
        [[1, 1, 1, 1], [1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1]], np.uint8
    ),
    "a ring that closes at a corner": np.array(
        [[1, 1, 1, N], [1, 0, 1, N], [1, 1, N, 1], [N, N, 1, 1]], np.uint8
    ),
    "an island that touches its hole": np.array(
        [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 1, 1], [1, 1, 1, 1, 1]],
        np.uint8,
    ),
    "a bay that pinches off": np.array(
        [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 1, 0], [1, 1, 0, 1]], np.uint8
    ),
    "a chain of holes": np.pad(np.eye(5, dtype=np.uint8), 1),
    "four labels at a corner": np.array([[1, 2], [3, 4]], np.uint8),
    "three labels, two of them apart": np.array([[1, 2], [3, 1]], np.uint8),
    "chequered": (np.indices((6, 7)).sum(0) % 2).astype(np.uint8),
}


def columns_of(batch):
    """Polygons in normal form with what is told of them, in an order of their own."""
    told = zip(*(batch.columns[name].tolist() for name in batch.columns), strict=True)
    wkb = shapely.to_wkb(shapely.normalize(geometries(batch)))
    return sorted(zip(wkb, told, strict=True))


def assert_clean(polygon) -> None:
    """Valid by the Simple Features rules, counter-clockwise outside, with true corners only."""
    assert shapely.is_valid(polygon), shapely.is_valid_reason(polygon)
    assert polygon.exterior.is_ccw
    assert not any(hole.is_ccw for hole in polygon.interiors)
    for ring in (polygon.exterior, *polygon.interiors):
        xy = np.asarray(ring.coords)[:-1]
        before, after = xy - np.roll(xy, 1, axis=0), np.roll(xy, -1, axis=0) - xy
        cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        assert (np.abs(cross) > 1e-6).all(), "a corner lies on a straight line"
        assert len(np.unique(xy, axis=0)) == len(xy), "the ring touches itself"


@given(labels=rasters(), cuts=CUTS, affine=st.sampled_from(sorted(AFFINES)), band=BANDS)
def test_round_trip(labels, cuts, affine, band) -> None:
    transform = AFFINES[affine]
    batch = polygonize(labels, affine=transform, cuts=cuts, band=band)
    assert np.array_equal(rasterize(batch, labels.shape, transform), labels)
    assert N not in batch.columns["class"]
    area = shapely.area(geometries(batch))
    pixels = batch.columns["pixels"] * abs(transform.determinant)
    np.testing.assert_allclose(area, pixels, rtol=1e-9)


@given(labels=larger(), cuts=CUTS, threads=st.integers(1, 3), band=BANDS, scored=st.booleans())
def test_neither_strips_nor_threads_change_a_byte(labels, cuts, threads, band, scored) -> None:
    confidence = (labels * 31 + np.arange(labels.shape[1])).astype(np.uint8) if scored else None
    more = {"nodata": 0, "confidence": confidence, "crs": "EPSG:3857", "band": band}
    whole = polygonize(labels, **more)
    assert_same(whole, polygonize(labels, cuts=cuts, threads=threads, **more))


@given(labels=larger(), bands=st.tuples(BANDS, BANDS))
def test_the_height_of_a_band_changes_no_polygon(labels, bands) -> None:
    confidence = (labels * 31 + np.arange(labels.shape[1])).astype(np.uint8)
    one, other = (polygonize(labels, nodata=0, confidence=confidence, band=band) for band in bands)
    assert columns_of(one) == columns_of(other)


@given(labels=rasters(), affine=st.sampled_from(sorted(AFFINES)), band=BANDS)
@example(labels=SADDLE, affine="north up", band=1)
def test_polygons_equal_gdals(labels, affine, band) -> None:
    batch = polygonize(labels, affine=AFFINES[affine], band=band)
    found = normalized(batch.columns["class"], geometries(batch))
    assert found == gdals(labels, AFFINES[affine])


@given(labels=larger(), nodata=st.sampled_from([None, 0, 1]), band=BANDS)
def test_larger_polygons_equal_gdals(labels, nodata, band) -> None:
    batch = polygonize(labels, nodata=nodata, band=band)
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, NORTH_UP, nodata)


@given(labels=rasters(), affine=st.sampled_from(sorted(AFFINES)), band=BANDS)
def test_polygons_are_valid_and_oriented_and_have_no_needless_corner(labels, affine, band) -> None:
    for polygon in geometries(polygonize(labels, affine=AFFINES[affine], band=band)):
        assert_clean(polygon)


@given(labels=larger(), band=BANDS)
def test_a_ring_starts_at_its_uppermost_left_vertex(labels, band) -> None:
    """Of the topmost vertices the leftmost: as on the raster, whatever its transform."""
    for polygon in geometries(polygonize(labels, affine=PIXELS, band=band)):
        for ring in (polygon.exterior, *polygon.interiors):
            x, y = ring.xy
            assert (-y[0], x[0]) == min(zip(np.negative(y), x, strict=True))


@pytest.mark.parametrize("band", [1, 4, 64])
@pytest.mark.parametrize("case", NAMED)
def test_named_rasters(case: str, band: int) -> None:
    labels = NAMED[case]
    batch = polygonize(labels, band=band)
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, NORTH_UP)
    assert np.array_equal(rasterize(batch, labels.shape), labels)
    for polygon in geometries(batch):
        assert_clean(polygon)


@pytest.mark.parametrize("case", SADDLES)
@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("band", [1, 2, 64])
def test_pixels_that_touch_at_a_corner(case: str, turns: int, band: int) -> None:
    labels = np.ascontiguousarray(np.rot90(SADDLES[case], turns))
    batch = polygonize(labels, cuts=range(len(labels)), band=band)
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, NORTH_UP)
    assert np.array_equal(rasterize(batch, labels.shape), labels)
    for polygon in geometries(batch):
        assert_clean(polygon)


def test_a_hole_in_figure_eight_is_two_holes() -> None:
    found = geometries(polygonize(SADDLES["a hole in figure eight"]))
    assert sorted(len(p.interiors) for p in found) == [0, 0, 2]


def test_diagonal_squares_are_apart() -> None:
    batch = polygonize(SADDLE)
    assert sorted(batch.columns["class"].tolist()) == [0, 0, 1, 1]
    assert batch.columns["pixels"].tolist() == [1, 1, 1, 1]


def test_a_spiral_over_many_bands_is_one_polygon() -> None:
    labels = spiral(301)
    batch = polygonize(labels, nodata=0, cuts=[100, 101], band=3)
    assert batch.columns["pixels"].tolist() == [int(labels.sum())]
    assert normalized([1], geometries(batch)) == gdals(labels, NORTH_UP, 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("band", [1, 64])
def test_thin_rasters(shape, band) -> None:
    labels = noise(5, shape, (0, 1, N))
    batch = polygonize(labels, cuts=range(40), band=band)
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, NORTH_UP)


@pytest.mark.parametrize(
    "labels",
    [noise(11, (300, 211), (0, 1, N)), blobs(3, (400, 300), 4, 4)],
    ids=["noise", "blobs"],
)
def test_large_rasters(labels) -> None:
    batch = polygonize(labels, cuts=range(0, 400, 9), threads=2)
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, NORTH_UP)
    assert np.array_equal(rasterize(batch, labels.shape), labels)
    assert_same(batch, polygonize(labels))


def test_a_wide_raster() -> None:
    """Long steps, of several bytes in what waits, and columns that need more than 16 bits."""
    stops = np.array([[0, 70_000, 70_001], [0, 1, 70_001], [0, 140, 69_000], [0, 70_000, 70_001]])
    labels = np.zeros((4, 70_001), np.uint8)
    for row, (_, a, b) in zip(labels, stops, strict=True):
        row[a:b] = 1
    batch = polygonize(labels, band=1)
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, NORTH_UP)


def test_a_real_class_map(data) -> None:
    path = data / "odd_rasters" / "rio_tiler" / "cog_cmap.tif"
    if not path.exists():
        pytest.skip(f"no {path}")
    with rasterio.open(path) as source:
        labels = source.read(1, window=((3900, 4400), (6500, 7000)))
    assert len(np.unique(labels)) == 12
    batch = polygonize(labels, nodata=None, cuts=[77, 300], threads=2)
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, NORTH_UP, None)
    assert np.array_equal(rasterize(batch, labels.shape), labels)
    assert shapely.is_valid(geometries(batch)).all()
