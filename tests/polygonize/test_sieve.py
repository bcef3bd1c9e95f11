"""The sieve against plain code that has the whole array, and its laws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox
from scipy import ndimage

from geounet.area import PixelAreas
from geounet.errors import OptionError
from geounet.polygonize import sifting
from geounet.polygonize.corners import OUTSIDE
from geounet.polygonize.sieve import Sieve
from geounet.window import Window

NODATA = 255
SIDES = ndimage.generate_binary_structure(2, 1)
CORNERS = ndimage.generate_binary_structure(2, 2)
PIXELS: dict = {"affine": Affine.identity(), "crs": None}
UTM: dict = {"affine": Affine(10, 0, 3e5, 0, -10, 5e6), "crs": "EPSG:32633"}
DEGREES: dict = {"affine": Affine(1, 0, 10, 0, -1, 85), "crs": "EPSG:4326"}


def grid(shape: tuple[int, int], *, affine: Affine, crs: str | None) -> GeoBox:
    return GeoBox(shape, affine, crs)


def sieve(labels, *, cuts=(), place=PIXELS, confidence=None, **options):
    """The raster that a sieve makes of strips that end at ``cuts``; nodata as it was."""
    one = Sieve(geobox=grid(labels.shape, **place), nodata=NODATA, **options)
    stops = [*sorted({c for c in cuts if 0 < c < len(labels)}), len(labels)]
    strips = []
    for start, stop in itertools.pairwise([0, *stops]):
        part = None if confidence is None else confidence[start:stop]
        strips += one.add(labels[start:stop], part)
    strips += one.rest()
    out = np.concatenate([strip for strip, _ in strips])
    assert out.dtype == np.int32
    if confidence is not None:
        np.testing.assert_array_equal(np.concatenate([c for _, c in strips]), confidence)
    return np.where(out == one.nodata, NODATA, out)


def components(labels, structure):
    """Number of each pixel's component, from 1 up."""
    out = np.zeros(labels.shape, int)
    for code in np.unique(labels):
        found, count = ndimage.label(labels == code, structure)
        out += np.where(found, found + out.max(), 0)
        del count
    return out


def pixel_areas(shape, place):
    window = Window(row_off=0, col_off=0, height=shape[0], width=shape[1])
    areas = PixelAreas(grid(shape, **place))(window)
    return np.ones(shape) if areas is None else np.broadcast_to(areas, shape)


def merged(labels, limit, *, areas=None, diagonal=False):
    """What min-area says, step by step on the whole array."""
    areas = np.ones(labels.shape) if areas is None else areas
    middle = areas[labels.shape[0] // 2, labels.shape[1] // 2]
    structure = CORNERS if diagonal else SIDES
    out, groups = labels.astype(int), components(labels, structure)
    size = {g: areas[groups == g].sum() for g in np.unique(groups)}

    def rounded(group):
        return np.floor(min(size[group], 16 * limit) / middle * 16 + 0.5)

    while True:
        small = [
            (rounded(g), np.flatnonzero(groups == g)[0], g)
            for g in np.unique(groups)
            if size[g] < limit * (1 - 1e-9) and not (out[groups == g] == NODATA).any()
        ]
        if not small:
            return out
        inside = groups == min(small)[2]
        borders: dict = {}
        for row, col in np.argwhere(inside):
            for i, j in ((row - 1, col), (row, col - 1), (row, col + 1), (row + 1, col)):
                if 0 <= i < len(out) and 0 <= j < out.shape[1] and not inside[i, j]:
                    borders[out[i, j]] = borders.get(out[i, j], 0) + 1
        borders.pop(NODATA, None)
        if not borders:
            out[inside] = NODATA
            continue
        ring = ndimage.binary_dilation(inside, structure) & ~inside
        around = {code: np.unique(groups[ring & (out == code)]) for code in borders}
        best = max(borders, key=lambda c: (max(map(rounded, around[c])), borders[c], -c))
        target = max(around[best], key=lambda g: size[g])
        beside = around[best]
        taken = [min(small)[2], *(g for g in beside if g != target and size[g] < limit)]
        if size[target] < limit * (1 - 1e-9):
            size[target] += sum(size[g] for g in taken)
        out[inside] = best
        groups[np.isin(groups, taken)] = target


def filled(labels, limit, *, areas=None, tall=256):
    """What max-hole says, of each component by itself."""
    areas = np.ones(labels.shape) if areas is None else areas
    out, groups = labels.astype(int), components(labels, SIDES)
    holes = []
    for group in np.unique(groups):
        code = labels[groups == group][0]
        pieces, count = ndimage.label(groups != group, CORNERS)
        rim = {*pieces[0], *pieces[-1], *pieces[:, 0], *pieces[:, -1]}
        for piece in set(range(1, count + 1)) - rim:
            hole = pieces == piece
            small = areas[hole].sum() <= limit * (1 + 1e-9) and np.ptp(np.nonzero(hole)[0]) < tall
            if small and code != NODATA:
                holes.append((np.count_nonzero(hole), code, hole))
    for _, code, hole in sorted(holes, key=lambda h: h[0]):
        out[hole] = code
    return out


@st.composite
def rasters(draw, side: int = 16):
    shape = draw(st.integers(1, side)), draw(st.integers(1, side))
    codes = draw(st.sampled_from([(0, 1), (0, NODATA), (0, 1, 2), (0, 1, 2, 7, NODATA), (3, -5, 9)]))
    labels = draw(arrays(np.int16, shape, elements=st.sampled_from(codes)))
    # each pixel several times: components of more than some pixels
    grow = draw(st.sampled_from([1, 1, 2, 3]))
    return labels.repeat(grow, 0).repeat(grow, 1)[: side + 5, : side + 5]


CUTS = st.lists(st.integers(1, 20), max_size=5)


@pytest.fixture(params=[2, 5, 64], ids="blocks of {}".format)
def block(request, monkeypatch) -> int:
    monkeypatch.setattr(sifting, "BLOCK", request.param)
    return request.param


@pytest.mark.usefixtures("block")
@given(labels=rasters(), limit=st.sampled_from([1, 2, 2.5, 4, 9, 30]), diagonal=st.booleans())
def test_small_components_merge_as_in_the_whole_array(labels, limit, diagonal) -> None:
    got = sieve(labels, min_area=limit, diagonal=diagonal)
    np.testing.assert_array_equal(got, merged(labels, limit, diagonal=diagonal))


@pytest.mark.usefixtures("block")
@given(labels=rasters(), limit=st.sampled_from([1, 2.5, 4, 12, 60]))
def test_holes_are_filled_as_in_the_whole_array(labels, limit) -> None:
    np.testing.assert_array_equal(sieve(labels, max_hole=limit), filled(labels, limit))


@pytest.mark.usefixtures("block")
@given(labels=rasters(), cuts=CUTS, small=st.integers(1, 9), hole=st.integers(1, 30))
def test_strips_give_what_the_whole_gives(labels, cuts, small, hole) -> None:
    scores = np.arange(labels.size, dtype=np.uint8).reshape(labels.shape)
    options = {"min_area": small, "max_hole": hole, "confidence": scores}
    parts = sieve(labels, cuts=cuts, **options)
    np.testing.assert_array_equal(parts, sieve(labels, **options))
    np.testing.assert_array_equal(parts, filled(merged(labels, small), hole))
