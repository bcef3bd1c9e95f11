"""What a first start does about what was never compiled here: go without, or do it at once."""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, cast

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geounet.polygonize.band import Band, BandTracer, Open, Rings
from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.compiled import INTERPRETER, Kernel
from geounet.polygonize.features import Features
from geounet.polygonize.front import join_band as _join_band
from geounet.polygonize.joiner import Joiner
from geounet.polygonize.layers import PolygonLayout, open_layer
from geounet.polygonize.tracing import Tracing

_KERNEL = cast("Kernel", _join_band)  # the one that takes longest to compile
_GRID = GeoBox((3, 4), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
_TRACING = Tracing(geobox=_GRID, nodata=None)
_SMALL = 4_000_000
"""Pixels up to which it may be worth while to do without compiling."""

_PATIENCE = 4.0
"""Seconds for which that is tried."""

_SQUARE = np.array([[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]], "<f8")


def get_ready(pixels: int, say: Callable[[str], object], *, wait: bool = True) -> None:
    """Before polygonising a raster for the first time here: compile for a large one.

    A small one is done sooner when the compiled functions are interpreted; if that takes too long
    after all, they are compiled then.

    Args:
        pixels: Of the raster.
        say: Hears that something is compiled.
        wait: Whether to return only then; who comes too early waits anyway.
    """

    def compile_now() -> None:
        if _KERNEL.can_be_kept and not _KERNEL.is_kept():
            compile_ahead(say)

    if pixels <= _SMALL:
        INTERPRETER.grant(_PATIENCE, then=compile_now)
    elif wait:
        compile_now()
    else:
        threading.Thread(target=compile_now, name="compile-polygons").start()


def compile_ahead(say: Callable[[str], object]) -> None:
    """Compile the polygoniser, and say so.

    A second process compiles one half of it and leaves the result where this one finds it.
    """
    say("the first run on a large raster compiles the polygoniser, half a minute at most, once")
    command = "from geounet.polygonize.warm import compile_other_half as c; c()"
    with subprocess.Popen(  # noqa: S603  our own Python and text
        [sys.executable, "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ):
        compile_tracing()


def _without_collecting(work: Callable[[], None]) -> Callable[[], None]:
    """Compiling makes no garbage to speak of, and looking for it takes a tenth of the time."""

    @wraps(work)
    def wrapped() -> None:
        collecting = gc.isenabled()
        gc.disable()
        try:
            work()
        finally:
            if collecting:
                gc.enable()

    return wrapped


@_without_collecting
def compile_tracing() -> None:
    """What traces bands and makes features, by tracing a tiny one."""
    from geounet.polygonize.areas import ArcAreas

    labels = np.zeros((4, 6), np.int32)
    band = BandTracer(height=3, areas=ArcAreas(_GRID))(labels, 0)
    Features(_TRACING).batches(band.rings)


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
