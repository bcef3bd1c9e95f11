"""Grids that run over the antimeridian: parts left and right of it, of one polygon."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from polygons import (
    BANDS,
    CUTS,
    assert_same,
    blobs,
    components,
    geometries,
    larger,
    noise,
    polygonize,
)

from geounet.polygonize.meridian import NO_CUT, meridian_of

SIZE = 0.25
GRIDS = {
    "eastwards": (177, 1),
    "from beyond": (-183, 1),
    "two turns away": (537, 1),
    "westwards": (184, -1),
}
"""Left edge, and which way columns run; the cut is after columns 12 or 16."""


def grid(name: str) -> Affine:
    left, way = GRIDS[name]
    return Affine(way * SIZE, 0, left, 0, -SIZE, 10)


def cut_of(labels, affine) -> int:
    meridian = meridian_of(GeoBox(labels.shape, affine, "EPSG:4326"))
    return NO_CUT if meridian is None else meridian.cut


def assert_pixels(batch, labels, affine, nodata) -> None:
    """Parts put back beside each other, each polygon is a component of pixels."""

    def back(xy):
        col = (xy[:, 0] - affine.c) / affine.a
        turn = abs(360 / affine.a)
        col -= turn * np.floor(col.mean() / turn)
        return np.stack([col, (xy[:, 1] - affine.f) / affine.e], axis=1)

    pairs = [
        (shapely.transform(part, back), k + 1)
        for k, shape in enumerate(geometries(batch))
        for part in shapely.get_parts(shape)
    ]
    ids = rasterio.features.rasterize(pairs, labels.shape, dtype=np.int32)
    parts = components(labels, nodata)
    both = np.unique(np.stack([ids.ravel(), parts.ravel()]), axis=1)
    assert both.shape[1] == len(np.unique(ids)) == len(np.unique(parts))
    assert ids.max() == len(batch)


def assert_parted(labels, name, *, nodata=None, **more) -> None:
    """Valid, in range, parted, and each component once with what its pixels tell."""
    affine = grid(name)
    batch = polygonize(labels, affine=affine, crs="EPSG:4326", nodata=nodata, **more)
    shapes = geometries(batch)
    if not len(batch):
        return
    assert (shapely.get_type_id(shapes) == (6 if cut_of(labels, affine) != NO_CUT else 3)).all()
    assert shapely.is_valid(shapes).all(), shapely.is_valid_reason(shapes)
    x = shapely.get_coordinates(shapes)[:, 0]
    assert -180 <= x.min() <= x.max() <= 180
    bounds = shapely.bounds(shapely.get_parts(shapes))
    assert (bounds[:, 2] - bounds[:, 0] < 180).all()
    if more.get("tolerance") is None:
        assert_pixels(batch, labels, affine, nodata)
    plain = polygonize(labels, affine=Affine.scale(1, 1), nodata=nodata).columns
    for column in ("class", "pixels", "touches_edge"):
        pairs = [
            sorted(zip(told["class"], told["pixels"], told[column], strict=True))
            for told in (batch.columns, plain)
        ]
        assert pairs[0] == pairs[1]


SHAPE = (30, 40)
MAPS = {
    "noise": noise(1, SHAPE, (0, 1, 2)),
    "blocks": noise(2, SHAPE, (0, 1, 2), (5, 5)),
    "blobs": blobs(3, SHAPE, 3, 3),
    "one": np.ones(SHAPE, np.uint8),
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("case", MAPS)
@pytest.mark.parametrize("band", [3, 64])
def test_named_maps(name, case, band) -> None:
    for nodata in (None, 0):
        assert cut_of(MAPS[case], grid(name)) in (12, 16)
        assert_parted(MAPS[case], name, nodata=nodata, band=band)


@given(
    labels=larger(),
    name=st.sampled_from(sorted(GRIDS)),
    nodata=st.sampled_from([None, 0]),
    band=BANDS,
    tolerance=st.sampled_from([None, 1.5, 5]),
    smooth=st.booleans(),
)
def test_any_map(labels, name, **more) -> None:
    assert_parted(labels, name, **more)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("tolerance", [None, 2])
def test_nothing_is_lost_at_the_cut(name, smooth, tolerance) -> None:
    """Both sides together are the frame of the raster, without a gap or an overlap."""
    for labels in MAPS.values():
        batch = polygonize(
            labels, affine=grid(name), crs="EPSG:4326", nodata=None, smooth=smooth,
            tolerance=tolerance,
        )  # fmt: skip
        parts = shapely.get_parts(geometries(batch))
        assert shapely.area(parts).sum() == pytest.approx(labels.size * SIZE**2)
        frame = shapely.union_all(parts)
        top, bottom = 10, 10 - SIZE * labels.shape[0]
        left, right = (-186, -176) if name == "westwards" else (-183, -173)
        boxes = [shapely.box(left + 360, bottom, 180, top), shapely.box(-180, bottom, right, top)]
        assert shapely.equals(shapely.set_precision(frame, 1e-9), shapely.union_all(boxes))


@given(labels=larger(), cuts=CUTS, threads=st.integers(1, 3), band=BANDS, smooth=st.booleans())
def test_neither_strips_nor_threads_change_a_byte(labels, cuts, threads, **more) -> None:
    confidence = noise(6, labels.shape, range(101))
    more |= {
        "nodata": 0, "crs": "EPSG:4326", "affine": grid("eastwards"), "objects": True,
        "confidence": confidence,
    }  # fmt: skip
    assert_same(polygonize(labels, **more), polygonize(labels, cuts=cuts, threads=threads, **more))


@given(labels=larger(), name=st.sampled_from(sorted(GRIDS)), band=BANDS)
def test_pixels_that_touch_at_a_corner_across_the_cut(labels, name, band) -> None:
    batch = polygonize(
        labels, affine=grid(name), crs="EPSG:4326", nodata=0, band=band, diagonal=True
    )
    sizes = np.bincount(components(labels, 0, diagonal=True).ravel())[1:]
    assert sorted(batch.columns["pixels"].tolist()) == sorted(sizes.tolist())
    assert shapely.is_valid(geometries(batch)).all()


@given(labels=larger(), name=st.sampled_from(sorted(GRIDS)), cuts=CUTS, band=BANDS)
def test_columns_are_those_of_a_raster_elsewhere(labels, name, cuts, band) -> None:
    """Areas, lengths and confidence do not know of the antimeridian; centroids are in range."""
    confidence = noise(6, labels.shape, range(101))
    more = {"crs": "EPSG:4326", "nodata": 0, "confidence": confidence, "objects": True}
    here = grid(name)
    there = Affine(here.a, 0, 20, 0, here.e, here.f)
    one = polygonize(labels, affine=there, **more).columns
    other = polygonize(labels, affine=here, cuts=cuts, band=band, **more).columns
    names = ["class", "pixels", "area_m2", "perimeter_m", "confidence", "confidence_min"]
    turn = (other["centroid_x"] - here.c + 20) % 360
    places = [np.where(turn > 180, turn - 360, turn), one["centroid_x"]]
    rows = [
        np.stack([*(told[n] for n in names), x, told["centroid_y"]], axis=1).round(6)
        for told, x in zip((other, one), places, strict=True)
    ]
    rows = [r[np.lexsort(r[:, [0, 1, 6, 7]].round(3).T)] for r in rows]
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-6, atol=2e-6)


def test_a_border_along_the_antimeridian_is_one() -> None:
    labels = np.repeat([[1, 1, 2, 2]], 3, axis=0).astype(np.uint8)
    affine = Affine(1, 0, 178, 0, -1, 1)
    batch = polygonize(labels, affine=affine, crs="EPSG:4326")
    geod = pyproj.Geod(ellps="WGS84")
    lengths = [
        geod.geometry_length(p.exterior.segmentize(0.1))
        for p in shapely.get_parts(geometries(batch))
    ]
    np.testing.assert_allclose(batch.columns["perimeter_m"], lengths, rtol=1e-4)
    one = polygonize(labels * 0, affine=affine, crs="EPSG:4326")
    inner = geod.line_length([180, 180], [1, -2])
    np.testing.assert_allclose(one.columns["perimeter_m"], sum(lengths) - 2 * inner, rtol=1e-4)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("left", [177.6, 177.4, -182.4, 176.5])
def test_through_the_middle_of_pixels_the_nearest_edge_is_the_cut(left, smooth) -> None:
    labels = blobs(4, (20, 9), 3, 1.5)
    affine = Affine(1, 0, left, 0, -1, 10)
    batch = polygonize(labels, affine=affine, crs="EPSG:4326", nodata=None, smooth=smooth)
    shapes = geometries(batch)
    assert shapely.is_valid(shapes).all()
    parts = shapely.get_parts(shapes)
    assert shapely.area(shapely.union_all(parts)) == pytest.approx(labels.size, rel=1e-9)
    x = shapely.get_coordinates(parts)[:, 0]
    assert x.max() == 180
    assert x.min() == -180
    assert batch.columns["pixels"].sum() == labels.size


def test_a_grid_from_0_to_360() -> None:
    labels = np.kron(blobs(5, (18, 36), 3, 2), np.ones((10, 10), np.uint8))
    batch = polygonize(labels, affine=Affine(1, 0, 0, 0, -1, 90), crs="EPSG:4326", nodata=None)
    parts = shapely.get_parts(geometries(batch))
    assert shapely.is_valid(parts).all()
    assert shapely.area(parts).sum() == pytest.approx(360 * 180)
    assert shapely.equals(shapely.union_all(parts), shapely.box(-180, -90, 180, 90))


@pytest.mark.parametrize(
    ("crs", "affine", "cut"),
    [
        ("EPSG:4326", Affine(1, 0, -180, 0, -1, 10), None),
        ("EPSG:4326", Affine(9, 0, -180, 0, -1, 10), None),
        ("EPSG:4326", Affine(1, 0, 140, 0, -1, 10), None),
        ("EPSG:4326", Affine(1, 0, 141, 0, -1, 10), 39),
        ("EPSG:4326", Affine(1, 0, 190, 0, -1, 10), NO_CUT),
        ("EPSG:4326", Affine(20, 0, -190, 0, -1, 10), None),
        ("EPSG:4807", Affine(1, 0, 190, 0, -1, 10), 10),
        ("EPSG:32601", Affine(10, 0, 300000, 0, -10, 10), None),
        ("EPSG:4326", Affine(1, 1, 170, 1, -1, 10), None),
        (None, Affine(1, 0, 170, 0, -1, 10), None),
    ],
)
def test_where_a_grid_is_cut(crs, affine, cut) -> None:
    found = meridian_of(GeoBox((5, 40), affine, crs))
    assert cut == (None if found is None else found.cut)


def test_a_grid_beyond_the_antimeridian_is_turned() -> None:
    batch = polygonize(
        np.ones((2, 3), np.uint8), affine=Affine(1, 0, 190, 0, -1, 5), crs="EPSG:4326"
    )
    assert shapely.bounds(geometries(batch)).tolist() == [[-170, 3, -167, 5]]
