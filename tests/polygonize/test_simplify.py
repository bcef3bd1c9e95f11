"""Simplified borders: a valid coverage, near the exact one."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from polygons import (
    BANDS,
    CUTS,
    LARGE,
    NAMED,
    NORTH_UP,
    PIXELS,
    N,
    assert_same,
    geometries,
    larger,
    polygonize,
    rasters,
)

TOLERANCES = [0.6, 1, 1.5, 3, 10]
TOLERANCE = st.sampled_from(TOLERANCES)


def both(labels, tolerance, *, pixel=(1, 1), **more):
    """Exact and simplified, in the unit of the tolerance."""
    affine = Affine.scale(pixel[0], -pixel[1])
    return (
        polygonize(labels, affine=affine, **more),
        polygonize(labels, affine=affine, tolerance=tolerance, pixel=pixel, **more),
    )


def rings(shapes) -> np.ndarray:
    return shapely.get_rings(shapes)


def vertices(shapes) -> np.ndarray:
    return np.unique(shapely.get_coordinates(shapes), axis=0)


def assert_disjoint(shapes) -> None:
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    one, other = one[one < other], other[one < other]
    shared = shapely.area(shapely.intersection(shapes[one], shapes[other]))
    assert not shared.any(), shapes[one[shared.argmax()]]


def assert_simplified(labels, tolerance, *, pixel=(1, 1), nodata=None, band=None) -> None:
    """All that holds of a simplified raster."""
    exact, simple = both(labels, tolerance, pixel=pixel, nodata=nodata, band=band)
    assert exact.columns["class"].tolist() == simple.columns["class"].tolist()
    assert exact.columns["pixels"].tolist() == simple.columns["pixels"].tolist()
    if not len(exact):
        return
    before, after = geometries(exact), geometries(simple)
    valid = shapely.is_valid(after)
    assert valid.all(), shapely.is_valid_reason(after[~valid])
    assert all(p.exterior.is_ccw and not any(h.is_ccw for h in p.interiors) for p in after)
    assert shapely.coverage_is_valid(after)
    if nodata is None:
        area = labels.size * pixel[0] * pixel[1]
        assert shapely.area(after).sum() == pytest.approx(area, rel=1e-9)
    else:
        assert_disjoint(after)
    assert_near(before, after, tolerance)


def assert_near(before, after, tolerance) -> None:
    """Ring for ring: no vertex is new, and none of the exact ones is far from the border."""
    assert shapely.get_num_interior_rings(before).tolist() == (
        shapely.get_num_interior_rings(after).tolist()
    )
    exact, simple = rings(before), rings(after)
    assert shapely.hausdorff_distance(exact, simple).max() <= tolerance * (1 + 1e-9)
    # none is new: where a neighbour's border ends the exact ring runs straight through
    xy, ring = shapely.get_coordinates(simple, return_index=True)
    assert not shapely.distance(shapely.points(xy), exact[ring]).any()


@given(labels=larger(), tolerance=TOLERANCE, nodata=st.sampled_from([None, 0, 1]), band=BANDS)
def test_any_raster(labels, tolerance, nodata, band) -> None:
    assert_simplified(labels, tolerance, nodata=nodata, band=band)


@given(labels=rasters(), tolerance=TOLERANCE, nodata=st.sampled_from([None, N]), band=BANDS)
def test_any_small_raster(labels, tolerance, nodata, band) -> None:
    assert_simplified(labels, tolerance, nodata=nodata, band=band)


@given(
    labels=larger(),
    tolerance=TOLERANCE,
    pixel=st.sampled_from([(1, 2), (3, 1), (0.7, 0.4), (10, 10)]),
    nodata=st.sampled_from([None, 0]),
    band=BANDS,
)
def test_pixels_that_are_not_square(labels, tolerance, pixel, nodata, band) -> None:
    assert_simplified(labels, tolerance * min(pixel), pixel=pixel, nodata=nodata, band=band)


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("case", LARGE)
@pytest.mark.parametrize("band", [3, 16, 256])
def test_large_rasters(case, tolerance, band) -> None:
    for nodata in (None, 0):
        assert_simplified(LARGE[case], tolerance, nodata=nodata, band=band)


@pytest.mark.parametrize("tolerance", [1, 10])
@pytest.mark.parametrize("case", NAMED)
@pytest.mark.parametrize("band", [1, 4, 64])
def test_named_rasters(case, tolerance, band) -> None:
    for nodata in (None, N):
        assert_simplified(NAMED[case], tolerance, nodata=nodata, band=band)


@given(labels=larger(), cuts=CUTS, tolerance=TOLERANCE, threads=st.integers(1, 3), band=BANDS)
def test_neither_strips_nor_threads_change_a_byte(labels, cuts, tolerance, threads, band) -> None:
    more = {"nodata": 0, "crs": "EPSG:3857", "tolerance": tolerance, "band": band}
    whole = polygonize(labels, **more)
    assert_same(whole, polygonize(labels, cuts=cuts, threads=threads, **more))


@given(labels=larger(), tolerance=TOLERANCE, band=BANDS)
def test_the_rasters_own_corners_stay(labels, tolerance, band) -> None:
    _, simple = both(labels, tolerance, nodata=None, band=band)
    height, width = labels.shape
    corners = {(0, 0), (width, 0), (0, -height), (width, -height)}
    assert corners <= set(map(tuple, vertices(geometries(simple)).tolist()))


@given(labels=larger(), band=BANDS)
def test_no_tolerance_moves_nothing(labels, band) -> None:
    exact, simple = both(labels, 0.0, nodata=0, band=band)
    assert shapely.equals(geometries(exact), geometries(simple)).all()


@pytest.mark.parametrize("band", [8, 64])
def test_stairs_become_a_slope(band) -> None:
    """Two triangles, of few vertices: one at the end of each band, which need not be on a line."""
    _, simple = both(np.tri(64, dtype=np.uint8), 1, nodata=None, band=band)
    counts = shapely.get_num_coordinates(geometries(simple)) - 1
    assert (counts >= 3).all()
    assert counts.max() <= 5 + 64 // band


@pytest.mark.parametrize("distance", [0.9, 1.1])
def test_the_tolerance_is_in_the_unit_of_the_pixel(distance) -> None:
    """A bump of one row, of 1 m: gone with 1.1 m, there with 0.9 m."""
    labels = np.zeros((40, 80), np.uint8)
    labels[20:] = 1
    labels[19, 30:50] = 1
    _, simple = both(labels, distance, nodata=None, pixel=(7, 1))
    ys = np.abs(vertices(geometries(simple))[:, 1])
    assert (19 in ys) is (distance < 1)
    _, simple = both(labels.T, distance, nodata=None, pixel=(1, 7))
    xs = vertices(geometries(simple))[:, 0]
    assert (19 in xs) is (distance < 1)


def test_fewer_vertices_the_larger_the_tolerance() -> None:
    counts = [
        shapely.get_num_coordinates(geometries(both(LARGE["large blobs"], t)[1])).sum()
        for t in TOLERANCES
    ]
    assert counts[:4] == sorted(counts[:4], reverse=True)  # beyond it, what is in the way decides
    exact, _ = both(LARGE["large blobs"], 1)
    assert counts[2] < 0.5 * shapely.get_num_coordinates(geometries(exact)).sum()


def test_a_border_across_bands_has_no_vertex_on_a_straight_line() -> None:
    """The end of a band leaves none where the border runs straight through it."""
    labels = np.repeat(np.array([[0, 0, 1, 1]], np.uint8), 50, axis=0)
    exact, simple = both(labels, 1, nodata=None, band=7)
    for batch in (exact, simple):
        assert shapely.get_num_coordinates(geometries(batch)).tolist() == [5, 5]


def test_neighbours_keep_the_vertex_where_a_border_ends() -> None:
    """Of three regions that meet in a T each has the vertex in the middle."""
    labels = np.array([[0, 0], [1, 2]], np.uint8)
    exact, simple = both(labels, 1, nodata=None)
    assert shapely.get_num_coordinates(geometries(exact)).tolist() == [5, 5, 5]
    assert sorted(shapely.get_num_coordinates(geometries(simple))) == [5, 5, 6]


def test_the_length_is_that_of_the_simplified_border() -> None:
    labels = np.tri(64, dtype=np.uint8)
    batch = polygonize(labels, crs="EPSG:32633", affine=NORTH_UP, tolerance=15, pixel=(10, 10))
    lengths = shapely.length(geometries(batch))
    np.testing.assert_allclose(batch.columns["perimeter_m"], lengths, rtol=1e-9)
    assert lengths.max() < 640 * (2 + 1.45)  # with stairs it is 640 * 4


def test_two_islands_that_touch_stay_two_holes() -> None:
    labels = np.zeros((12, 12), np.uint8)
    labels[2:6, 2:6] = labels[6:10, 6:10] = 1
    batch = polygonize(labels, affine=PIXELS, nodata=1, tolerance=3)
    (sea,) = geometries(batch)
    assert shapely.is_valid(sea)
    assert [shapely.area(shapely.Polygon(hole)) for hole in sea.interiors] == [16, 16]
