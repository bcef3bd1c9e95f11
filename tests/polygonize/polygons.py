"""Rasters to polygonise, what comes of them, and what others make of the same."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox
from scipy import ndimage

from geounet.classes import NODATA
from geounet.polygonize import PolygonBatch, StripPolygonizer, Tolerance, Tracing, bands

N = NODATA
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_000_000)
PIXELS = Affine.scale(1, -1)
"""Coordinates are columns, and rows below zero."""
AFFINES = {
    "north up": NORTH_UP,
    "south up": Affine(10, 0, 500_000, 0, 10, 5_000_000),
    "mirrored": Affine(-10, 0, 500_000, 0, -10, 5_000_000),
    "half a turn": Affine(-10, 0, 500_000, 0, 10, 5_000_000),
    "rotated": Affine(8, 6, 100, 6, -8, 200),
    "rotated, mirrored": Affine(8, 6, 100, -6, 8, 200),
    "quarter turn": Affine(0, 10, 100, 10, 0, 200),
    "sheared": Affine(10, 3, 100, 2, -10, 200),
}


def joined(polygonizer: StripPolygonizer, strips: Sequence[Any]) -> PolygonBatch:
    """All polygons of strips, each (labels, confidence or None); nothing is left behind."""
    batch = PolygonBatch.join([*(polygonizer.write(*s) for s in strips), polygonizer.finish()])
    used = polygonizer._joiner._front.used
    assert (used[:, 0] == used[:, 1]).all(), "the front leaks"
    np.testing.assert_array_equal(batch.boxes, shapely.bounds(geometries(batch)))
    return batch


def polygonize(
    labels,
    *,
    cuts=(),
    affine=NORTH_UP,
    crs=None,
    nodata: int | None = NODATA,
    confidence=None,
    tolerance: float | None = None,
    pixel=(1.0, 1.0),
    smooth=False,
    diagonal=False,
    objects=False,
    threads=1,
    band: int | None = None,
) -> PolygonBatch:
    """The polygons of a raster given in strips that end at ``cuts``, traced in bands of rows."""
    tracing = Tracing(
        geobox=GeoBox(labels.shape, affine, crs),
        nodata=nodata,
        simplify=None if tolerance is None else Tolerance(distance=tolerance, pixel=pixel),
        smooth=smooth,
        diagonal=diagonal,
        confidence=confidence is not None,
        objects=objects,
    )
    edges = [0, *sorted({c for c in cuts if 0 < c < len(labels)}), len(labels)]
    rows = [slice(a, b) for a, b in itertools.pairwise(edges)]
    strips = [(labels[r], None if confidence is None else confidence[r]) for r in rows]
    heights = {} if band is None else {"BAND": band, "MOST_BANDS": 1, "SIMPLIFIED_BAND": band}
    with mock.patch.multiple(bands, **heights) if heights else mock.MagicMock():
        return joined(StripPolygonizer(tracing, threads), strips)


def geometries(batch: PolygonBatch) -> np.ndarray:
    """Shapely's own, (n,)."""
    wkb = batch.wkb.tobytes()
    ends = batch.offsets.tolist()
    return shapely.from_wkb([wkb[a:b] for a, b in itertools.pairwise(ends)])


def owners(batch: PolygonBatch, shape, affine) -> np.ndarray:
    """Which polygon each pixel lies in, from 1 on; 0: none."""
    pairs = [(g, k + 1) for k, g in enumerate(geometries(batch))]
    if not pairs:
        return np.zeros(shape, np.int32)
    return rasterio.features.rasterize(pairs, shape, transform=affine, dtype=np.int32)


def rasterize(batch: PolygonBatch, shape, affine=NORTH_UP, nodata=NODATA) -> np.ndarray:
    """The labels that the polygons tell."""
    return np.array([nodata, *batch.columns["class"].tolist()])[owners(batch, shape, affine)]


def components(labels, nodata=NODATA, *, diagonal=False) -> np.ndarray:
    """By scipy, from 1 on; 0 where there is nodata."""
    out = np.zeros(labels.shape, np.int64)
    for label in np.unique(labels):
        if nodata is None or label != nodata:
            found, _ = ndimage.label(labels == label, np.ones((3, 3)) if diagonal else None)
            out += np.where(found, found + out.max(), 0)
    return out


def matched(batch: PolygonBatch, labels, affine, nodata=NODATA, *, diagonal=False):
    """Components as pixels, and the one that each polygon is: they are the same set of pixels."""
    parts = components(labels, nodata, diagonal=diagonal)
    ids = owners(batch, labels.shape, affine)
    found, first = np.unique(ids, return_index=True)
    assert found[found > 0].tolist() == list(range(1, len(batch) + 1))
    of_polygon = np.concatenate([[0], parts.ravel()[first[found > 0]]])
    assert np.array_equal(of_polygon[ids], parts)
    return parts, of_polygon[1:]


def normalized(codes, shapes) -> list[tuple[int, bytes]]:
    """Polygons in normal form, in an order of their own."""
    wkb = shapely.to_wkb(shapely.normalize(np.asarray(shapes, object)))
    return sorted(zip(map(int, codes), wkb, strict=True))


def gdals(labels, affine, nodata: int | None = NODATA) -> list[tuple[int, bytes]]:
    """GDAL's polygons, 4-connected, in normal form."""
    mask = np.ones(labels.shape, bool) if nodata is None else labels != nodata
    found = list(rasterio.features.shapes(labels, mask, connectivity=4, transform=affine))
    return normalized([v for _, v in found], [shapely.geometry.shape(g) for g, _ in found])


def assert_same(a: PolygonBatch, b: PolygonBatch) -> None:
    """Byte for byte, in order."""
    assert np.array_equal(a.wkb, b.wkb)
    assert np.array_equal(a.offsets, b.offsets)
    assert list(a.columns) == list(b.columns)
    for name, values in a.columns.items():
        assert values.dtype == b.columns[name].dtype
        np.testing.assert_array_equal(values, b.columns[name], name)


def spiral(side: int) -> np.ndarray:
    """A path of ones, a pixel wide, that winds to the middle beside one of zeros."""
    out = np.zeros((side, side), np.uint8)
    row, col, down, right = 0, 0, 0, 1
    out[0, 0] = 1
    for steps in (side - 1, *np.repeat(np.arange(side - 1, 0, -2), 2)):
        for _ in range(steps):
            row, col = row + down, col + right
            out[row, col] = 1
        down, right = right, -down
    return out


def nested(side: int, codes: Sequence[int]) -> np.ndarray:
    """Squares in squares."""
    away = np.abs(np.indices((side, side)) - side // 2).max(0)
    return np.array(codes, np.uint8)[away % len(codes)]


def blobs(seed: int, shape, count: int, size: float) -> np.ndarray:
    """Labels with smooth borders."""
    noise = np.random.default_rng(seed).standard_normal((count, *shape))
    return ndimage.gaussian_filter(noise, (0, size, size)).argmax(0).astype(np.uint8)


NAMED = {
    "chequered": (np.indices((13, 11)).sum(0) % 2).astype(np.uint8),
    "three colours": (np.indices((12, 13)).sum(0) % 3).astype(np.uint8),
    "spiral": spiral(21),
    "spiral of nodata": np.where(spiral(18), N, 1).astype(np.uint8),
    "nested": nested(17, (0, 1)),
    "nested, of three": nested(19, (1, 0, N)),
    "a diagonal": np.eye(9, dtype=np.uint8),
    "the other diagonal": np.eye(9, dtype=np.uint8)[::-1].copy(),
    "a diagonal of nodata": np.where(np.eye(8), N, 0).astype(np.uint8),
    "a comb": np.tile(np.array([[1, 0, 1, N]], np.uint8), (9, 3)) * np.uint8(1),
    "stripes": np.tile(np.array([[0], [1], [N]], np.uint8), (4, 8)),
    "one pixel": np.array([[7]], np.uint8),
    "nothing": np.full((3, 4), N, np.uint8),
    "one label": np.full((9, 4), 3, np.uint8),
    "holes at the corners": np.pad(np.eye(5, dtype=np.uint8), 1),
}


def noise(seed: int, shape, codes: Sequence[int], block: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Independent labels, each a block of pixels."""
    some = np.random.default_rng(seed).choice(np.array(codes, np.uint8), shape)
    return np.kron(some, np.ones(block, np.uint8))[: shape[0], : shape[1]]


LARGE = {
    "noise": noise(1, (80, 60), (0, 1, 2)),
    "blocks": noise(2, (90, 80), (0, 1, 2, 3), (3, 2)),
    "blobs": blobs(3, (100, 80), 4, 2),
    "large blobs": blobs(4, (200, 150), 4, 6),
    "spiral": spiral(61),
    "islands": noise(5, (60, 50), (0, 0, 0, 0, 1)),
}


@st.composite
def rasters(draw, side: int = 14):
    """Any small raster of up to five labels, nodata or not."""
    height, width = draw(st.integers(1, side)), draw(st.integers(1, side))
    codes = draw(st.sampled_from([(0, 1), (0, N), (0, 1, N), (0, 1, 2, 254, N)]))
    return draw(arrays(np.uint8, (height, width), elements=st.sampled_from(codes)))


@st.composite
def larger(draw, side: int = 40):
    """Noise, blocks or blobs, of labels 0 to 4."""
    shape = draw(st.integers(1, side)), draw(st.integers(1, side))
    seed, count = draw(st.integers(0, 9999)), draw(st.integers(2, 4))
    kind = draw(st.sampled_from(["noise", "blocks", "blobs", "spiral"]))
    if kind == "blobs":
        return blobs(seed, shape, count, draw(st.sampled_from([0.7, 1.5, 3])))
    if kind == "spiral":
        return spiral(max(shape))[: shape[0], : shape[1]]
    return noise(seed, shape, range(count), (3, 2) if kind == "blocks" else (1, 1))


CUTS = st.lists(st.integers(1, 40), max_size=6)
BANDS = st.sampled_from([1, 2, 3, 5, 8, 64])
