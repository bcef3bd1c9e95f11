"""Law 4 (round trip) of the polygoniser, and GDAL's as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geounet.classes import NODATA
from geounet.errors import OptionError
from geounet.polygonize import PolygonBatch, StripPolygonizer
from geounet.polygonize.compiled import jit
from geounet.polygonize.state import FREE, LIVE, NONE, TOP, new_state, with_room

NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_000_000)
AFFINES = {
    "north up": NORTH_UP,
    "south up": Affine(10, 0, 500_000, 0, 10, 5_000_000),
    "mirrored": Affine(-10, 0, 500_000, 0, -10, 5_000_000),
    "half a turn": Affine(-10, 0, 500_000, 0, 10, 5_000_000),
    "rotated": Affine(8, 6, 100, 6, -8, 200),
    "rotated, mirrored": Affine(8, 6, 100, -6, 8, 200),
    "quarter turn": Affine(0, 10, 100, 10, 0, 200),
}

N = NODATA
SADDLE = np.array([[1, 0], [0, 1]], np.uint8)
SADDLES = {
    "two squares": SADDLE,
    "nodata": np.array([[1, N], [N, 1]], np.uint8),
    "a hole in figure eight": np.array(
        [[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], np.uint8
    ),
    "the other diagonal": np.array(
        [[1, 1, 1, 1], [1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1]], np.uint8
    ),
    "a ring that closes at a corner": np.array(
        [[1, 1, 1, N], [1, 0, 1, N], [1, 1, N, 1], [N, N, 1, 1]], np.uint8
    ),
    "an island that touches its hole": np.array(
        [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 1, 1], [1, 1, 1, 1, 1]],
        np.uint8,
    ),
    "a bay that pinches off": np.array(
        [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 1, 0], [1, 1, 0, 1]], np.uint8
    ),
    "a chain of holes": np.pad(np.eye(5, dtype=np.uint8), 1),
    "chequered": (np.indices((6, 7)).sum(0) % 2).astype(np.uint8),
}


def concatenated(batches: list[PolygonBatch]) -> PolygonBatch:
    def joined(name):
        parts = [getattr(b, name) for b in batches]
        return None if parts[-1] is None else np.concatenate(parts)

    return PolygonBatch(
        **{k: joined(k) for k in ("geometry", "code", "pixels", "area", "confidence")}
    )


def polygonize(labels, *, affine=NORTH_UP, cuts=(), areas=None, confidence=None) -> PolygonBatch:
    """The polygons of a raster that is given in strips, which end at ``cuts``."""
    tracer = StripPolygonizer(width=labels.shape[1], affine=affine)
    stops = [*sorted({c for c in cuts if 0 < c < len(labels)}), len(labels)]
    batches, start = [], 0
    for stop in stops:
        rows = slice(start, stop)
        batch = tracer.write(
            labels[rows],
            areas=None if areas is None else areas[rows],
            confidence=None if confidence is None else confidence[rows],
        )
        batches.append(batch)
        start = stop
    batches.append(tracer.finish())
    assert (tracer._state.pools[:, LIVE] == 0).all(), "the pools leak"
    return concatenated(batches)


def rasterize(batch: PolygonBatch, shape, affine):
    if not len(batch):
        return np.full(shape, NODATA, np.uint8)
    pairs = zip(batch.geometry, batch.code.tolist(), strict=True)
    return rasterio.features.rasterize(pairs, shape, fill=NODATA, transform=affine, dtype=np.uint8)


def normalized(codes, geometry) -> list[tuple[int, bytes]]:
    wkb = shapely.to_wkb(shapely.normalize(np.asarray(geometry, object)))
    return sorted(zip(map(int, codes), wkb, strict=True))


def oracle(labels, affine):
    """GDAL's polygons, 4-connected, in normal form."""
    found = list(
        rasterio.features.shapes(labels, labels != NODATA, connectivity=4, transform=affine)
    )
    return normalized([value for _, value in found], [shapely.geometry.shape(g) for g, _ in found])


@st.composite
def rasters(draw, side: int = 14):
    height, width = draw(st.integers(1, side)), draw(st.integers(1, side))
    codes = draw(st.sampled_from([(0, 1), (0, NODATA), (0, 1, NODATA), (0, 1, 2, 254, NODATA)]))
    return draw(arrays(np.uint8, (height, width), elements=st.sampled_from(codes)))


CUTS = st.lists(st.integers(1, 20), max_size=6)


@given(labels=rasters(), cuts=CUTS, affine=st.sampled_from(sorted(AFFINES)))
def test_round_trip(labels, cuts, affine) -> None:
    transform = AFFINES[affine]
    batch = polygonize(labels, affine=transform, cuts=cuts)
    assert np.array_equal(rasterize(batch, labels.shape, transform), labels)
    assert NODATA not in batch.code
    area = shapely.area(batch.geometry)
    np.testing.assert_allclose(area, batch.pixels * abs(transform.determinant), rtol=1e-9)


@given(labels=rasters(), cuts=CUTS)
def test_strips_give_the_polygons_of_the_whole_ring_for_ring(labels, cuts) -> None:
    whole, parts = polygonize(labels), polygonize(labels, cuts=cuts)
    assert shapely.to_wkb(whole.geometry).tolist() == shapely.to_wkb(parts.geometry).tolist()
    assert whole.code.tolist() == parts.code.tolist()
    assert whole.pixels.tolist() == parts.pixels.tolist()


@given(labels=rasters(), affine=st.sampled_from(sorted(AFFINES)))
@example(labels=SADDLE, affine="north up")
def test_polygons_equal_gdals(labels, affine) -> None:
    batch = polygonize(labels, affine=AFFINES[affine])
    assert normalized(batch.code, batch.geometry) == oracle(labels, AFFINES[affine])


def assert_clean(polygon) -> None:
    """Valid by the Simple Features rules, counter-clockwise outside, with true corners only."""
    assert shapely.is_valid(polygon), shapely.is_valid_reason(polygon)
    assert polygon.exterior.is_ccw
    assert not any(hole.is_ccw for hole in polygon.interiors)
    for ring in (polygon.exterior, *polygon.interiors):
        xy = np.asarray(ring.coords)[:-1]
        before, after = xy - np.roll(xy, 1, axis=0), np.roll(xy, -1, axis=0) - xy
        cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        assert (np.abs(cross) > 1e-6).all(), "a corner lies on a straight line"
        assert len(np.unique(xy, axis=0)) == len(xy), "the ring touches itself"


@given(labels=rasters(), affine=st.sampled_from(sorted(AFFINES)))
def test_polygons_are_valid_and_oriented_and_have_no_needless_corner(labels, affine) -> None:
    for polygon in polygonize(labels, affine=AFFINES[affine]).geometry:
        assert_clean(polygon)


@given(
    labels=rasters(), cuts=CUTS, seed=st.integers(0, 99), by_row=st.booleans(), scored=st.booleans()
)
def test_pixels_areas_and_confidence_are_those_of_the_pixels(
    labels, cuts, seed, by_row, scored
) -> None:
    rng = np.random.default_rng(seed)
    areas = rng.random((len(labels), 1 if by_row else labels.shape[1])) + 1
    confidence = rng.integers(0, 101, labels.shape, dtype=np.uint8)
    confidence[labels == NODATA] = NODATA
    batch = polygonize(labels, cuts=cuts, areas=areas, confidence=confidence if scored else None)
    each = np.broadcast_to(areas, labels.shape)
    for i, polygon in enumerate(batch.geometry):
        inside = rasterio.features.rasterize(
            [polygon], labels.shape, transform=NORTH_UP, dtype=np.uint8
        ).astype(bool)
        assert batch.pixels[i] == inside.sum()
        assert batch.area[i] == pytest.approx(each[inside].sum())
        if scored:
            assert batch.confidence[i] == pytest.approx(confidence[inside].mean())
    assert (batch.confidence is not None) is scored


@pytest.mark.parametrize("case", SADDLES)
@pytest.mark.parametrize("turns", [0, 1])
def test_pixels_that_touch_at_a_corner(case: str, turns: int) -> None:
    labels = np.ascontiguousarray(np.rot90(SADDLES[case], turns))
    batch = polygonize(labels, cuts=range(len(labels)))
    assert normalized(batch.code, batch.geometry) == oracle(labels, NORTH_UP)
    assert np.array_equal(rasterize(batch, labels.shape, NORTH_UP), labels)
    for polygon in batch.geometry:
        assert_clean(polygon)


def test_a_hole_in_figure_eight_is_two_holes() -> None:
    batch = polygonize(SADDLES["a hole in figure eight"])
    assert sorted(len(p.interiors) for p in batch.geometry) == [0, 0, 2]


def test_diagonal_squares_are_apart() -> None:
    batch = polygonize(SADDLE)
    assert sorted(batch.code.tolist()) == [0, 0, 1, 1]
    assert batch.pixels.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (1, 2), (2, 1)])
def test_thin_rasters(shape) -> None:
    labels = np.random.default_rng(5).choice(np.array([0, 1, NODATA], np.uint8), shape)
    batch = polygonize(labels, cuts=range(40), areas=np.ones(shape))
    assert normalized(batch.code, batch.geometry) == oracle(labels, NORTH_UP)
    assert batch.area.sum() == (labels != NODATA).sum()


def test_a_raster_larger_than_the_pools_at_first() -> None:
    """Growing the pools, and slots that are used again, change nothing."""
    rng = np.random.default_rng(11)
    labels = (rng.random((300, 211)) < 0.45).astype(np.uint8)
    labels[::7, ::5] = NODATA
    batch = polygonize(labels, cuts=range(0, 300, 9))
    assert normalized(batch.code, batch.geometry) == oracle(labels, NORTH_UP)
    whole = polygonize(labels)
    assert shapely.to_wkb(whole.geometry).tolist() == shapely.to_wkb(batch.geometry).tolist()


def test_nothing_but_nodata_gives_no_polygon() -> None:
    labels = np.full((5, 6), NODATA, np.uint8)
    batch = polygonize(labels, areas=np.ones((5, 1)), confidence=labels)
    assert len(batch) == 0
    assert batch.geometry.shape == batch.area.shape == batch.confidence.shape == (0,)


def test_another_nodata_code() -> None:
    tracer = StripPolygonizer(width=2, affine=NORTH_UP, nodata=0)
    tracer.write(np.array([[0, 255]], np.uint8))
    assert tracer.finish().code.tolist() == [255]


def test_polygons_come_as_soon_as_they_are_closed() -> None:
    tracer = StripPolygonizer(width=3, affine=NORTH_UP)
    assert len(tracer.write(np.array([[N, 1, N], [N, 1, N]], np.uint8))) == 0
    assert tracer.write(np.array([[N, N, N]], np.uint8)).pixels.tolist() == [2]
    assert len(tracer.finish()) == 0


def test_an_empty_strip_changes_nothing() -> None:
    tracer = StripPolygonizer(width=2, affine=NORTH_UP)
    assert len(tracer.write(np.empty((0, 2), np.uint8))) == 0
    tracer.write(np.ones((1, 2), np.uint8))
    assert tracer.finish().pixels.tolist() == [2]


def test_a_slice_of_columns_and_a_read_only_array() -> None:
    labels = np.random.default_rng(2).integers(0, 2, (9, 30), dtype=np.uint8)
    part = labels[:, 3:12]
    part.flags.writeable = False
    batch = polygonize(part, cuts=[4])
    assert normalized(batch.code, batch.geometry) == oracle(part.copy(), NORTH_UP)


@pytest.mark.parametrize("pattern", ["blobs", "stripes", "islands in stripes"])
def test_memory_does_not_grow_with_the_height(pattern: str) -> None:
    rng = np.random.default_rng(4)
    period = (rng.random((40, 150)) < 0.4).astype(np.uint8)
    if pattern == "blobs":
        period[-1] = NODATA  # everything ends here
    else:
        period[:, ::3] = 2
        period[:, 1::3] = 3 if pattern == "stripes" else period[:, 1::3]
        period[-1, 2::3] = NODATA
    tracer = StripPolygonizer(width=150, affine=NORTH_UP)

    def size() -> int:
        return sum(a.nbytes for a in tracer._state)

    sizes = []
    for _ in range(60):
        tracer.write(period)
        sizes.append(size())
    assert sizes[-1] == sizes[3]


def test_holes_wait_in_a_byte_or_two_a_corner() -> None:
    """A polygon as tall as the scene, with a hole for every lake in it."""
    rng = np.random.default_rng(1)
    tracer = StripPolygonizer(width=400, affine=NORTH_UP)
    corners, sizes = 0, []
    for _ in range(40):
        rows = (rng.random((100, 400)) < 0.02).astype(np.uint8)
        rows[:, ::20] = 0  # the land holds together
        tracer.write(rows)
        corners += 4 * int(rows.sum())
        sizes.append(sum(a.nbytes for a in tracer._state))
    assert (sizes[-1] - sizes[0]) / corners < 24  # small holes: a record and a block each
    (land,) = (g for g in tracer.finish().geometry if g.interiors)
    assert len(land.interiors) > corners / 8


def test_with_room_keeps_what_is_there_and_leaves_room_for_a_row() -> None:
    state = new_state(3, NODATA)
    state.nodes["col"][:] = np.arange(len(state.nodes))
    before = state.nodes["col"].copy()
    state.pools[0, LIVE] = state.pools[0, TOP] = len(before)
    grown = with_room(state, 3)
    assert np.array_equal(grown.nodes["col"][: len(before)], before)
    assert len(grown.nodes) - len(before) >= 4 * 4  # four for each corner of a row
    assert len(grown.ends) == len(state.ends)  # was large enough
    assert grown.pools[0, FREE] == NONE
    assert with_room(grown, 3).nodes is grown.nodes


@pytest.mark.parametrize(
    ("arrays_", "message"),
    [
        ({"labels": np.zeros((2, 4), np.uint8)}, r"labels of shape \(2, 4\).*must be \(2, 3\)"),
        ({"labels": np.zeros((2, 3), np.int64)}, "labels.*int64 must be.*uint8"),
        ({"labels": np.zeros(3, np.uint8)}, "labels"),
        (
            {"labels": np.zeros((2, 3), np.uint8), "areas": np.zeros((3, 1))},
            r"areas of shape \(3, 1\).*must be \(2, 3\) or \(2, 1\)",
        ),
        (
            {"labels": np.zeros((2, 3), np.uint8), "confidence": np.zeros((2, 1), np.uint8)},
            "confidence of shape",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays_, message) -> None:
    with pytest.raises(OptionError, match=message):
        StripPolygonizer(width=3, affine=NORTH_UP).write(**arrays_)


def test_areas_for_every_strip_or_none() -> None:
    tracer = StripPolygonizer(width=3, affine=NORTH_UP)
    tracer.write(np.zeros((2, 3), np.uint8), areas=np.ones((2, 1)))
    with pytest.raises(OptionError, match="every strip or for none"):
        tracer.write(np.zeros((2, 3), np.uint8))


def test_no_columns_no_polygons() -> None:
    with pytest.raises(OptionError, match="a raster of 0 columns"):
        StripPolygonizer(width=0, affine=NORTH_UP)


def test_where_nothing_can_be_cached_the_code_is_compiled_anew() -> None:
    """A function without a file stands for a package folder and a home that are read-only."""
    room: dict = {}
    exec("def double(x):\n    return 2 * x", room)
    assert jit(room["double"])(21) == 42


def triple(x):
    return 3 * x


def test_a_full_disk_under_the_cache_is_no_error(monkeypatch) -> None:
    calls = []

    def full(*_args):
        calls.append(1)
        raise OSError(28, "No space left on device")

    compiled = jit(triple)
    monkeypatch.setattr(compiled._cache._cache, "save_overload", full)
    monkeypatch.setattr(compiled._cache._cache, "load_overload", lambda *_: None)
    assert compiled(14) == 42
    assert calls
