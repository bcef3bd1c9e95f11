"""How the inner loops are compiled, and kept, and when they are interpreted instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from polygons import BANDS, CUTS, NAMED, assert_same, blobs, noise, polygonize, rasters
from test_sieve import UTM, sieve

from geounet.polygonize import (
    PolygonLayout,
    Sieve,
    StripPolygonizer,
    Tracing,
    compiled,
    open_layer,
    warm,
)
from geounet.polygonize.compiled import INTERPRETER, Interpreter, callee, jit
from geounet.polygonize.corners import OUTSIDE
from geounet.polygonize.rehearsal import Rehearsal
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


@pytest.mark.usefixtures("patience")
def test_what_is_kept_depends_on_the_files_of_callees(monkeypatch) -> None:
    jit()(triple)(1)
    assert jit()(triple).is_kept()
    monkeypatch.setattr(compiled, "_sources", lambda: "another callee")
    assert not jit()(triple).is_kept()


def triple(x):
    return 3 * x


@pytest.mark.usefixtures("patience")
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


def work(seconds: float) -> None:
    """Keep the processor busy."""
    start = time.thread_time()
    while time.thread_time() < start + seconds:
        pass


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
    slow = jit()(made_of("def f(x):\n    wait(0.02)\n    return x", wait=work))
    patience.grant(0.01, then=lambda: ended.append(True))
    assert slow(1) == 1
    patience.grant(0.01, then=lambda: ended.append(False))
    with pytest.raises(Exception, match="wait"):
        slow(1)
    assert ended == [True]


def test_what_was_compiled_before_is_not_interpreted(patience) -> None:
    jit()(triple)(1)
    patience.grant(9.0, then=lambda: None)
    again = jit(interpreted=lambda _: "interpreted")(triple)
    assert again(2) == 6


def test_what_is_done_sooner_than_the_compiler_has_begun_is_interpreted(patience) -> None:
    jit()(triple)(1)
    patience.grant(9.0, then=lambda: None, at_once=0.1)
    again = jit(interpreted=lambda _: work(0.11))(triple)
    assert again(2) is None
    assert again(2) == 6


GRID = GeoBox((9000, 8000), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
DEGREES = GeoBox((9000, 8000), Affine(1e-4, 0, 9, 0, -1e-4, 48), "EPSG:4326")
NOWHERE = GeoBox((9000, 8000), Affine.scale(1, -1), None)
SIMPLE = Tolerance(distance=2.0, pixel=(1.0, 1.0))
PLAIN = Tracing(geobox=GRID, nodata=OUTSIDE)


@pytest.mark.parametrize(("pixels", "kept", "what"), [
    (100, False, "interpret"), (10**9, False, "compile"), (10**9, True, ""),
    (100, True, "interpret"), (1_000_000, False, "interpret"), (1_000_000, True, ""),
])  # fmt: skip
def test_a_small_raster_is_not_worth_compiling(patience, monkeypatch, pixels, kept, what) -> None:
    done: list[str] = []
    monkeypatch.setattr(warm, "compile_ahead", lambda *_, **__: done.append("compile"))
    monkeypatch.setattr(compiled.Kernel, "is_kept", lambda _: kept)
    warm.get_ready(pixels, print, Rehearsal(tracing=PLAIN))
    if patience.can_afford([np.zeros(5)], lambda: kept):
        done.append("interpret")
    assert done == ([what] if what else [])


@pytest.mark.parametrize(("asked", "sieved", "named"), [
    ({}, False, []),
    ({"simplify": SIMPLE}, False, ["--simplify"]),
    ({"smooth": True}, False, ["--smooth"]),
    ({"simplify": SIMPLE, "smooth": True}, False, ["--simplify", "--smooth"]),
    ({}, True, ["--min-area", "--max-hole"]),
])  # fmt: skip
def test_what_is_asked_for_is_compiled_ahead(monkeypatch, asked, sieved, named) -> None:
    """All but the polygoniser itself was never compiled here: the line names it."""
    run, said, ahead = Rehearsal(tracing=replace(PLAIN, **asked), sieved=sieved), [], []
    needed = dict(warm._needed(run))
    base = needed.pop(warm._BASE)
    monkeypatch.setattr(compiled.Kernel, "can_be_kept", property(lambda _: True))
    monkeypatch.setattr(compiled.Kernel, "is_kept", lambda kernel: kernel is base)
    monkeypatch.setattr(warm, "compile_ahead", ahead.append)
    warm.get_ready(10**9, said.append, run)
    assert list(needed) == named
    assert [all(name in line for name in named) for line in said] == ([True] if named else [])
    assert ahead == ([run] if named else [])
    assert {kernel.name for kernel in needed.values()} <= {k.name for k in run.kernels()}


RUNS = [
    Rehearsal(tracing=PLAIN),
    Rehearsal(tracing=replace(PLAIN, geobox=DEGREES), suffix=".parquet"),
    Rehearsal(tracing=replace(PLAIN, geobox=NOWHERE, smooth=True), sieved=True, suffix=".geojson"),
    Rehearsal(tracing=replace(PLAIN, nodata=255, simplify=SIMPLE, smooth=True), suffix=".fgb"),
    Rehearsal(
        tracing=replace(PLAIN, diagonal=True, confidence=True, objects=True, simplify=SIMPLE),
        sieved=True,
    ),
]
"""Each option, place and format in one of them."""


@pytest.fixture
def called(monkeypatch) -> list[str]:
    """The names of kernels that are called from here on."""
    names: list[str] = []
    call = compiled.Kernel.__call__

    def watched(kernel: Any, *args: Any) -> Any:
        names.append(kernel.name)
        return call(kernel, *args)

    monkeypatch.setattr(compiled.Kernel, "__call__", watched)
    return names


@pytest.mark.parametrize("run", RUNS)
def test_a_rehearsal_has_all_that_a_run_needs(run, called, tmp_path) -> None:
    """For any labels: those are noise, with holes in holes, and cut by several bands."""
    tracing = replace(run.tracing, geobox=run.tracing.geobox[:700, :60])
    labels = noise(1, (700, 60), (0, 1, 1, 1)).astype(np.int32)
    labels[100:200, 10:40] = 2
    percent = np.zeros(labels.shape, np.uint8) if tracing.confidence else None
    strips = iter([(labels, percent)])
    if run.sieved:
        sieve = Sieve(geobox=tracing.geobox, nodata=OUTSIDE, min_area=300.0, max_hole=300.0)
        strips = chain(sieve.add(labels, percent), (s for _ in "x" for s in sieve.rest()))
    tracer = StripPolygonizer(tracing, threads=2)
    names = {0: "a", 1: "b", 2: "c"}
    kind = "MultiPolygon" if tracing.multi else "Polygon"
    layout = PolygonLayout(name="a", columns=tracing.columns, names=names, geometry_type=kind)
    layer = open_layer(tmp_path / f"a{run.suffix}", layout)
    for strip in strips:
        layer.write(tracer.write(*strip))
    layer.write(tracer.finish())
    layer.finish()
    assert set(called) <= {kernel.name for kernel in run.kernels()}
    assert len(set(called)) > 15


@pytest.mark.parametrize("run", RUNS)
def test_a_rehearsal_can_be_told_to_another_process(run) -> None:
    told = Rehearsal.from_json(run.to_json())
    assert told.to_json() == run.to_json()
    assert [k.name for k in told.kernels()] == [k.name for k in run.kernels()]


def test_rehearsing_compiles_what_is_named_alone(monkeypatch) -> None:
    compiled_ones = []

    class Compiled:
        def __init__(self, kernel: Any) -> None:
            self.name, self.function = kernel.name, kernel.__wrapped__

        def __call__(self, *args: Any) -> Any:
            compiled_ones.append(self.name)
            return self.function(*args)

    run = RUNS[0]
    kernels = run.kernels()
    assert len({kernel.name for kernel in kernels}) == len(kernels) > 15
    for kernel in kernels:
        monkeypatch.setattr(kernel, "_compiled", Compiled(kernel))
    run.kernels()
    assert compiled_ones == []
    some = frozenset(kernel.name for kernel in kernels[3:7])
    run.compile(some)
    assert set(compiled_ones) == some


def test_other_threads_go_on_with_what_is_compiled() -> None:
    interpreter, kernel = Interpreter(), jit()(triple)
    with interpreter.all_but(()), ThreadPoolExecutor(1) as other:
        assert interpreter.insists_on(kernel)
        assert not other.submit(interpreter.insists_on, kernel).result()
    assert not interpreter.insists_on(kernel)


@given(names=st.lists(st.sampled_from([*warm._COSTS, "x", "y", "z"]), unique=True),
       number=st.integers(1, 6))  # fmt: skip
def test_functions_are_shared_evenly(names, number) -> None:
    parts = warm.shares(names, number)
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert 1 <= len(parts) <= number
    assert all(parts[1:])
    loads = [sum(map(warm._seconds, part)) for part in parts]
    longest = max(map(warm._seconds, names), default=0.0)
    even = (sum(loads) + warm._START * (number - 1)) / number
    assert max(loads) <= even + longest


@pytest.mark.slow
def test_several_processes_compile_everything_once(tmp_path) -> None:
    """After that a run finds all it needs."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    run = RUNS[0].to_json()
    head = "import sys; from geounet.polygonize.rehearsal import Rehearsal; import json\n"
    ahead = head + "from geounet.polygonize.warm import compile_ahead\n"
    ahead += "compile_ahead(Rehearsal.from_json(sys.argv[1]), processes=3)"
    subprocess.run([sys.executable, "-c", ahead, run], check=True, env=env)
    kept = sorted(p.name for p in (tmp_path / "cache").rglob("*.nbc"))
    count = head + "run = Rehearsal.from_json(sys.argv[1]); kernels = run.kernels(); run.run()\n"
    count += "print(json.dumps([sum(k._compiled.stats.cache_misses.values()) for k in kernels]))"
    done = subprocess.run(
        [sys.executable, "-c", count, run], check=True, env=env, capture_output=True, text=True
    )
    misses = json.loads(done.stdout)
    assert misses == [0] * len(misses)
    assert len(kept) == len(misses) == len(RUNS[0].kernels())
    assert sorted(p.name for p in (tmp_path / "cache").rglob("*.nbc")) == kept


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
    with INTERPRETER.all_but(()):
        assert_same(polygonize(labels, **options), wanted)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("tolerance", [None, 1.5])
def test_interpreted_numbers_are_as_wide_as_compiled_ones(smooth, tolerance) -> None:
    """A border of thousands of pixels: products that 32 bits do not hold."""
    labels = blobs(4, (150, 3000), 2, 25)
    options: dict = {"crs": "EPSG:32633", "smooth": smooth, "tolerance": tolerance}
    wanted = polygonize(labels, **options)
    with INTERPRETER.all_but(()):
        assert_same(polygonize(labels, **options), wanted)


@pytest.mark.parametrize("labels", NAMED.values(), ids=NAMED)
def test_interpreted_sieves_are_the_same(labels) -> None:
    options: dict = {"min_area": 300.0, "max_hole": 500.0, "place": UTM}
    wanted = sieve(labels, **options)
    with INTERPRETER.all_but(()):
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
    with INTERPRETER.all_but(()):
        assert written("interpreted") == wanted
