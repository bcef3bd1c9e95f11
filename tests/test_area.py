"""Areas of pixels against geodesics of the ellipsoid, for all kinds of grids."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geounet.area import PixelAreas, pixel_size_m
from geounet.classes import NODATA
from geounet.polygonize import StripPolygonizer, Tracing
from geounet.stitch import Strip
from geounet.testing.bundles import random_spec
from geounet.totals import Totals, in_parts
from geounet.window import Window

SIZE = 401
LOCAL = 'LOCAL_CS["mine",UNIT["{}",{}]]'
GRIDS = {
    "geographic": ("EPSG:4326", Affine(0.001, 0, 10, 0, -0.001, 50)),
    "geographic south up": ("EPSG:4326", Affine(0.001, 0, 10, 0, 0.001, -50)),
    "geographic rotated": ("EPSG:4326", Affine(0.001, 0.0005, 10, 0.0005, -0.001, 50)),
    "geographic with height": ("EPSG:4979", Affine(0.001, 0, 10, 0, -0.001, 50)),
    "geographic in grads": ("EPSG:4807", Affine(0.001, 0, 1, 0, -0.001, 52)),
    "UTM": ("EPSG:32633", Affine(10, 0, 300_000, 0, -10, 5_500_000)),
    "UTM rotated": ("EPSG:32633", Affine(9, 4, 300_000, 4, -9, 5_500_000)),
    "Web Mercator": ("EPSG:3857", Affine(30, 0, 1e6, 0, -30, 9e6)),
    "north pole inside": ("EPSG:3413", Affine(1000, 0, -200_500, 0, -1000, 200_500)),
    "south pole at a corner": ("EPSG:3031", Affine(25_000, 0, -5e6, 0, -25_000, 5e6)),
    "feet": ("EPSG:2263", Affine(3, 0, 980_000, 0, -3, 210_000)),
    "antimeridian": ("EPSG:3832", Affine(1000, 0, 3.2e6, 0, -1000, 5e6)),
    "compound": ("EPSG:32633+5773", Affine(10, 0, 300_000, 0, -10, 5_500_000)),
    "Paris meridian, grads": ("EPSG:27572", Affine(30, 0, 600_000, 0, -30, 2_200_000)),
    "equal area": ("EPSG:3035", Affine(100, 0, 4e6, 0, -100, 3e6)),
    "Moon": ("IAU_2015:30135", Affine(100, 0, -20_000, 0, -100, 20_000)),
}
PIXELS = [(0, 0), (200, 200), (200, 201), (199, 200), (399, 7), (123, 340), (400, 400)]


def wkt(name: str) -> str:
    return str(pyproj.CRS(name).to_wkt())


def geobox(case: str) -> GeoBox:
    crs, affine = GRIDS[case]
    return GeoBox((SIZE, SIZE), affine, wkt(crs))


def geodesic_area(grid: GeoBox, row: int, col: int, steps: int = 16) -> float:
    """The area inside a pixel's outline, each side as ``steps`` geodesics."""
    crs = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    geodetic = crs.geodetic_crs.to_2d()
    t = np.linspace(0, 1, steps, endpoint=False)
    cols = np.concatenate([0 * t, t, 0 * t + 1, 1 - t]) + col
    rows = np.concatenate([t, 0 * t + 1, 1 - t, 0 * t]) + row
    x, y = grid.affine @ (cols, rows)
    if not crs.is_geographic:
        x, y = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True).transform(x, y)
    unit = math.degrees(geodetic.axis_info[0].unit_conversion_factor)
    return abs(crs.get_geod().polygon_area_perimeter(x * unit, y * unit)[0])


@pytest.mark.parametrize("case", GRIDS)
def test_areas_are_those_of_geodesic_polygons(case: str) -> None:
    grid = geobox(case)
    areas = PixelAreas(grid)(Window(row_off=0, col_off=0, height=SIZE, width=SIZE))
    areas = np.broadcast_to(areas, (SIZE, SIZE))
    for row, col in PIXELS:
        assert areas[row, col] == pytest.approx(geodesic_area(grid, row, col), rel=5e-6)


@pytest.mark.parametrize("pixel", [0.05, 0.5, 10, 1e3, 1e4, 1e5])
def test_areas_for_pixels_of_any_size(pixel: float) -> None:
    """The scale of UTM on its central meridian is 0.9996, whatever the pixel."""
    grid = GeoBox((3, 3), Affine(pixel, 0, 500_000 - pixel, 0, -pixel, 5e6), "EPSG:32633")
    areas = PixelAreas(grid)(Window(row_off=1, col_off=1, height=1, width=1))
    assert areas.item() == pytest.approx((pixel / 0.9996) ** 2, rel=2e-4 if pixel > 5e4 else 1e-6)


def test_areas_of_the_whole_earth() -> None:
    grid = GeoBox((18, 36), Affine(10, 0, -180, 0, -10, 90), "EPSG:4326")
    areas = PixelAreas(grid)(Window(row_off=0, col_off=0, height=18, width=36))
    assert areas.shape == (18, 1)
    assert 36 * areas.sum() == pytest.approx(510_065_621_724_089, rel=1e-12)  # WGS 84
    overshooting = GeoBox((20, 36), Affine(10, 0, -180, 0, -10, 100), "EPSG:4326")
    areas = PixelAreas(overshooting)(Window(row_off=0, col_off=0, height=20, width=36))
    assert 36 * areas.sum() == pytest.approx(510_065_621_724_089, rel=1e-12)


@cache
def whole_areas(case: str):
    return PixelAreas(geobox(case))(Window(row_off=0, col_off=0, height=SIZE + 70, width=SIZE + 70))


@given(
    case=st.sampled_from(sorted(GRIDS)),
    row=st.integers(0, SIZE - 1),
    col=st.integers(0, SIZE - 1),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
)
def test_law_of_the_window(case, row, col, height, width) -> None:
    window = Window(row_off=row, col_off=col, height=height, width=width)
    whole, part = whole_areas(case), PixelAreas(geobox(case))(window)
    expected = whole[window.slices] if whole.shape[1] > 1 else whole[window.slices[0]]
    assert part.shape == expected.shape
    np.testing.assert_allclose(part, expected, rtol=1e-12)


@given(
    case=st.sampled_from(sorted(GRIDS)),
    rows=st.lists(st.integers(0, SIZE + 69), min_size=1, max_size=5, unique=True).map(sorted),
    cols=st.lists(st.integers(0, SIZE + 69), min_size=1, max_size=5, unique=True).map(sorted),
)
def test_areas_of_some_rows_and_columns(case, rows, cols) -> None:
    whole, some = whole_areas(case), PixelAreas(geobox(case)).of(np.array(rows), np.array(cols))
    expected = whole[np.ix_(rows, cols)] if whole.shape[1] > 1 else whole[rows]
    np.testing.assert_allclose(some, expected, rtol=1e-12)


@pytest.mark.parametrize(("unit", "metres"), [("metre", 1), ("US survey foot", 0.3048006096)])
def test_a_local_crs_has_planar_areas(unit: str, metres: float) -> None:
    """Its small coordinates must not be taken for degrees."""
    grid = GeoBox((5, 4), Affine(2, 1, 0, 1, -2, 40), LOCAL.format(unit, metres))
    areas = PixelAreas(grid)(Window(row_off=0, col_off=0, height=5, width=4))
    np.testing.assert_allclose(np.broadcast_to(areas, (5, 4)), 5 * metres**2)
    assert pixel_size_m(grid) == pytest.approx(math.sqrt(5) * metres)


def test_without_a_crs_there_are_no_areas() -> None:
    grid = GeoBox((5, 4), Affine.identity(), None)
    assert PixelAreas(grid)(Window(row_off=0, col_off=0, height=5, width=4)) is None
    assert pixel_size_m(grid) is None


def test_past_the_edge_of_the_earth_areas_are_planar() -> None:
    crs = wkt("+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=GRS80")
    grid = GeoBox((120, 120), Affine(1e5, 0, -6e6, 0, -1e5, 6e6), crs)
    areas = PixelAreas(grid)(Window(row_off=0, col_off=0, height=120, width=120))
    assert areas[0, 0] == 1e10
    assert areas[60, 60] == pytest.approx(1e10, rel=1e-3)
    assert areas[60, 15] > 1.9e10  # seen at a slant
    assert np.isfinite(areas).all()
    assert (areas > 0).all()


def test_pixel_size_in_metres() -> None:
    assert pixel_size_m(geobox("UTM")) == pytest.approx(10, rel=1e-3)
    assert pixel_size_m(geobox("feet")) == pytest.approx(0.9144, rel=1e-3)
    assert pixel_size_m(geobox("Web Mercator")) == pytest.approx(13.85, rel=1e-3)


@pytest.mark.parametrize("case", ["geographic", "UTM rotated", "Web Mercator", "north pole inside"])
def test_totals_equal_the_polygons_and_the_raster(case: str) -> None:
    rng = np.random.default_rng(3)
    labels = rng.choice(np.array([0, 1, 2, NODATA], np.uint8), (90, 80))
    grid = geobox(case)[:90, :80]
    spec = random_spec(classes=4)
    totals = Totals(spec.classes, grid)
    tracer = StripPolygonizer(Tracing(geobox=grid, nodata=NODATA))
    areas = PixelAreas(grid)
    batches = []
    for row, height in ((0, 31), (31, 1), (32, 58)):
        window = Window(row_off=row, col_off=0, height=height, width=80)
        part = labels[window.slices]
        totals.add(Strip(window=window, labels=part, confidence=None))
        batches.append(tracer.write(part))
    batches.append(tracer.finish())
    code, pixels, area = (
        np.concatenate([b.columns[name] for b in batches])
        for name in ("class", "pixels", "area_m2")
    )
    whole = np.broadcast_to(areas(Window(row_off=0, col_off=0, height=90, width=80)), (90, 80))
    assert totals.valid_pixels == (labels != NODATA).sum() == pixels.sum()
    for c in spec.classes:
        total = totals.classes()[c.name]
        assert total.pixels == (labels == c.code).sum() == pixels[code == c.code].sum()
        assert total.area_m2 == pytest.approx(whole[labels == c.code].sum(), rel=1e-9, abs=0.01)
        # areas of polygons are linear between rows a few kilometres apart
        assert total.area_m2 == pytest.approx(area[code == c.code].sum(), rel=5e-6)
    assert totals.classes()["class 3"].pixels == 0


def test_totals_of_a_high_strip_are_those_of_its_rows() -> None:
    labels = np.random.default_rng(3).integers(0, 2, (300, 5), dtype=np.uint8)
    window = Window(row_off=100, col_off=0, height=300, width=5)
    spec = random_spec()
    totals = Totals(spec.classes, geobox("Web Mercator"))
    strip = Strip(window=window, labels=labels, confidence=labels)
    totals.add(strip)
    areas = PixelAreas(geobox("Web Mercator"))(window)
    assert totals.classes()["class 1"].area_m2 == pytest.approx(areas[labels == 1].sum(), abs=0.01)
    parts = list(in_parts(strip))
    assert [p.window.row_off for p in parts] == [100, 356]
    assert np.array_equal(np.concatenate([p.labels for p in parts]), labels)
    assert np.array_equal(np.concatenate([p.confidence for p in parts]), labels)


def test_totals_without_a_crs_have_no_area() -> None:
    spec = random_spec()
    totals = Totals(spec.classes, GeoBox((2, 2), Affine.identity(), None))
    window = Window(row_off=0, col_off=0, height=2, width=2)
    totals.add(Strip(window=window, labels=np.eye(2, dtype=np.uint8), confidence=None))
    assert [t.pixels for t in totals.classes().values()] == [2, 2]
    assert [t.area_m2 for t in totals.classes().values()] == [None, None]
