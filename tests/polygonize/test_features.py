"""What is told of each polygon, against its pixels."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from polygons import (
    AFFINES,
    BANDS,
    CUTS,
    NORTH_UP,
    PIXELS,
    blobs,
    geometries,
    larger,
    matched,
    noise,
    polygonize,
)
from scipy import ndimage

from geounet.area import PixelAreas
from geounet.window import Window

LOCAL = 'LOCAL_CS["a site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
GRIDS = {
    "UTM": ("EPSG:32633", NORTH_UP),
    "UTM, rotated and sheared": ("EPSG:32633", Affine(10, 3, 5e5, 2, -10, 5e6)),
    "degrees, north": ("EPSG:4326", Affine(0.1, 0, 10, 0, -0.1, 80)),
    "degrees, south": ("EPSG:4326", Affine(0.1, 0, 10, 0, -0.1, -40)),
    "degrees, south up": ("EPSG:4326", Affine(0.1, 0, 10, 0, 0.1, -80)),
    "degrees, west up": ("EPSG:4326", Affine(0, 0.1, 10, 0.1, 0, 50)),
    "degrees, rotated": ("EPSG:4326", Affine(0.08, 0.06, 10, 0.06, -0.08, 50)),
    "degrees, across the equator": (
        "EPSG:4326", Affine(0.1, 0, 170, 0, -0.1, 2),
    ),
    "grads": ("EPSG:4807", Affine(0.1, 0, 2, 0, -0.1, 54)),
    "Web Mercator, 62 degrees": ("EPSG:3857", Affine(1000, 0, 1e6, 0, -1000, 8.9e6)),
    "Web Mercator, huge pixels": ("EPSG:3857", Affine(1e5, 0, 1e6, 0, -1e5, 9e6)),
    "Lambert": ("EPSG:3035", Affine(30, 0, 4e6, 0, -30, 3e6)),
    "feet": ("EPSG:2263", Affine(30, 0, 1e6, 0, -30, 2e5)),
    "polar": ("EPSG:3413", Affine(500, 0, -2e4, 0, -500, 2e4)),
    "a site": (LOCAL, NORTH_UP),
}  # fmt: skip
SHAPE = (90, 70)
RASTERS = {
    "noise": noise(1, SHAPE, (0, 1, 2)),
    "blocks": noise(2, SHAPE, (0, 1, 2), (5, 5)),
    "blobs": blobs(3, SHAPE, 3, 4),
}


@given(labels=larger(), cuts=CUTS, nodata=st.sampled_from([None, 0]), band=BANDS)
def test_pixels_confidence_and_edges_are_those_of_the_pixels(labels, cuts, nodata, band) -> None:
    confidence = noise(6, labels.shape, range(101))
    batch = polygonize(
        labels, nodata=nodata, affine=PIXELS, cuts=cuts, band=band, confidence=confidence
    )
    parts, ids = matched(batch, labels, PIXELS, nodata)
    told = batch.columns
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    assert told["pixels"].tolist() == np.bincount(parts.ravel())[ids].tolist()
    assert told["touches_edge"].tolist() == np.isin(ids, edge).tolist()
    if len(ids):
        mean = ndimage.mean(confidence, parts, ids)
        np.testing.assert_allclose(told["confidence"], mean, atol=0.0501)
        least = ndimage.minimum(confidence, parts, ids)
        assert told["confidence_min"].tolist() == least.tolist()


def test_confidence_has_one_digit() -> None:
    batch = polygonize(np.ones((1, 3), np.uint8), confidence=np.array([[0, 1, 1]], np.uint8))
    assert batch.columns["confidence"].tolist() == [0.7]
    assert batch.columns["confidence_min"].tolist() == [0.0]


def test_confidence_goes_up_to_255() -> None:
    full = np.full((70, 3), 255, np.uint8)
    batch = polygonize(np.ones((70, 3), np.uint8), confidence=full)
    assert batch.columns["confidence"].tolist() == batch.columns["confidence_min"].tolist() == [255]


def test_nodata_is_no_edge_of_the_raster() -> None:
    labels = np.pad(np.pad(np.ones((2, 2), np.uint8), 1, constant_values=0), 1, constant_values=9)
    batch = polygonize(labels, nodata=0)
    told = dict(zip(batch.columns["class"].tolist(), batch.columns["touches_edge"], strict=True))
    assert told == {1: False, 9: True}


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
@pytest.mark.parametrize("band", [1, 2, 64])
def test_each_side_is_an_edge(side, band) -> None:
    labels = np.zeros((6, 7), np.uint8)
    at = {"top": (0, 3), "bottom": (5, 3), "left": (2, 0), "right": (2, 6)}[side]
    labels[at] = 1
    labels[3, 3] = 2
    batch = polygonize(labels, nodata=0, band=band)
    told = dict(zip(batch.columns["class"].tolist(), batch.columns["touches_edge"], strict=True))
    assert told == {1: True, 2: False}


def true_areas(crs, affine, shape) -> np.ndarray:
    height, width = shape
    window = Window(row_off=0, col_off=0, height=height, width=width)
    return np.broadcast_to(PixelAreas(GeoBox(shape, affine, crs))(window), shape)


@pytest.mark.parametrize("raster", RASTERS)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("band", [7, 64])
def test_areas_are_those_of_the_pixels(grid, raster, band) -> None:
    crs, affine = GRIDS[grid]
    labels = RASTERS[raster]
    batch = polygonize(labels, nodata=0, affine=affine, crs=crs, band=band)
    parts, ids = matched(batch, labels, affine, 0)
    areas = ndimage.sum(true_areas(crs, affine, labels.shape), parts, ids)
    np.testing.assert_allclose(batch.columns["area_m2"], areas, rtol=5e-6)


@pytest.mark.parametrize("grid", GRIDS)
def test_areas_are_exact_whatever_becomes_of_the_borders(grid) -> None:
    crs, affine = GRIDS[grid]
    labels = RASTERS["blobs"]
    more = {"nodata": 0, "affine": affine, "crs": crs, "band": 16}
    exact, simple = polygonize(labels, **more), polygonize(labels, tolerance=2, **more)
    for name in ("class", "pixels", "area_m2", "touches_edge"):
        assert exact.columns[name].tolist() == simple.columns[name].tolist()


def true_perimeters(shapes, crs, side) -> np.ndarray:
    crs = pyproj.CRS(crs)
    factor = crs.axis_info[0].unit_conversion_factor
    if not crs.is_geographic:
        return shapely.length(shapes) * factor
    geod, degrees = crs.get_geod(), math.degrees(factor)
    steps = shapely.transform(shapely.segmentize(shapes, side), lambda xy: xy * degrees)
    return np.array(
        [sum(geod.line_length(*ring.xy) for ring in (p.exterior, *p.interiors)) for p in steps]
    )


@pytest.mark.parametrize("raster", RASTERS)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("tolerance", [None, 1.5])
def test_perimeters_are_those_of_the_polygons(grid, raster, tolerance) -> None:
    crs, affine = GRIDS[grid]
    batch = polygonize(RASTERS[raster], affine=affine, crs=crs, tolerance=tolerance, band=16)
    side = math.hypot(affine.a, affine.d) / 2
    lengths = true_perimeters(geometries(batch), crs, side)
    np.testing.assert_allclose(batch.columns["perimeter_m"], lengths, rtol=1e-4)


def test_a_square_kilometre() -> None:
    """Numbers that need no oracle: a square of 1 km with a hole of 100 m, in UTM at 45 degrees."""
    labels = np.ones((10, 10), np.uint8)
    labels[4, 5] = 0
    affine = Affine(100, 0, 500_000, 0, -100, 5_000_000)
    batch = polygonize(labels, nodata=0, affine=affine, crs="EPSG:32633")
    assert batch.columns["pixels"].tolist() == [99]
    # on the central meridian a map is 0.9996 of the ground
    assert batch.columns["area_m2"][0] == pytest.approx(990_000 / 0.9996**2, rel=1e-6)
    assert batch.columns["perimeter_m"][0] == pytest.approx(4400)


@given(
    labels=larger(),
    affine=st.sampled_from(sorted(AFFINES)),
    cuts=CUTS,
    tolerance=st.sampled_from([None, 1.5]),
    diagonal=st.booleans(),
    band=BANDS,
)
def test_objects_are_numbered_and_have_a_place(labels, affine, cuts, band, **more) -> None:
    batch = polygonize(
        labels, nodata=0, affine=AFFINES[affine], cuts=cuts, objects=True, band=band, **more
    )
    told, shapes = batch.columns, geometries(batch)
    assert told["object"].tolist() == list(range(1, len(batch) + 1))
    centroids = shapely.get_coordinates(shapely.centroid(shapes))
    found = np.stack([told["centroid_x"], told["centroid_y"]], axis=1)
    np.testing.assert_allclose(found, centroids, rtol=0, atol=1e-5)
    box = np.stack([told[name] for name in ("xmin", "ymin", "xmax", "ymax")], axis=1)
    assert np.array_equal(box, shapely.bounds(shapes).reshape(-1, 4))


def test_a_grid_that_reaches_over_the_pole() -> None:
    """What is beyond it has no area and no length."""
    labels = np.ones((40, 3600), np.uint8)
    affine = Affine(0.1, 0, -180, 0, -0.1, 91)
    batch = polygonize(labels, affine=affine, crs="EPSG:4326", band=16)
    geod = pyproj.Geod(ellps="WGS84")
    cap = sum(
        abs(geod.polygon_area_perimeter([0, 0.1, 0.1, 0], [87, 87, 90, 90])[0]) for _ in range(3600)
    )
    assert batch.columns["area_m2"][0] == pytest.approx(cap, rel=1e-4)


def test_a_rotated_grid_that_reaches_over_the_pole() -> None:
    """Its length is a number, of what is left of it."""
    affine = Affine(0.8, 0.6, 10, 0.6, -0.8, 88)
    batch = polygonize(np.ones((30, 30), np.uint8), affine=affine, crs="EPSG:4326")
    shape = shapely.transform(geometries(batch), lambda xy: np.minimum(xy, [[np.inf, 90]]))
    length = pyproj.Geod(ellps="WGS84").geometry_length(shape[0].exterior)
    assert batch.columns["perimeter_m"][0] == pytest.approx(length)
