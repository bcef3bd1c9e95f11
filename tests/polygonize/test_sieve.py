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
from geounet.polygonize import StripPolygonizer, holes, merging, sifting
from geounet.polygonize.corners import OUTSIDE
from geounet.polygonize.sieve import Sieve
from geounet.polygonize.tracing import Tracing
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
        found, _ = ndimage.label(labels == code, structure)
        out += np.where(found, found + out.max(), 0)
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
    codes = draw(
        st.sampled_from([(0, 1), (0, NODATA), (0, 1, 2), (0, 1, 2, 7, NODATA), (3, -5, 9)])
    )
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


@given(labels=rasters(), small=st.integers(1, 20), hole=st.integers(1, 30), diagonal=st.booleans())
def test_none_left(labels, small, hole, diagonal) -> None:
    options = {"min_area": small, "max_hole": hole, "diagonal": diagonal}
    once = sieve(labels, **options)
    np.testing.assert_array_equal(sieve(once, **options), once)


PLACES = {"UTM": UTM, "degrees": DEGREES}


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("place", PLACES)
@given(labels=rasters(), pixels=st.sampled_from([1.5, 3.3, 8.5]))
def test_limits_are_square_metres(labels, pixels, place) -> None:
    areas = pixel_areas(labels.shape, PLACES[place])
    limit = pixels * areas[len(labels) // 2, labels.shape[1] // 2]
    got = sieve(labels, place=PLACES[place], min_area=limit)
    np.testing.assert_array_equal(got, merged(labels, limit, areas=areas))
    got = sieve(labels, place=PLACES[place], max_hole=limit)
    np.testing.assert_array_equal(got, filled(labels, limit, areas=areas))


def test_a_degree_near_the_pole_is_smaller() -> None:
    labels = np.zeros((80, 9), np.uint8)
    labels[3, 4] = labels[70, 4] = 1
    areas = pixel_areas(labels.shape, DEGREES)
    limit = float(areas[3, 0] + areas[70, 0]) / 2
    got = sieve(labels, place=DEGREES, min_area=limit)
    assert np.argwhere(got).tolist() == [[70, 4]]
    labels = 1 - labels
    assert np.argwhere(sieve(labels, place=DEGREES, max_hole=limit) == 0).tolist() == [[70, 4]]


def drawn(text: str) -> np.ndarray:
    """A raster from rows of digits; ``.`` is nodata."""
    rows = text.split()
    return np.array([[NODATA if c == "." else int(c) for c in row] for row in rows], np.uint8)


CASES = {
    "a speck": ("000 010 000", "000 000 000", {"min_area": 2}),
    "at the limit": ("0000 0110 0000", "0000 0110 0000", {"min_area": 2}),
    "the larger one, not the longer border": (
        "33300000 32000000 33300000", "33300000 30000000 33300000", {"min_area": 2}
    ),
    "the longer border of equal ones": ("55522 53222 55522", "55522 55222 55522", {"min_area": 2}),
    "the lower code of equal ones": ("112 132 122", "112 112 122", {"min_area": 2}),
    "small ones add up": ("00000 01230 00000", "00000 00000 00000", {"min_area": 4}),
    "one takes in the other": (".112. .111. .....", ".111. .111. .....", {"min_area": 6}),
    "an island is dropped": (".... .1.. ....", ".... .... ....", {"min_area": 2}),
    "two that touch are dropped": ("..... .12.. .....", "..... ..... .....", {"min_area": 3}),
    "two that touch are enough": ("..... .112. .....", "..... .111. .....", {"min_area": 3}),
    "nodata is not filled": ("000 0.0 000", "000 0.0 000", {"min_area": 2}),
    "corners hold it together": (
        "1000 0100 0010 0000", "1000 0100 0010 0000", {"min_area": 3, "diagonal": True}
    ),
    "corners do not": ("1000 0100 0010 0000", "0000 0000 0000 0000", {"min_area": 3}),
    "a hole of nodata": ("000 0.0 000", "000 000 000", {"max_hole": 1}),
    "too large a hole": ("0000 0120 0000", "0000 0120 0000", {"max_hole": 1}),
    "a hole of two labels": ("0000 0120 0000", "0000 0000 0000", {"max_hole": 2}),
    "two holes that touch at a corner are one": (
        "0000 0100 0010 0000", "0000 0100 0010 0000", {"max_hole": 1}
    ),
    "a bay at the edge": ("010 000", "010 000", {"max_hole": 4}),
    "an island in a hole": (
        "0000000 0111110 0122210 0121210 0122210 0111110 0000000",
        "0000000 0111110 0122210 0122210 0122210 0111110 0000000",
        {"max_hole": 1},
    ),
    "an island in a hole with it": (
        "0000000 0111110 0122210 0121210 0122210 0111110 0000000",
        "0000000 0111110 0111110 0111110 0111110 0111110 0000000",
        {"max_hole": 9},
    ),
    "all of them": (
        "0000000 0111110 0122210 0121210 0122210 0111110 0000000",
        "0000000 0000000 0000000 0000000 0000000 0000000 0000000",
        {"max_hole": 25},
    ),
    "an island in nodata": (".... .1.. .... 0000", ".... .1.. .... 0000", {"max_hole": 9}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_a_person_expects(case) -> None:
    before, after, options = CASES[case]
    np.testing.assert_array_equal(sieve(drawn(before), **options), drawn(after))


def tall(monkeypatch, rows: int) -> None:
    """Let all rules wait for so many rows at most."""
    for rule in (merging.Merging, holes.Holes):
        start = rule.__init__

        def init(self, *args, start=start, **options) -> None:
            start(self, *args, **options)
            self.tall = min(self.tall, rows)

        monkeypatch.setattr(rule, "__init__", init)


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.usefixtures("block")
@given(labels=rasters(24), limit=st.sampled_from([2, 5, 20]), diagonal=st.booleans(), cuts=CUTS)
def test_clusters_that_are_cut_leave_nothing_small(rows, labels, limit, diagonal, cuts) -> None:
    with pytest.MonkeyPatch.context() as patch:
        tall(patch, rows)
        got = sieve(labels, min_area=limit, diagonal=diagonal)
        again = sieve(labels, min_area=limit, diagonal=diagonal, cuts=cuts)
    np.testing.assert_array_equal(got, again)
    structure = CORNERS if diagonal else SIDES
    sizes = np.bincount(components(got, structure)[got != NODATA])
    assert not ((sizes > 0) & (sizes < limit)).any()
    before = components(labels, structure)
    large = (np.bincount(before.ravel()) >= limit)[before] & (labels != NODATA)
    np.testing.assert_array_equal(got[large], labels[large])


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.usefixtures("block")
@given(labels=rasters(24), limit=st.sampled_from([2, 8, 40]))
def test_taller_holes_stay(rows, labels, limit) -> None:
    with pytest.MonkeyPatch.context() as patch:
        tall(patch, rows)
        got = sieve(labels, max_hole=limit)
    np.testing.assert_array_equal(got, filled(labels, limit, tall=rows))


def held(labels, **options) -> int:
    """Most rows that are held back between two rows."""
    one = Sieve(geobox=grid(labels.shape, **PIXELS), nodata=NODATA, **options)
    most = given = 0
    for row in labels:
        given += sum(len(strip) for strip, _ in one.add(row[None], None))
        most = max(most, one.rows)
    assert given + sum(len(strip) for strip, _ in one.rest()) == len(labels)
    return most


@pytest.mark.parametrize("option", ["min_area", "max_hole"])
def test_rows_held_back_do_not_grow_with_the_raster(option) -> None:
    speckle = np.random.default_rng(0).integers(0, 4, (3000, 12), dtype=np.uint8)
    assert held(speckle, **{option: 30}) <= merging.TALL + sifting.BLOCK
    stripes = np.arange(12, dtype=np.uint8)[None].repeat(3000, 0)
    assert held(stripes, **{option: 30}) <= merging.TALL + sifting.BLOCK
    stripes[::7, ::2] = 99
    assert held(stripes, **{option: 30}) <= merging.TALL + sifting.BLOCK


def test_components_are_not_kept_for_ever() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (4000, 8), dtype=np.uint8)
    one = Sieve(geobox=grid(labels.shape, **PIXELS), nodata=None, min_area=20, max_hole=20)
    most = []
    for row in range(0, 4000, 400):
        list(one.add(labels[row : row + 400], None))
        most.append(max(len(stage._graph.comps.label) for stage in one._stages))
    assert max(most[5:]) < 1.5 * max(most[1:5])


def test_polygons_are_as_large_as_was_asked() -> None:
    labels = np.random.default_rng(1).integers(0, 3, (90, 40), dtype=np.uint8)
    geobox = grid(labels.shape, **UTM)
    one = Sieve(geobox=geobox, nodata=0, min_area=1000)
    tracer = StripPolygonizer(Tracing(geobox=geobox, nodata=one.nodata))
    batches = [tracer.write(strip) for strip, _ in one.add(labels, None)]
    batches += [tracer.write(strip) for strip, _ in one.rest()]
    batches.append(tracer.finish())
    areas = np.concatenate([batch.columns["area_m2"] for batch in batches])
    assert len(areas)
    assert areas.min() >= 1000


def test_no_limit_changes_nothing() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (9, 8)).astype(np.int64)
    np.testing.assert_array_equal(sieve(labels), labels)


def test_bad_options_and_strips() -> None:
    geobox = grid((2, 3), **PIXELS)
    with pytest.raises(OptionError, match="min_area is -1: it must be 0 or more"):
        Sieve(geobox=geobox, nodata=None, min_area=-1)
    with pytest.raises(OptionError, match="max_hole is nan"):
        Sieve(geobox=geobox, nodata=None, max_hole=float("nan"))
    one = Sieve(geobox=geobox, nodata=None, min_area=2)
    assert one.nodata == OUTSIDE
    with pytest.raises(OptionError, match=r"labels of shape \(1, 4\) and type uint8 must be"):
        list(one.add(np.zeros((1, 4), np.uint8), None))
    with pytest.raises(OptionError, match="more rows than the 2"):
        list(one.add(np.zeros((3, 3), np.uint8), None))
    with pytest.raises(OptionError, match="confidence is given for every strip or for none"):
        list(one.add(np.zeros((1, 3), np.uint8), np.zeros((1, 3), np.uint8)))
