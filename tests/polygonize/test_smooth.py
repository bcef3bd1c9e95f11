"""Smoothed borders: a valid coverage in which every pixel keeps its polygon, and its area."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from polygons import (
    AFFINES,
    BANDS,
    CUTS,
    LARGE,
    NAMED,
    NORTH_UP,
    PIXELS,
    N,
    assert_same,
    blobs,
    geometries,
    larger,
    matched,
    normalized,
    polygonize,
    rasters,
)

from geounet.errors import OptionError
from geounet.polygonize import Tracing


def assert_disjoint(shapes) -> None:
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    one, other = one[one < other], other[one < other]
    shared = shapely.area(shapely.intersection(shapes[one], shapes[other]))
    assert not (shared > 1e-9).any(), shapes[one[shared.argmax()]]


def assert_coverage(shapes, labels, nodata) -> None:
    valid = shapely.is_valid(shapes)
    assert valid.all(), shapely.is_valid_reason(shapes[~valid])
    assert shapely.coverage_is_valid(shapes)
    if nodata is None:
        assert shapely.area(shapes).sum() == pytest.approx(labels.size, rel=1e-9)
    else:
        assert_disjoint(shapes)


def assert_smooth(labels, *, nodata=None, band=None, diagonal=False) -> None:
    """All that holds of a smoothed raster."""
    more = {"affine": PIXELS, "nodata": nodata, "band": band, "diagonal": diagonal}
    exact, smooth = polygonize(labels, **more), polygonize(labels, smooth=True, **more)
    for name in ("class", "pixels", "touches_edge"):
        assert exact.columns[name].tolist() == smooth.columns[name].tolist()
    if not len(exact):
        return
    before, after = geometries(exact), geometries(smooth)
    assert_coverage(after, labels, nodata)
    # every centre of a pixel is in the polygon that has the pixel
    matched(smooth, labels, PIXELS, nodata, diagonal=diagonal)
    one, other = shapely.get_rings(before), shapely.get_rings(after)
    assert len(one) == len(other)
    assert shapely.hausdorff_distance(one, other).max(initial=0) < 1
    assert all(p.exterior.is_ccw for g in after for p in shapely.get_parts(g))


@given(labels=larger(), nodata=st.sampled_from([None, 0, 1]), band=BANDS, diagonal=st.booleans())
def test_any_raster(labels, nodata, band, diagonal) -> None:
    assert_smooth(labels, nodata=nodata, band=band, diagonal=diagonal)


@given(labels=rasters(), nodata=st.sampled_from([None, N]), band=BANDS, diagonal=st.booleans())
def test_any_small_raster(labels, nodata, band, diagonal) -> None:
    assert_smooth(labels, nodata=nodata, band=band, diagonal=diagonal)


@pytest.mark.parametrize("case", NAMED)
@pytest.mark.parametrize("band", [1, 4, 64])
def test_named_rasters(case, band) -> None:
    for nodata in (None, N):
        assert_smooth(NAMED[case], nodata=nodata, band=band)


@pytest.mark.parametrize("case", LARGE)
def test_large_rasters(case) -> None:
    for nodata in (None, 0):
        assert_smooth(LARGE[case], nodata=nodata)


@given(labels=larger(), cuts=CUTS, threads=st.integers(1, 3), band=BANDS)
def test_neither_strips_nor_threads_change_a_byte(labels, cuts, threads, band) -> None:
    more = {"nodata": 0, "crs": "EPSG:3857", "smooth": True, "band": band}
    whole = polygonize(labels, **more)
    assert_same(whole, polygonize(labels, cuts=cuts, threads=threads, **more))


@given(labels=larger(), band=BANDS, nodata=st.sampled_from([None, 0]))
def test_the_end_of_a_band_leaves_no_trace(labels, band, nodata) -> None:
    one, other = (polygonize(labels, smooth=True, nodata=nodata, band=rows) for rows in (band, 64))
    found = [normalized(batch.columns["class"], geometries(batch)) for batch in (one, other)]
    assert found[0] == found[1]


@given(labels=larger(), turns=st.integers(1, 3), band=BANDS)
def test_it_does_not_matter_how_the_map_lies(labels, turns, band) -> None:
    """Turned by quarters it is as smooth, to rounding."""
    turned = np.ascontiguousarray(np.rot90(labels, turns))
    areas = [
        sorted(shapely.length(geometries(polygonize(x, smooth=True, affine=PIXELS, band=band))))
        for x in (labels, turned)
    ]
    np.testing.assert_allclose(areas[0], areas[1], rtol=0.05)


@pytest.mark.parametrize("case", ["blobs", "large blobs", "islands", "blocks"])
def test_areas_stay(case) -> None:
    labels = LARGE[case]
    batch = polygonize(labels, affine=PIXELS, nodata=None, smooth=True)
    pixels, areas = batch.columns["pixels"], shapely.area(geometries(batch))
    large = pixels >= 36
    assert large.any()
    assert (np.abs(areas / pixels - 1)[large]).max() < 0.01
    for code in np.unique(labels):
        of = batch.columns["class"] == code
        assert areas[of].sum() == pytest.approx(pixels[of].sum(), rel=0.01)


@pytest.mark.parametrize("slope", [1, 2, 3, 4, 5, 7])
def test_stairs_become_a_slope(slope) -> None:
    """Far from its ends it is straight; stairs would be off by almost a pixel."""
    rows, cols = np.indices((40, 40 * slope))
    labels = (cols > slope * rows).astype(np.uint8)
    batch = polygonize(labels, affine=PIXELS, nodata=None, smooth=True)
    border = shapely.intersection(*geometries(batch))
    points = shapely.line_interpolate_point(border, np.linspace(0.2, 0.8, 1000), normalized=True)
    xy = shapely.get_coordinates(points)
    off = (xy[:, 0] + slope * xy[:, 1]) / np.hypot(1, slope)
    assert np.ptp(off) < (0.1 if slope < 5 else 0.2)


def test_a_circle_is_round() -> None:
    rows, cols = np.indices((61, 61))
    labels = ((rows - 30) ** 2 + (cols - 30) ** 2 < 20.3**2).astype(np.uint8)
    exact, smooth = (
        geometries(polygonize(labels, affine=PIXELS, nodata=0, smooth=s))[0] for s in (False, True)
    )
    assert exact.area == pytest.approx(smooth.area, rel=1e-3)
    assert smooth.length == pytest.approx(2 * np.sqrt(np.pi * smooth.area), rel=0.01)
    radius = shapely.distance(shapely.Point(30.5, -30.5), shapely.points(smooth.exterior.coords))
    assert np.ptp(radius) < 0.8


def test_the_frame_of_the_raster_stays() -> None:
    labels = blobs(3, (50, 40), 4, 3)
    batch = polygonize(labels, affine=PIXELS, nodata=None, smooth=True)
    whole = shapely.coverage_union_all(geometries(batch))
    assert shapely.equals(whole, shapely.box(0, -50, 40, 0))
    assert len(shapely.get_coordinates(whole.simplify(0))) == 5


def test_a_straight_border_stays_where_it_is() -> None:
    labels = np.repeat(np.array([[0, 0, 1, 1]], np.uint8), 150, axis=0)
    batch = polygonize(labels, affine=PIXELS, nodata=None, smooth=True)
    assert shapely.get_num_coordinates(geometries(batch)).tolist() == [5, 5]


@pytest.mark.parametrize("affine", AFFINES)
def test_the_columns_are_those_of_the_smoothed_polygon(affine) -> None:
    batch = polygonize(
        LARGE["blobs"], affine=AFFINES[affine], crs="EPSG:32633", nodata=0, smooth=True,
        objects=True,
    )  # fmt: skip
    shapes, told = geometries(batch), batch.columns
    np.testing.assert_allclose(told["area_m2"], shapely.area(shapes) * 0.9996**-2, rtol=2e-2)
    plain = polygonize(LARGE["blobs"], affine=AFFINES[affine], crs="EPSG:32633", nodata=0)
    ratio = told["area_m2"] / plain.columns["area_m2"]
    np.testing.assert_allclose(
        ratio, shapely.area(shapes) / shapely.area(geometries(plain)), rtol=1e-9
    )
    np.testing.assert_allclose(told["perimeter_m"], shapely.length(shapes), rtol=1e-9)
    centroids = shapely.get_coordinates(shapely.centroid(shapes))
    found = np.stack([told["centroid_x"], told["centroid_y"]], axis=1)
    np.testing.assert_allclose(found, centroids, rtol=0, atol=1e-5)
    box = np.stack([told[name] for name in ("xmin", "ymin", "xmax", "ymax")], axis=1)
    assert np.array_equal(box, shapely.bounds(shapes))


@pytest.mark.parametrize(
    ("crs", "affine"),
    [
        ("EPSG:4326", Affine(0.01, 0, 10, 0, -0.01, 62)),
        ("EPSG:4326", Affine(0.008, 0.006, 10, 0.006, -0.008, 50)),
    ],
)
def test_lengths_in_degrees_are_geodesic(crs, affine) -> None:
    batch = polygonize(LARGE["blobs"], affine=affine, crs=crs, nodata=0, smooth=True)
    from pyproj import Geod

    geod = Geod(ellps="WGS84")
    lengths = [
        sum(geod.geometry_length(ring) for ring in shapely.get_rings(g)) for g in geometries(batch)
    ]
    np.testing.assert_allclose(batch.columns["perimeter_m"], lengths, rtol=1e-4)


def test_vertices_where_nothing_bends_stay_the_same_to_the_last_bit() -> None:
    labels = blobs(3, (30, 40), 2, 30)
    exact, smooth = (
        polygonize(labels, affine=NORTH_UP, nodata=None, smooth=s) for s in (False, True)
    )
    frame = [set(map(tuple, shapely.get_coordinates(geometries(b)))) for b in (exact, smooth)]
    corners = {(500_000.0, 5_000_000.0), (500_400.0, 4_999_700.0)}
    assert corners <= frame[0] & frame[1]


def test_a_raster_that_is_too_large_is_refused() -> None:
    geobox = GeoBox((9_000_000, 3), NORTH_UP, None)
    Tracing(geobox=geobox, nodata=None)
    with pytest.raises(OptionError, match="--smooth: the raster has 9000000 rows or columns, more"):
        Tracing(geobox=geobox, nodata=None, smooth=True)


DATA = Path(os.environ.get("GEOUNET_DATA", "../shared/data"))
MAP = DATA / "odd_rasters" / "rio_tiler" / "cog_cmap.tif"


@pytest.mark.skipif(not MAP.exists(), reason=f"needs {MAP}, see GEOUNET_DATA")
@pytest.mark.parametrize("corner", [(5100, 6400), (2000, 3000), (7000, 1000)])
def test_a_real_class_map(corner) -> None:
    row, col = corner
    with rasterio.open(MAP) as dataset:
        labels = dataset.read(1)[row : row + 300, col : col + 300]
    assert_smooth(labels, nodata=0)


TOLERANCE = st.sampled_from([0.6, 1, 1.5, 3, 10])


def assert_rounded(labels, tolerance, *, nodata=None, band=None) -> None:
    """All that holds of a raster simplified, and then smoothed."""
    more = {"affine": PIXELS, "nodata": nodata, "band": band, "tolerance": tolerance}
    simple, smooth = polygonize(labels, **more), polygonize(labels, smooth=True, **more)
    for name in ("class", "pixels", "touches_edge"):
        assert simple.columns[name].tolist() == smooth.columns[name].tolist()
    if len(simple):
        before, after = geometries(simple), geometries(smooth)
        assert_coverage(after, labels, nodata)
        one, other = shapely.get_rings(before), shapely.get_rings(after)
        assert len(one) == len(other)
        assert shapely.hausdorff_distance(one, other).max(initial=0) < 2


@given(labels=larger(), tolerance=TOLERANCE, nodata=st.sampled_from([None, 0, 1]), band=BANDS)
def test_any_simplified_raster(labels, tolerance, nodata, band) -> None:
    assert_rounded(labels, tolerance, nodata=nodata, band=band)


@given(labels=rasters(), tolerance=TOLERANCE, nodata=st.sampled_from([None, N]), band=BANDS)
def test_any_small_simplified_raster(labels, tolerance, nodata, band) -> None:
    assert_rounded(labels, tolerance, nodata=nodata, band=band)


@pytest.mark.parametrize("case", LARGE)
@pytest.mark.parametrize("tolerance", [1, 3])
@pytest.mark.parametrize("band", [16, 256])
def test_large_simplified_rasters(case, tolerance, band) -> None:
    for nodata in (None, 0):
        assert_rounded(LARGE[case], tolerance, nodata=nodata, band=band)


@given(labels=larger(), cuts=CUTS, threads=st.integers(1, 3), band=BANDS, tolerance=TOLERANCE)
def test_simplified_too_nothing_changes_a_byte(labels, cuts, threads, band, tolerance) -> None:
    more = {"nodata": 0, "crs": "EPSG:3857", "smooth": True, "band": band, "tolerance": tolerance}
    whole = polygonize(labels, **more)
    assert_same(whole, polygonize(labels, cuts=cuts, threads=threads, **more))
