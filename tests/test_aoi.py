"""The area of interest: polygons in any CRS, or a line that says what is wrong with them."""

from __future__ import annotations

import warnings

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geounet.aoi import AreaOfInterest
from geounet.errors import SceneError
from geounet.window import Window

GRID = GeoBox((40, 60), Affine(10, 0, 3e5, 0, -10, 5e6), "EPSG:32633")
WHOLE = Window(row_off=0, col_off=0, height=40, width=60)
BOX = shapely.box(3e5 + 100, 5e6 - 202, 3e5 + 302, 5e6 - 98)


def write(path, shapes, crs="EPSG:32633", **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        return _write(path, shapes, crs, **options)


def _write(path, shapes, crs, **options):
    geopandas.GeoDataFrame(geometry=list(shapes), crs=crs).to_file(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp", ".fgb"])
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_pixels_whose_centre_is_inside(tmp_path, suffix, crs):
    shape = geopandas.GeoSeries([BOX], crs=32633).to_crs(crs)
    mask = AreaOfInterest.read(write(tmp_path / f"a{suffix}", shape, crs), GRID)(WHOLE)
    wanted = np.zeros((40, 60), bool)
    wanted[10:20, 10:30] = True
    np.testing.assert_array_equal(mask, wanted)


@given(st.integers(0, 39), st.integers(0, 59), st.integers(1, 40), st.integers(1, 60))
def test_a_window_shows_its_part_of_the_whole(row, col, height, width):
    star = shapely.Polygon(
        [(3e5 + x, 5e6 - y) for x, y in ((20, 10), (590, 200), (33, 390), (300, 205))]
    )
    area = AreaOfInterest(shapes=(star, BOX), geobox=GRID)
    window = Window(row_off=row, col_off=col, height=height, width=width).intersect(WHOLE)
    np.testing.assert_array_equal(area(window), area(WHOLE)[window.slices])


def test_rotated_grid():
    turned = GeoBox((30, 30), Affine(8, 6, 3e5, 6, -8, 5e6), "EPSG:32633")
    corner = turned[5:20, 3:9].extent.geom
    mask = AreaOfInterest(shapes=(corner,), geobox=turned)(
        Window(row_off=0, col_off=0, height=30, width=30)
    )
    wanted = np.zeros((30, 30), bool)
    wanted[5:20, 3:9] = True
    np.testing.assert_array_equal(mask, wanted)


def test_a_ring_that_crosses_itself_is_mended(tmp_path):
    bow = shapely.Polygon([(3e5, 5e6), (3e5 + 400, 5e6 - 400), (3e5 + 400, 5e6), (3e5, 5e6 - 390)])
    assert not bow.is_valid
    assert AreaOfInterest.read(write(tmp_path / "a.gpkg", [bow]), GRID)(WHOLE).any()


def test_no_crs_on_both_sides(tmp_path):
    plain = GeoBox((40, 60), GRID.affine, None)
    mask = AreaOfInterest.read(write(tmp_path / "a.shp", [BOX], None), plain)(WHOLE)
    assert mask.sum() == 200


def refused(path, match, geobox=GRID):
    with pytest.raises(SceneError, match=match) as caught:
        AreaOfInterest.read(path, geobox)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_foreign_and_empty(tmp_path):
    refused(tmp_path / "gone.gpkg", r"cannot be read \(.*\): give a GeoPackage, GeoJSON or Shape")
    (tmp_path / "a.gpkg").write_text("no vectors")
    refused(tmp_path / "a.gpkg", "cannot be read")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    refused(tmp_path / "a.csv", "holds no geometries: give a file with one layer of polygons")
    refused(tmp_path, "cannot be read|holds no")


def test_lines_and_points_only(tmp_path):
    shapes = [shapely.LineString([(3e5, 5e6), (3e5 + 9, 5e6)]), shapely.Point(3e5, 5e6), None]
    refused(write(tmp_path / "a.gpkg", shapes), "holds no polygon: draw the area as polygons")


def test_several_layers(tmp_path):
    path = write(tmp_path / "a.gpkg", [BOX], layer="one")
    write(path, [BOX], layer="two", mode="a")
    refused(path, r"holds several layers \(one, two\)")


def test_a_style_table_is_no_layer(tmp_path):
    """As in the GeoPackages that this project writes."""
    path = write(tmp_path / "a.gpkg", [BOX], layer="one")

    pyogrio.write_dataframe(
        pd.DataFrame({"styleQML": ["x"]}), path, layer="layer_styles", append=True
    )
    assert AreaOfInterest.read(path, GRID)(WHOLE).sum() == 200


def test_no_crs(tmp_path):
    refused(write(tmp_path / "a.shp", [BOX], None), r"has no CRS: set one, e\.g\. ogr2ogr -a_srs")


def test_scene_without_crs(tmp_path):
    plain = GeoBox((40, 60), GRID.affine, None)
    refused(write(tmp_path / "a.gpkg", [BOX]), "has a CRS and the scene has none.*-a_srs", plain)


def test_outside(tmp_path):
    refused(write(tmp_path / "a.gpkg", [shapely.box(0, 0, 9, 9)]), "lies outside the scene: check")


@pytest.mark.parametrize("affine", [
    Affine(10, 0, 3e5, 0, -10, 5e6), Affine(8, 6, 3e5, 6, -8, 5e6), Affine(0, 7, 3e5, -7, 0, 5e6),
])  # fmt: skip
@given(place=st.tuples(*[st.floats(-5, 70)] * 4))
def test_the_window_has_all_of_the_area(affine, place) -> None:
    grid = GeoBox((40, 60), affine, "EPSG:32633")
    col, row, width, height = place
    corners = [(col, row), (col + width, row), (col, row + height)]
    area = AreaOfInterest(shapes=(shapely.Polygon([affine @ c for c in corners]),), geobox=grid)
    rows, cols = np.nonzero(area(WHOLE))
    window = area.window
    if len(rows):
        assert window.row_off <= rows.min() <= rows.max() < window.row_end
        assert window.col_off <= cols.min() <= cols.max() < window.col_end
    assert window.intersect(WHOLE) == window
