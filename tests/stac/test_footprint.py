"""Footprints: hulls of what is valid, on the globe, cut at the antimeridian, around poles."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasters import at, write

from geounet.classes import NODATA
from geounet.scene import open_scene
from geounet.stac.footprint import footprint_of


def shape_of(tmp_path, labels, crs, affine):
    path = write(tmp_path / "x.tif", labels, nodata=NODATA, crs=crs, transform=affine)
    scene = open_scene(path)
    found = footprint_of(scene)
    scene.close()
    return None if found is None else (shapely.geometry.shape(found.geometry), found.bbox)


def test_the_hull_of_what_is_valid(tmp_path) -> None:
    labels = np.full((50, 60), NODATA, np.uint8)
    labels[10, 20] = labels[30, 40] = labels[30, 15] = 1
    affine = Affine(0.1, 0, 10, 0, -0.1, 50)
    shape, bbox = shape_of(tmp_path, labels, "EPSG:4326", affine)
    corners = [(20, 10), (21, 10), (41, 30), (41, 31), (15, 31), (15, 30)]
    wanted = shapely.Polygon([(10 + c * 0.1, 50 - r * 0.1) for c, r in corners])
    assert shape.symmetric_difference(wanted).area < 1e-6
    assert bbox == pytest.approx([11.5, 46.9, 14.1, 49.0])
    assert shape.exterior.is_ccw


def test_every_valid_pixel_is_inside(tmp_path) -> None:
    rng = np.random.default_rng(1)
    labels = np.where(rng.random((80, 90)) < 0.01, 1, NODATA).astype(np.uint8)
    affine = at(5000, 1e5, 6e6)
    shape, bbox = shape_of(tmp_path, labels, "EPSG:32633", affine)
    row, col = np.nonzero(labels != NODATA)
    x, y = affine.c + 5000 * (col + 0.5), affine.f - 5000 * (row + 0.5)
    lon, lat = pyproj.Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(
        x, y
    )
    assert shapely.contains_xy(shape, lon, lat).all()
    np.testing.assert_allclose(shape.bounds, bbox, atol=1e-6)


DATELINE = {
    "degrees": ("EPSG:4326", Affine(0.1, 0, 179, 0, -0.1, 50)),
    "from the west": ("EPSG:4326", Affine(0.1, 0, -181, 0, -0.1, 50)),
    "utm": ("EPSG:32601", at(4000, 3e5, 5.5e6)),
}


@pytest.mark.parametrize("name", DATELINE)
def test_the_antimeridian_cuts(tmp_path, name) -> None:
    labels = np.zeros((20, 20), np.uint8)
    shape, bbox = shape_of(tmp_path, labels, *DATELINE[name])
    if name == "utm":  # lies east of it
        assert shape.geom_type == "Polygon"
        return
    assert shape.geom_type == "MultiPolygon"
    assert [round(g.area, 6) for g in shape.geoms] == [2, 2]
    assert bbox == pytest.approx([179, 48, -179, 50])
    assert shape.bounds == pytest.approx((-180, 48, 180, 50))


def test_utm_over_the_antimeridian(tmp_path) -> None:
    labels = np.zeros((20, 20), np.uint8)
    shape, bbox = shape_of(tmp_path, labels, "EPSG:32601", at(5000, 2.4e5, 5.5e6))
    assert shape.geom_type == "MultiPolygon"
    west, _, east, _ = bbox
    assert 179 < west < 180
    assert -180 < east < -178
    assert shape.is_valid
    assert shape.area < 3


@pytest.mark.parametrize("north", [True, False])
def test_around_a_pole(tmp_path, north) -> None:
    labels = np.zeros((40, 40), np.uint8)
    crs = "EPSG:3413" if north else "EPSG:3031"
    shape, bbox = shape_of(tmp_path, labels, crs, at(50_000, -1e6, 1e6))
    assert bbox[0] == -180
    assert bbox[2] == 180
    assert shapely.contains_xy(shape, [0, 90, -100, 179], [89 if north else -89] * 4).all()
    assert not shapely.contains_xy(shape, 0, 60 if north else -60)


def test_nothing_valid_is_the_whole(tmp_path) -> None:
    labels = np.full((10, 20), NODATA, np.uint8)
    _, bbox = shape_of(tmp_path, labels, "EPSG:4326", Affine(0.1, 0, 10, 0, -0.1, 50))
    assert bbox == pytest.approx([10, 49, 12, 50])


def test_no_crs_no_place(tmp_path) -> None:
    assert shape_of(tmp_path, np.zeros((4, 4), np.uint8), None, at(10)) is None
    assert isinstance(open_scene(tmp_path / "x.tif").info.geobox, GeoBox)
