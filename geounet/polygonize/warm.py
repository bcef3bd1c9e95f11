"""What a first start does about what was never compiled here: go without, or do it at once."""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, cast

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geounet.polygonize.band import Band, BandTracer, Open, Rings
from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.compiled import INTERPRETER, Kernel
from geounet.polygonize.corners import OUTSIDE
from geounet.polygonize.features import Features
from geounet.polygonize.front import join_band
from geounet.polygonize.holes import enclose
from geounet.polygonize.joiner import Joiner
from geounet.polygonize.layers import PolygonLayout, open_layer
from geounet.polygonize.merging import merge_small
from geounet.polygonize.rounding import round_rings
from geounet.polygonize.sieve import Sieve
from geounet.polygonize.simplify import choose_vertices
from geounet.polygonize.smooth import smooth_rings
from geounet.polygonize.tolerance import Tolerance
from geounet.polygonize.tracing import Tracing

P = ParamSpec("P")

_GRID = GeoBox((3, 4), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
_TRACING = Tracing(geobox=_GRID, nodata=None)
_SMALL = 4_000_000
"""Pixels up to which it may be worth while to do without compiling."""

_PATIENCE = 4.0
"""Seconds for which that is tried."""

_SQUARE = np.array([[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]], "<f8")


def get_ready(
    pixels: int,
    say: Callable[[str], object],
    tracing: Tracing = _TRACING,
    *,
    sieved: bool = False,
    wait: bool = True,
) -> None:
    """Before polygonising a raster for the first time here: compile for a large one.

    A small one is done sooner when the compiled functions are interpreted; if that takes too long
    after all, they are compiled then.

    Args:
        pixels: Of the raster.
        say: Hears that something is compiled.
        tracing: How it will be traced.
        sieved: Whether small areas or small holes will be taken out.
        wait: Whether to return only then; who comes too early waits anyway.
    """

    def compile_now() -> None:
        missing = [name for name, kernel in _needed(tracing, sieved=sieved) if _is_missing(kernel)]
        if _BASE in missing:
            compile_ahead(say, tracing, sieved=sieved)
        elif missing:
            what = " and ".join(missing)
            say(f"the first run with {what} compiles that, ten seconds or so, once")
            compile_tracing(tracing, sieved=sieved)

    if pixels <= _SMALL:
        INTERPRETER.grant(_PATIENCE, then=compile_now)
    elif wait:
        compile_now()
    else:
        threading.Thread(target=compile_now, name="compile-polygons").start()


_BASE = "polygons"


def _needed(tracing: Tracing, *, sieved: bool) -> Iterator[tuple[str, Kernel]]:
    """What people ask for, and the function of it that takes longest to compile."""
    yield _BASE, cast("Kernel", join_band)
    if tracing.simplify is not None:
        yield "--simplify", cast("Kernel", choose_vertices)
    if tracing.smooth:
        how = smooth_rings if tracing.simplify is None else round_rings
        yield "--smooth", cast("Kernel", how)
    if sieved:
        yield "--min-area", cast("Kernel", merge_small)
        yield "--max-hole", cast("Kernel", enclose)


def _is_missing(kernel: Kernel) -> bool:
    """Whether compiling it now would be of use later."""
    return kernel.can_be_kept and not kernel.is_kept()


def compile_ahead(
    say: Callable[[str], object], tracing: Tracing = _TRACING, *, sieved: bool = False
) -> None:
    """Compile the polygoniser, and say so.

    A second process compiles one half of it and leaves the result where this one finds it.
    """
    say("the first run on a large raster compiles the polygoniser, half a minute at most, once")
    command = "from geounet.polygonize.warm import compile_other_half as c; c()"
    with subprocess.Popen(  # noqa: S603  our own Python and text
        [sys.executable, "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ):
        compile_tracing(tracing, sieved=sieved)


def _without_collecting(work: Callable[P, None]) -> Callable[P, None]:
    """Compiling makes no garbage to speak of, and looking for it takes a tenth of the time."""

    @wraps(work)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        collecting = gc.isenabled()
        gc.disable()
        try:
            work(*args, **kwargs)
        finally:
            if collecting:
                gc.enable()

    return wrapped


@_without_collecting
def compile_tracing(tracing: Tracing = _TRACING, *, sieved: bool = False) -> None:
    """What traces bands and makes features, by doing that with a tiny one."""
    from geounet.polygonize.areas import ArcAreas

    tiny = replace(tracing, geobox=_GRID)
    labels = np.full((4, 6), OUTSIDE, np.int32)
    labels[1:3, 1:-1] = ((0, 0, 0, 0), (0, 1, 0, 0))
    tracer = BandTracer(
        height=3,
        areas=ArcAreas(_GRID),
        simplify=None if tiny.simplify is None else Tolerance(distance=1.0, pixel=(1.0, 1.0)),
        smooth=tiny.smooth,
        diagonal=tiny.diagonal,
    )
    Features(tiny).batches(tracer(labels, 0).rings)
    if sieved:
        sieve = Sieve(geobox=_GRID, nodata=OUTSIDE, min_area=150.0, max_hole=150.0)
        list(sieve.add(labels[1:, 1:-1], None))
        list(sieve.rest())


@_without_collecting
def compile_other_half() -> None:
    """What joins bands, by joining nothing, and what writes a GeoPackage, by writing a square."""
    nothing: dict[str, Any] = {
        "closed": np.empty(0, np.uint8),
        "feature_start": np.zeros(1, np.int64),
        "feature_order": np.empty(0, np.int32),
        "start": np.zeros(1, np.int64),
        "order": np.empty(0, np.int32),
        "pinched": np.empty(0, np.uint8),
        "halves": np.empty(0, np.int32),
        "path_span": np.empty((0, 2), np.int64),
        "path_ports": np.empty((0, 2), np.int32),
        "span": np.empty((0, 2), np.int64),
        "vertices": np.empty(0, np.int64),
        "label": np.empty(0, np.int32),
        "sums": np.empty((0, 3)),
        "notes": np.empty((0, 2), np.int32),
    }
    Joiner(width=4, exact=True).join(Band(rings=Rings.room(0, 0, 0, 0), open=Open(**nothing)))
    wkb = b"\x01\x03\0\0\0\x01\0\0\0\x05\0\0\0" + _SQUARE.tobytes()
    batch = PolygonBatch(
        wkb=np.frombuffer(bytearray(wkb), np.uint8),
        offsets=np.array([0, len(wkb)]),
        columns={name: np.zeros(1, dtype) for name, dtype in _TRACING.columns},
    )
    with tempfile.TemporaryDirectory() as folder:
        layout = PolygonLayout(name="a", columns=_TRACING.columns, names={0: "a"})
        layer = open_layer(Path(folder) / "a.gpkg", layout)
        layer.write(batch)
        layer.finish()
