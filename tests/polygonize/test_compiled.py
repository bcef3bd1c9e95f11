"""How the inner loops are compiled, and kept, and when they are interpreted instead."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from polygons import BANDS, CUTS, NAMED, assert_same, blobs, noise, polygonize, rasters
from test_sieve import UTM, sieve

from geounet.polygonize import PolygonLayout, StripPolygonizer, compiled, open_layer, warm
from geounet.polygonize.compiled import INTERPRETER, Interpreter, callee, jit
from geounet.polygonize.tolerance import Tolerance


def made_of(text: str, **room):
    """A function without a file: it stands for a package folder and a home that are read-only."""
    exec(text, room)
    return room["f"]


def test_where_nothing_can_be_cached_the_code_is_compiled_anew() -> None:
    double = jit()(made_of("def f(x):\n    return 2 * x"))
    assert double(21) == 42
    assert not double.can_be_kept
    assert not double.is_kept()


def test_what_is_kept_depends_on_the_files_of_callees(monkeypatch) -> None:
    jit()(triple)(1)
    assert jit()(triple).is_kept()
    monkeypatch.setattr(compiled, "_sources", lambda: "another callee")
    assert not jit()(triple).is_kept()


def triple(x):
    return 3 * x


def test_a_full_disk_under_the_cache_is_no_error(monkeypatch) -> None:
    calls = []

    def full(*_args):
        calls.append(1)
        raise OSError(28, "No space left on device")

    function = jit()(triple)
    cache = function._compiled._cache
    monkeypatch.setattr(cache._cache, "save_overload", full)
    monkeypatch.setattr(cache._cache, "load_overload", lambda *_: None)
    assert function(14) == 42
    assert calls


@callee
def half(x):
    return x / 2


def test_what_is_compiled_can_call_a_callee() -> None:
    assert jit()(made_of("def f(x):\n    return half(half(x))", half=half))(42.0) == 10.5


@pytest.fixture
def patience(monkeypatch):
    """An interpreter that has had no time yet."""
    monkeypatch.setattr(compiled, "INTERPRETER", Interpreter())
    monkeypatch.setattr(warm, "INTERPRETER", compiled.INTERPRETER)
    return compiled.INTERPRETER


COUNT = "def f(values):\n    counted.append(len(values))\n    return len(values)"
"""Numba refuses to compile this one: ``counted`` is a list of a module."""


def test_what_was_never_compiled_is_interpreted_while_there_is_time(patience) -> None:
    counted, ended = [], []
    count = jit()(made_of(COUNT, counted=counted))
    patience.grant(1.0, then=lambda: ended.append(True))
    assert count(np.zeros(7)) == 7
    assert counted == [7]
    assert not ended
    with pytest.raises(Exception, match="counted"):  # too much: it is compiled
        count(np.zeros(10_000_000))
    assert ended == [True]
    with pytest.raises(Exception, match="counted"):  # and the rest of the time is gone
        count(np.zeros(1))
    assert ended == [True]


def test_time_that_is_used_up_is_not_granted_again(patience) -> None:
    ended = []
    sleep = jit()(made_of("def f(x):\n    wait(0.02)\n    return x", wait=time.sleep))
    patience.grant(0.01, then=lambda: ended.append(True))
    assert sleep(1) == 1
    patience.grant(0.01, then=lambda: ended.append(False))
    with pytest.raises(Exception, match="wait"):
        sleep(1)
    assert ended == [True]


def test_what_was_compiled_before_is_not_interpreted(patience) -> None:
    jit()(triple)(1)
    patience.grant(9.0, then=lambda: None)
    again = jit(interpreted=lambda _: "interpreted")(triple)
    assert again(2) == 6


@pytest.mark.parametrize(("pixels", "kept", "what"), [
    (100, False, "interpret"), (10**9, False, "compile"), (10**9, True, ""),
    (100, True, "interpret"),  # what else was never compiled, for smooth borders
])  # fmt: skip
def test_a_small_raster_is_not_worth_compiling(patience, monkeypatch, pixels, kept, what) -> None:
    done: list[str] = []
    monkeypatch.setattr(warm, "compile_ahead", lambda *_, **__: done.append("compile"))
    monkeypatch.setattr(compiled.Kernel, "is_kept", lambda _: kept)
    warm.get_ready(pixels, print)
    if patience.can_afford([np.zeros(5)]):
        done.append("interpret")
    assert done == ([what] if what else [])


SIMPLE = Tolerance(distance=2.0, pixel=(1.0, 1.0))


@pytest.mark.parametrize(("asked", "sieved", "named"), [
    ({}, False, []),
    ({"simplify": SIMPLE}, False, ["--simplify"]),
    ({"smooth": True}, False, ["--smooth"]),
    ({"simplify": SIMPLE, "smooth": True}, False, ["--simplify", "--smooth"]),
    ({}, True, ["--min-area", "--max-hole"]),
])  # fmt: skip
def test_what_is_asked_for_is_compiled_ahead(monkeypatch, asked, sieved, named) -> None:
    """All but the polygoniser itself was never compiled here: the line names it, and it runs."""
    tracing, said, ran = replace(warm._TRACING, **asked), [], []
    needed = dict(warm._needed(tracing, sieved=sieved))
    base = needed.pop(warm._BASE)
    monkeypatch.setattr(compiled.Kernel, "can_be_kept", property(lambda _: True))
    monkeypatch.setattr(compiled.Kernel, "is_kept", lambda kernel: kernel is base)
    call = compiled.Kernel.__call__
    monkeypatch.setattr(compiled.Kernel, "__call__", lambda k, *a: (ran.append(k), call(k, *a))[1])
    warm.get_ready(10**9, said.append, tracing, sieved=sieved)
    assert list(needed) == named
    assert [all(name in line for name in named) for line in said] == ([True] if named else [])
    assert set(needed.values()) <= set(ran)


def test_the_polygoniser_is_compiled_in_two_halves(monkeypatch) -> None:
    """Together they run all that a GeoPackage needs, from labels to the file."""
    ran: list[str] = []
    call = compiled.Kernel.__call__

    def watched(kernel: Any, *args: Any) -> Any:
        ran.append(kernel.__name__)
        return call(kernel, *args)

    monkeypatch.setattr(compiled.Kernel, "__call__", watched)
    one, other = set(), set()
    for half, work in ((one, warm.compile_tracing), (other, warm.compile_other_half)):
        ran.clear()
        work()
        half |= set(ran)
    tracer = StripPolygonizer(replace(warm._TRACING, geobox=warm._GRID))
    ran.clear()
    tracer.write(np.zeros((3, 4), np.uint8))
    tracer.finish()
    assert set(ran) <= one | other
    assert not one & other


@settings(max_examples=25)
@given(labels=rasters(), cuts=CUTS, band=BANDS, diagonal=st.booleans(),
       tolerance=st.sampled_from([None, 0.8, 2.0]), smooth=st.booleans(),
       west=st.sampled_from([10, 179.55]))  # fmt: skip
def test_interpreted_polygons_are_the_same(
    labels, cuts, band, diagonal, tolerance, smooth, west
) -> None:
    confidence = np.arange(labels.size, dtype=np.uint8).reshape(labels.shape) % 101
    options: dict = {
        "crs": "EPSG:4326", "affine": Affine(0.1, 0, west, 0, -0.1, 60), "diagonal": diagonal,
        "tolerance": tolerance, "confidence": confidence, "objects": True, "cuts": cuts,
        "band": band, "smooth": smooth,
    }  # fmt: skip
    wanted = polygonize(labels, **options)
    with INTERPRETER.always():
        assert_same(polygonize(labels, **options), wanted)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("tolerance", [None, 1.5])
def test_interpreted_numbers_are_as_wide_as_compiled_ones(smooth, tolerance) -> None:
    """A border of thousands of pixels: products that 32 bits do not hold."""
    labels = blobs(4, (150, 3000), 2, 25)
    options: dict = {"crs": "EPSG:32633", "smooth": smooth, "tolerance": tolerance}
    wanted = polygonize(labels, **options)
    with INTERPRETER.always():
        assert_same(polygonize(labels, **options), wanted)


@pytest.mark.parametrize("labels", NAMED.values(), ids=NAMED)
def test_interpreted_sieves_are_the_same(labels) -> None:
    options: dict = {"min_area": 300.0, "max_hole": 500.0, "place": UTM}
    wanted = sieve(labels, **options)
    with INTERPRETER.always():
        np.testing.assert_array_equal(sieve(labels, **options), wanted)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet", ".geojson"])
@pytest.mark.parametrize("labels", [
    blobs(1, (90, 70), 3, 3.0), noise(2, (30, 40), (0, 1, 2)),
], ids=["blobs", "noise"])  # fmt: skip
def test_interpreted_layers_are_the_same(tmp_path, suffix, labels) -> None:
    def written(kind: str) -> bytes:
        folder = tmp_path / kind
        folder.mkdir()
        batch = polygonize(labels, crs="EPSG:32633")
        columns = tuple((name, values.dtype) for name, values in batch.columns.items())
        layout = PolygonLayout(name="a", columns=columns, names={0: "land", 1: "water", 2: "ice"})
        layer = open_layer(folder / f"a{suffix}", layout)
        layer.write(batch)
        layer.finish()
        return (folder / f"a{suffix}").read_bytes()

    wanted = written("compiled")
    with INTERPRETER.always():
        assert written("interpreted") == wanted
