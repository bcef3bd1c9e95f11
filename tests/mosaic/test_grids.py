"""Maps on several grids: which the mosaic gets, and what is copied, resampled and where."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.warp
from affine import Affine
from maps import SCHEME, save
from odc.geo.geobox import GeoBox
from rasters import NORTH, WEST, at

from geounet.classes import NODATA, ClassDef, ClassScheme
from geounet.errors import OptionError, SceneError
from geounet.mosaic import GridChoice, Mosaic, PlacedMap, choose_grid, read_maps
from geounet.mosaic.grid import _turns


def joined(paths, grid) -> np.ndarray:
    maps = [PlacedMap(one, grid) for one in read_maps(paths)]
    return np.concatenate([s.labels for s in Mosaic(maps, grid, rows=64).strips()])


def stripes(shape=(40, 50)) -> np.ndarray:
    """Classes that are smooth enough to be known again after resampling."""
    row, col = np.indices(shape)
    return np.choose((row // 10 + col // 10) % 3, [0, 1, 7]).astype(np.uint8)


def test_the_grid_of_most_maps_at_the_finest_resolution(tmp_path) -> None:
    paths = [
        save(tmp_path / "other.tif", stripes(), crs="EPSG:32634", transform=at(10)),
        save(tmp_path / "coarse.tif", stripes(), transform=at(20, WEST - 400)),
        save(tmp_path / "fine.tif", stripes(), transform=at(10, WEST + 3, NORTH + 7)),
    ]
    grid = choose_grid(read_maps(paths[1:]))
    assert grid.crs.epsg == 32633
    assert (grid.affine.a, grid.affine.c % 10, grid.affine.f % 10) == (10, 3, 7)
    assert (grid.affine.c, grid.affine.f) == (WEST - 407, NORTH + 7)
    box = grid.boundingbox
    assert box.right - (WEST + 600) == pytest.approx(3)
    assert choose_grid(read_maps([*paths[1:], paths[0]])).crs.epsg == 32633
    assert choose_grid(read_maps(paths[:2])).crs.epsg == 32634  # of equals the first


def test_of_equally_fine_maps_the_first_gives_the_pixels(tmp_path) -> None:
    paths = [
        save(tmp_path / f"{i}.tif", stripes(), transform=at(10, WEST + 4e4 * i + i, NORTH))
        for i in range(3)
    ]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        grid = choose_grid(read_maps([paths[i] for i in order]))
        assert grid.affine.c % 10 == order[0]


def test_a_finer_map_in_another_crs_gives_the_resolution(tmp_path) -> None:
    paths = [
        save(tmp_path / "a.tif", stripes(), transform=at(20)),
        save(tmp_path / "b.tif", stripes(), transform=at(20, WEST + 500)),
        save(tmp_path / "c.tif", stripes(), crs="EPSG:32634", transform=at(10, 2e5)),
    ]
    grid = choose_grid(read_maps(paths))
    assert grid.crs.epsg == 32633
    assert grid.affine.a == 10
    assert (grid.affine.c - WEST) % 20 in (0, 10)


@pytest.mark.parametrize("crs", ["EPSG:3035", "3035"])
def test_a_grid_can_be_asked_for(tmp_path, crs) -> None:
    maps = read_maps([save(tmp_path / "a.tif", stripes())])
    grid = choose_grid(maps, GridChoice(crs=crs, resolution=25))
    assert grid.crs.epsg == 3035
    assert (grid.affine.a, grid.affine.c % 25, grid.affine.f % 25) == (25, 0, 0)
    own = choose_grid(maps, GridChoice(crs=crs))
    assert own.affine.a == pytest.approx(10, abs=0.5)
    assert choose_grid(maps, GridChoice(resolution=30)).affine.a == 30


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ({"like": "x.tif", "crs": "3035"}, "--grid says all of the grid: leave out --crs"),
        ({"resolution": 0.0}, "--resolution 0: give a number above 0"),
        ({"crs": "nowhere"}, "--crs nowhere: no CRS of that name; write it as EPSG:3035"),
        ({"crs": "3035", "resolution": 1e-7}, "so far apart that the mosaic would have"),
        ({"like": "none.tif"}, r"none\.tif does not exist"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_what_cannot_be_a_grid(tmp_path, choice, why) -> None:
    maps = read_maps([save(tmp_path / "a.tif", stripes())])
    with pytest.raises((OptionError, SceneError), match=why):
        choose_grid(maps, GridChoice(**choice))


def test_other_pixels_are_the_nearest_ones(tmp_path) -> None:
    """As GDAL's own warp of the whole has them."""
    labels = stripes((60, 80))
    labels[20:30, 30:50] = NODATA
    path = save(tmp_path / "a.tif", labels)
    grid = choose_grid(read_maps([path]), GridChoice(crs="EPSG:32634", resolution=10))
    got = joined([path], grid)
    wanted = np.full(grid.shape, NODATA, np.uint8)
    rasterio.warp.reproject(
        labels, wanted, src_transform=at(10), src_crs="EPSG:32633", src_nodata=NODATA,
        dst_transform=grid.affine, dst_crs="EPSG:32634", dst_nodata=NODATA, tolerance=0.001,
    )  # fmt: skip
    assert (got != wanted).mean() < 1e-3
    assert (got != NODATA).sum() == pytest.approx((labels != NODATA).sum(), rel=0.01)
    assert set(np.unique(got)) == {0, 1, 7, NODATA}


def test_rotated_maps_meet(tmp_path) -> None:
    turned = at(10) @ Affine.rotation(30)
    labels = stripes()
    path = save(tmp_path / "a.tif", labels, transform=turned)
    grid = choose_grid(read_maps([path]))
    np.testing.assert_array_equal(joined([path], grid), labels)
    straight = choose_grid(read_maps([path]), GridChoice(resolution=10))
    assert (joined([path], straight) != NODATA).sum() == pytest.approx(labels.size, rel=0.01)


def test_maps_of_two_zones_join_without_a_gap(tmp_path) -> None:
    """One map, cut in two that overlap, of which one goes through another UTM zone."""
    whole = stripes((120, 200))
    north = 5.5e6
    left = save(tmp_path / "l.tif", whole[:, :120], transform=at(100, 7e5, north))
    right = tmp_path / "r.tif"
    here = GeoBox((120, 200), at(100, 7e5, north), "EPSG:32633")
    plain = save(tmp_path / "p.tif", whole[:, 80:], transform=here[:, 80:].affine)
    there = choose_grid(read_maps([plain]), GridChoice(crs="EPSG:32634", resolution=100))
    warped = np.full(there.shape, NODATA, np.uint8)
    rasterio.warp.reproject(
        whole[:, 80:], warped, src_transform=here[:, 80:].affine, src_crs="EPSG:32633",
        dst_transform=there.affine, dst_crs="EPSG:32634", src_nodata=NODATA, dst_nodata=NODATA,
    )  # fmt: skip
    save(right, warped, crs="EPSG:32634", transform=there.affine)
    assert [one.is_copied for one in placed([left, right], here)] == [True, False]
    got = joined([left, right], here)
    inside = got[2:-2, 2:-2]
    assert (inside != NODATA).all()
    assert (inside == whole[2:-2, 2:-2]).mean() > 0.9  # twice the nearest of 10 x 10 blocks
    np.testing.assert_array_equal(got[:, :80], whole[:, :80])


def placed(paths, grid):
    return [PlacedMap(one, grid) for one in read_maps(paths)]


DATELINE = {
    "utm": [("EPSG:32601", at(1000, 3e5 - 5e4, 5e6)), ("EPSG:32660", at(1000, 7e5, 5e6))],
    "degrees": [
        ("EPSG:4326", Affine(0.01, 0, -180, 0, -0.01, 50)),
        ("EPSG:4326", Affine(0.01, 0, 179.5, 0, -0.01, 50)),
    ],
    "over it": [
        ("EPSG:4326", Affine(0.01, 0, -180.2, 0, -0.01, 50)),
        ("EPSG:4326", Affine(0.01, 0, 179.5, 0, -0.01, 50)),
    ],
    "datums": [
        ("EPSG:4269", Affine(0.01, 0, -180, 0, -0.01, 50)),
        ("EPSG:4326", Affine(0.01, 0, 179.5, 0, -0.01, 50)),
    ],
}


@pytest.mark.parametrize("name", DATELINE)
@pytest.mark.parametrize("turned", [False, True])
def test_the_antimeridian_is_no_edge(tmp_path, name, turned) -> None:
    labels = stripes((50, 50))
    paths = [
        save(tmp_path / f"{i}.tif", labels, crs=crs, transform=affine)
        for i, (crs, affine) in enumerate(DATELINE[name])
    ]
    paths = paths[::-1] if turned else paths
    grid = choose_grid(read_maps(paths), GridChoice(crs="EPSG:4326", resolution=0.01))
    assert grid.shape[1] < 300
    box = grid.boundingbox
    assert box.left < 180 < box.right or box.left < -180 < box.right
    got = joined(paths, grid)
    each = [joined([path], grid) for path in paths]
    np.testing.assert_array_equal(got != NODATA, np.any([x != NODATA for x in each], axis=0))
    for path, layer in zip(paths, each, strict=True):
        assert (layer != NODATA).mean() > 0.15
        wanted = looked_up(path, grid)
        assert (layer != wanted).mean() < 1e-3


def looked_up(path, grid: GeoBox) -> np.ndarray:
    """A map at the centres of a grid in degrees, pixel by pixel."""
    row, col = np.indices(grid.shape) + 0.5
    lon, lat = grid.affine.a * col + grid.affine.c, grid.affine.e * row + grid.affine.f
    with rasterio.open(path) as source:
        labels, affine, crs = source.read(1), source.transform, source.crs
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True).transform(
        (lon + 180) % 360 - 180, lat
    )
    if crs.is_geographic:
        x = affine.c + (x - affine.c) % 360
    i, j = np.floor((y - affine.f) / affine.e), np.floor((x - affine.c) / affine.a)
    inside = (i >= 0) & (i < labels.shape[0]) & (j >= 0) & (j < labels.shape[1])
    found = labels[np.where(inside, i, 0).astype(int), np.where(inside, j, 0).astype(int)]
    return np.where(inside, found, NODATA)


def test_longitudes_are_turned_only_where_that_is_narrower() -> None:
    assert _turns([(10, 20), (-30, -20)]) == [0, 0]
    assert _turns([(179, 181), (178, 180)]) == [0, 0]
    assert _turns([(-180, -179), (179, 180)]) == [1, 0]
    assert _turns([(179, 180), (-180, -179)]) == [0, 1]
    assert _turns([(-100, -90), (100, 110)]) == [1, 0]


OTHER = ClassScheme(
    classes=(
        ClassDef(code=0, name="land", color="#000000"),
        ClassDef(code=1, name="flood", color="#ffffff"),
    )
)


def test_other_classes_are_refused(tmp_path) -> None:
    paths = [save(tmp_path / "a.tif", stripes()), save(tmp_path / "b.tif", stripes(), OTHER)]
    why = r"a\.tif and .*b\.tif have different classes \(0 land, 1 water, 7 ice against 0 land, 1"
    with pytest.raises(SceneError, match=why):
        read_maps(paths)


def test_other_colours_are_not(tmp_path) -> None:
    bright = ClassScheme(
        classes=tuple(ClassDef(code=c.code, name=c.name, color="#ff00ff") for c in SCHEME)
    )
    paths = [save(tmp_path / "a.tif", stripes()), save(tmp_path / "b.tif", stripes(), bright)]
    assert [one.classes for one in read_maps(paths)] == [SCHEME, bright]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"crs": None}, r"x\.tif has no CRS and .*a\.tif has one"),
        ({"crs": None, "transform": Affine.identity()}, r"x\.tif says nothing of its place"),
        ({"tags": {"GEOUNET_CLASSES": "[]"}}, r"x\.tif does not say what its classes are"),
        ({"dtype": np.int16}, r"x\.tif has values of type int16; a class map has one band"),
        ({"bands": 2}, r"x\.tif has 2 bands; a class map has one band of uint8"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_is_no_map(tmp_path, options, why) -> None:
    labels = stripes().astype(options.pop("dtype", np.uint8))
    labels = np.stack([labels] * options.pop("bands", 1))
    first = save(tmp_path / "a.tif", stripes())
    with pytest.raises(SceneError, match=why):
        read_maps([first, save(tmp_path / "x.tif", labels, **options)])


def test_maps_are_given_once_and_at_all(tmp_path) -> None:
    path = save(tmp_path / "a.tif", stripes())
    with pytest.raises(OptionError, match=r"a\.tif is given twice"):
        read_maps([path, path])
    with pytest.raises(OptionError, match="no class map was given"):
        read_maps([])
    with pytest.raises(SceneError, match=r"no\.tif does not exist"):
        read_maps([tmp_path / "no.tif"])


def test_maps_without_a_crs_meet_as_they_are(tmp_path) -> None:
    paths = [
        save(tmp_path / f"{i}.tif", stripes(), crs=None, transform=at(10, WEST + 200 * i))
        for i in range(2)
    ]
    grid = choose_grid(read_maps(paths))
    assert grid.crs is None
    assert grid.shape == (40, 70)
    assert (joined(paths, grid) != NODATA).all()
