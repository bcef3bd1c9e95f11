"""What goes in and when it comes out again: types, strips, and what is refused."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from odc.geo.geobox import GeoBox
from polygons import (
    NORTH_UP,
    N,
    assert_same,
    gdals,
    geometries,
    noise,
    normalized,
    polygonize,
    rasterize,
)

from geounet.errors import OptionError
from geounet.polygonize import PolygonBatch, StripPolygonizer, Tolerance, Tracing, bands

EVERY = np.arange(256, dtype=np.uint8).reshape(16, 16)
"""All values of a byte."""


def polygonizer(height: int, width: int, threads: int = 1, **more) -> StripPolygonizer:
    geobox = GeoBox((height, width), NORTH_UP, None)
    return StripPolygonizer(Tracing(geobox=geobox, **{"nodata": N} | more), threads)


INTEGERS = {
    np.uint8: (0, 200, 255),
    np.int8: (-128, 0, 127),
    np.uint16: (0, 255, 65_535),
    np.int16: (-32_768, -1, 32_767),
    np.uint32: (0, 65_536, 2**31 - 1),
    np.int32: (-(2**31) + 1, 0, 2**31 - 1),
    np.uint64: (0, 65_536, 2**31 - 1),
    np.int64: (-(2**31) + 1, 0, 2**31 - 1),
}


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda t: t.__name__)
@pytest.mark.parametrize("nodata", [None, 0, 1, 2])
def test_integers_of_any_type(dtype, nodata) -> None:
    """``nodata``: which of the three values is it."""
    values = np.array(INTEGERS[dtype], dtype)
    which = noise(7, (20, 30), (0, 1, 2))
    labels = values[which]
    code = None if nodata is None else int(values[nodata])
    batch = polygonize(labels, nodata=code, cuts=[7], band=8)
    found = normalized(batch.columns["class"], geometries(batch))
    oracle = [(int(values[i]), wkb) for i, wkb in gdals(which, NORTH_UP, nodata)]
    assert found == sorted(oracle)
    kept = labels != code if nodata is not None else np.ones(labels.shape, bool)
    assert np.array_equal(np.where(kept, labels, 9), rasterize(batch, labels.shape, nodata=9))


def test_every_value_of_a_byte_is_a_label_where_there_is_no_nodata() -> None:
    batch = polygonize(EVERY, nodata=None)
    assert sorted(batch.columns["class"].tolist()) == list(range(256))
    assert np.array_equal(rasterize(batch, EVERY.shape), EVERY)


@pytest.mark.parametrize("nodata", [-1, 256, 70_000, -(2**31), 2**40])
def test_a_nodata_value_that_the_type_does_not_have(nodata) -> None:
    assert_same(polygonize(EVERY, nodata=nodata), polygonize(EVERY, nodata=None))


@pytest.mark.parametrize(
    ("nodata", "dtype"),
    [(-(2**31), np.int32), (-(2**31), np.int64), (-(2**40), np.int64), (2**32 - 1, np.uint32)],
)
def test_nodata_that_no_label_may_be(nodata, dtype) -> None:
    labels = np.array([[1, nodata, 1]], dtype)
    batch = polygonize(labels, nodata=nodata)
    assert batch.columns["class"].tolist() == [1, 1]


def test_strips_of_several_types_are_one_raster() -> None:
    labels = noise(3, (9, 7), (0, 1, N))
    tracer = polygonizer(9, 7)
    done = [tracer.write(labels[:4]), tracer.write(labels[4:].astype(np.int64))]
    batch = PolygonBatch.join([*done, tracer.finish()])
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(labels, NORTH_UP)


def test_nothing_but_nodata_gives_no_polygon() -> None:
    labels = np.full((5, 6), N, np.uint8)
    batch = polygonize(labels, confidence=labels, crs="EPSG:32633")
    assert len(batch) == len(batch.wkb) == 0
    assert batch.offsets.tolist() == [0]


@pytest.mark.parametrize("crs", [None, "EPSG:32633"])
@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("code", [1, N])
def test_the_columns_are_those_that_were_said(crs, scored, code) -> None:
    labels = np.full((4, 3), code, np.uint8)
    batch = polygonize(labels, crs=crs, confidence=labels if scored else None)
    tracing = Tracing(geobox=GeoBox((4, 3), NORTH_UP, crs), nodata=N, confidence=scored)
    assert [(n, v.dtype) for n, v in batch.columns.items()] == [
        (name, np.dtype(dtype)) for name, dtype in tracing.columns
    ]
    assert ("area_m2" in batch.columns) is ("perimeter_m" in batch.columns) is (crs is not None)
    assert ("confidence" in batch.columns) is ("confidence_min" in batch.columns) is scored


@pytest.mark.parametrize("threads", [1, 2])
def test_polygons_come_as_soon_as_the_band_is_done(monkeypatch, threads) -> None:
    monkeypatch.setattr(bands, "BAND", 2)
    monkeypatch.setattr(bands, "MOST_BANDS", 1)
    tracer = polygonizer(40, 3, threads)
    row, gap = np.array([[N, 1, N]], np.uint8), np.full((1, 3), N, np.uint8)
    assert len(tracer.write(row)) == 0
    late = 2 * (threads if threads > 1 else 0)  # so many bands may be under way
    came = len(tracer.write(np.concatenate([row, gap, gap])))
    came += sum(len(tracer.write(gap)) for _ in range(late))
    assert came == 1
    tracer.write(np.full((40 - 4 - late, 3), N, np.uint8))
    assert len(tracer.finish()) == 0


def heights(labels, cuts=(), **more) -> list[int]:
    """Rows of the bands of a raster given in strips that end at ``cuts``."""
    tracing = Tracing(geobox=GeoBox(labels.shape, NORTH_UP, None), nodata=N, **more)
    cutter = bands.Bands(tracing)
    edges = [0, *cuts, len(labels)]
    strips = [labels[a:b] for a, b in itertools.pairwise(edges)]
    found = [len(band.labels) - 1 for strip in strips for band in cutter.add(strip, None)]
    return [*found, len(cutter.rest().labels) - 2]


def sparse_above_dense() -> np.ndarray:
    """1000 rows with little in them, then 300 with much."""
    labels = np.zeros((1300, 400), np.uint8)
    labels[200:900, 50:300] = 1
    labels[1000:] = noise(1, (300, 400), (0, 1))
    return labels


def test_where_little_is_several_bands_are_one() -> None:
    labels = sparse_above_dense()
    whole = [480, 480, 96, 96, 96, 52]
    assert heights(labels) == whole
    for cuts in ([1, 95, 96, 97, 700], range(7, 1300, 7), [480, 960]):
        assert heights(labels, cuts) == whole
    assert heights(labels, simplify=Tolerance(distance=1.0, pixel=(1.0, 1.0)))[:5] == [256] * 5
    assert heights(np.zeros((500, 30_000), np.uint8))[0] == 96  # much in memory


def test_bands_of_several_heights_make_the_same_polygons() -> None:
    labels = sparse_above_dense()
    whole = polygonize(labels)
    assert normalized(whole.columns["class"], geometries(whole)) == gdals(labels, NORTH_UP)
    assert_same(whole, polygonize(labels, cuts=[1, 95, 96, 97, 481, 700, 1001], threads=2))


def test_an_empty_strip_changes_nothing() -> None:
    tracer = polygonizer(1, 2)
    assert len(tracer.write(np.empty((0, 2), np.uint8))) == 0
    tracer.write(np.ones((1, 2), np.uint8))
    assert len(tracer.write(np.empty((0, 2), np.uint8))) == 0
    assert tracer.finish().columns["pixels"].tolist() == [2]


def test_a_slice_of_columns_and_a_read_only_array() -> None:
    labels = noise(2, (9, 30), (0, 1))
    part = labels[::-1, 3:12]
    part.flags.writeable = False
    batch = polygonize(part, cuts=[4])
    assert normalized(batch.columns["class"], geometries(batch)) == gdals(part.copy(), NORTH_UP)


def test_a_strip_may_change_once_it_was_given() -> None:
    labels = noise(4, (50, 9), (0, 1, N))
    confidence = noise(5, (50, 9), range(101))
    tracer = polygonizer(50, 9, threads=2, confidence=True)
    strip, scores = np.empty((10, 9), np.uint8), np.empty((10, 9), np.uint8)
    done = []
    for k in range(0, 50, 10):
        strip[:], scores[:] = labels[k : k + 10], confidence[k : k + 10]
        done.append(tracer.write(strip, scores))
        strip[:], scores[:] = 7, 7
    assert_same(
        PolygonBatch.join([*done, tracer.finish()]), polygonize(labels, confidence=confidence)
    )


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    tracer = polygonizer(1000, 9, threads=3)
    tracer.write(noise(4, (1000, 9), (0, 1)))
    assert threading.active_count() > before
    tracer.finish()
    given_up = polygonizer(1000, 9, threads=3)
    given_up.write(noise(4, (1000, 9), (0, 1)))
    given_up.close()
    assert threading.active_count() == before


def test_what_fails_in_a_thread_reaches_the_caller(monkeypatch) -> None:
    monkeypatch.setattr(bands, "BAND", 1)
    monkeypatch.setattr(bands, "MOST_BANDS", 1)
    tracer = polygonizer(9, 3, threads=2)

    def broken(*_args):
        raise MemoryError("no room")

    monkeypatch.setattr(tracer, "_trace", broken)
    with pytest.raises(MemoryError, match="no room"):
        tracer.write(np.ones((9, 3), np.uint8))
    tracer.close()


ONES = np.ones((2, 3), np.uint8)
MISFITS = {
    "columns": (np.ones((2, 4), np.uint8), None, r"labels of shape \(2, 4\).*must be \(2, 3\)"),
    "one axis": (np.ones(3, np.uint8), None, r"labels of shape \(3,\).*must be \(3, 3\) integers"),
    "three axes": (np.ones((1, 2, 3), np.uint8), None, r"labels of shape \(1, 2, 3\)"),
    "floats": (np.ones((2, 3)), None, r"labels.*float64 must be \(2, 3\) integers"),
    "bool": (np.ones((2, 3), bool), None, "labels.*bool must be"),
    "rows": (np.ones((5, 3), np.uint8), None, "more rows than the 4 of the raster"),
    "confidence": (ONES, ONES, "confidence is given for every strip or for none"),
}
SCORED = {
    "none": (ONES, None, "confidence is given for every strip or for none"),
    "columns": (ONES, ONES[:, :2], r"confidence of shape \(2, 2\).*must be \(2, 3\), uint8"),
    "rows": (ONES, ONES[:1], r"confidence of shape \(1, 3\)"),
    "type": (ONES, ONES.astype(float), "confidence.*float64 must be"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_labels_that_do_not_fit_are_refused(case) -> None:
    labels, confidence, message = MISFITS[case]
    with pytest.raises(OptionError, match=message):
        polygonizer(4, 3).write(labels, confidence)


@pytest.mark.parametrize("case", SCORED)
def test_confidence_that_does_not_fit_is_refused(case) -> None:
    labels, confidence, message = SCORED[case]
    with pytest.raises(OptionError, match=message):
        polygonizer(4, 3, confidence=True).write(labels, confidence)


def test_more_rows_than_there_are_in_the_end() -> None:
    tracer = polygonizer(4, 3)
    tracer.write(ONES)
    tracer.write(ONES)
    with pytest.raises(OptionError, match="more rows than the 4 of the raster"):
        tracer.write(ONES[:1])


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (np.int64, 2**31),
        (np.int64, -(2**31)),
        (np.uint32, 2**32 - 1),
        (np.uint64, 2**63),
        (np.int32, -(2**31)),
    ],
)
def test_labels_out_of_range_are_refused(dtype, value) -> None:
    labels = np.array([[1, 2, 3], [1, value, 3]], dtype)
    with pytest.raises(OptionError, match=f"label {value} "):
        polygonizer(4, 3).write(labels)


def test_a_raster_that_is_cut_short_is_refused() -> None:
    tracer = polygonizer(4, 3)
    tracer.write(np.ones((3, 3), np.uint8))
    with pytest.raises(OptionError, match="3 rows were given of the 4 of the raster"):
        tracer.finish()
