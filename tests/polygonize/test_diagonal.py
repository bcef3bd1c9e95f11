"""8-connectivity: what touches at a corner is one feature of several parts."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from polygons import (
    AFFINES,
    BANDS,
    CUTS,
    NAMED,
    PIXELS,
    N,
    assert_same,
    components,
    gdals,
    geometries,
    larger,
    matched,
    noise,
    normalized,
    polygonize,
    rasterize,
)
from scipy import ndimage


def parts_of(batch):
    """Single polygons, and the label of each."""
    shapes, index = shapely.get_parts(geometries(batch), return_index=True)
    return normalized(batch.columns["class"][index], shapes)


@given(labels=larger(), cuts=CUTS, nodata=st.sampled_from([None, 0]), band=BANDS)
def test_features_are_scipys_components(labels, cuts, nodata, band) -> None:
    confidence = noise(8, labels.shape, range(101))
    batch = polygonize(
        labels, affine=PIXELS, cuts=cuts, nodata=nodata, band=band, diagonal=True,
        confidence=confidence,
    )  # fmt: skip
    shapes = geometries(batch)
    assert shapely.is_valid(shapes).all()
    assert set(shapely.get_type_id(shapes).tolist()) <= {6}  # MultiPolygon
    parts, ids = matched(batch, labels, PIXELS, nodata, diagonal=True)
    told = batch.columns
    assert told["pixels"].tolist() == np.bincount(parts.ravel())[ids].tolist()
    assert told["pixels"].tolist() == shapely.area(shapes).astype(int).tolist()
    single = components(labels, nodata)
    pairs = np.unique(np.stack([parts.ravel(), single.ravel()]), axis=1)
    assert shapely.get_num_geometries(shapes).tolist() == np.bincount(pairs[0])[ids].tolist()
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    assert told["touches_edge"].tolist() == np.isin(ids, edge).tolist()
    if len(ids):
        mean = ndimage.mean(confidence, parts, ids)
        np.testing.assert_allclose(told["confidence"], mean, atol=0.0501)
        least = ndimage.minimum(confidence, parts, ids)
        assert told["confidence_min"].tolist() == least.tolist()


@given(labels=larger(), affine=st.sampled_from(sorted(AFFINES)), band=BANDS)
def test_parts_are_the_polygons_of_4_connectivity(labels, affine, band) -> None:
    batch = polygonize(labels, affine=AFFINES[affine], nodata=0, band=band, diagonal=True)
    assert parts_of(batch) == gdals(labels, AFFINES[affine], 0)
    for polygon in shapely.get_parts(geometries(batch)):
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)


@given(labels=larger(), nodata=st.sampled_from([None, 0]), cuts=CUTS, band=BANDS)
def test_features_equal_gdals(labels, nodata, cuts, band) -> None:
    """Its polygons touch themselves where pixels meet at a corner: made valid, they are ours."""
    mask = None if nodata is None else labels != nodata
    found = rasterio.features.shapes(labels, mask, connectivity=8, transform=PIXELS)
    oracle = [(value, shapely.geometry.shape(geometry)) for geometry, value in found]
    valid = shapely.make_valid([polygon for _, polygon in oracle], method="structure")
    shapes = [shapely.MultiPolygon(list(shapely.get_parts(one))) for one in valid]
    batch = polygonize(labels, affine=PIXELS, nodata=nodata, cuts=cuts, band=band, diagonal=True)
    ours = normalized(batch.columns["class"], geometries(batch))
    assert ours == normalized([value for value, _ in oracle], shapes)


@given(labels=larger(), cuts=CUTS, threads=st.integers(1, 3), band=BANDS)
def test_neither_strips_nor_threads_change_a_byte(labels, cuts, threads, band) -> None:
    more = {"nodata": 0, "crs": "EPSG:4326", "affine": Affine(0.1, 0, 5, 0, -0.1, 50), "band": band}
    whole = polygonize(labels, diagonal=True, **more)
    assert_same(whole, polygonize(labels, cuts=cuts, threads=threads, diagonal=True, **more))


@pytest.mark.parametrize("band", [1, 4, 64])
@pytest.mark.parametrize("case", NAMED)
def test_named_rasters(case, band) -> None:
    labels = NAMED[case]
    batch = polygonize(labels, affine=PIXELS, band=band, diagonal=True)
    matched(batch, labels, PIXELS, diagonal=True)
    assert np.array_equal(rasterize(batch, labels.shape, PIXELS), labels)
    assert parts_of(batch) == gdals(labels, PIXELS)


@pytest.mark.parametrize("band", [1, 2, 3, 64])
def test_a_diagonal_over_many_bands_is_one_feature(band) -> None:
    batch = polygonize(np.eye(90, dtype=np.uint8)[::-1], nodata=0, band=band, diagonal=True)
    assert batch.columns["pixels"].tolist() == [90]
    assert shapely.get_num_geometries(geometries(batch)).tolist() == [90]


@pytest.mark.parametrize("band", [1, 64])
def test_both_diagonals_of_a_chequerboard_hang_together(band) -> None:
    batch = polygonize(NAMED["chequered"], band=band, diagonal=True)
    assert sorted(batch.columns["pixels"].tolist()) == [71, 72]


def test_nodata_does_not_hang_together() -> None:
    labels = np.array([[1, N], [N, 1]], np.uint8)
    assert polygonize(labels, diagonal=True).columns["pixels"].tolist() == [2]
    assert polygonize(labels, nodata=1, diagonal=True).columns["class"].tolist() == [N]


def test_sums_are_over_all_parts() -> None:
    labels = np.array([[1, 0], [0, 1]], np.uint8)
    affine = Affine(100, 0, 500_000, 0, -100, 5_000_000)
    batch = polygonize(labels, nodata=0, affine=affine, crs="EPSG:32633", diagonal=True)
    assert batch.columns["area_m2"] == pytest.approx([20_000 / 0.9996**2], rel=1e-6)
    assert batch.columns["perimeter_m"] == pytest.approx([800])


@pytest.mark.parametrize("tolerance", [1, 3])
def test_simplified_features_are_valid(tolerance) -> None:
    for seed in range(6):
        labels = noise(seed, (40, 40), (0, 1, 2), (1 + seed % 3, 2))
        more = {"affine": PIXELS, "nodata": None, "band": 7}
        batch = polygonize(labels, diagonal=True, tolerance=tolerance, **more)
        assert shapely.is_valid(geometries(batch)).all()
        apart = polygonize(labels, tolerance=tolerance, **more)
        assert parts_of(batch) == normalized(apart.columns["class"], geometries(apart))
