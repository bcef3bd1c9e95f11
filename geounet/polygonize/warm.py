"""Compiling ahead: what a first start would otherwise do piece by piece, on two cores at once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geounet.polygonize.band import Band, BandTracer, Open, Rings
from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.compiled import is_kept
from geounet.polygonize.features import Features
from geounet.polygonize.front import join_band
from geounet.polygonize.joiner import Joiner
from geounet.polygonize.layers import PolygonLayout, open_layer
from geounet.polygonize.tracing import Tracing

_GRID = GeoBox((3, 4), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
_TRACING = Tracing(geobox=_GRID, nodata=None)
_SQUARE = np.array([[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]], "<f8")


def compile_ahead(say: Callable[[str], object]) -> None:
    """Compile the polygoniser, if this has never been done here, and say so.

    A second process compiles one half of it and leaves the result where this one finds it.
    """
    if is_kept(join_band):
        return
    say("the first run compiles the polygoniser, which takes up to half a minute, once")
    command = "from geounet.polygonize.warm import compile_other_half as c; c()"
    with subprocess.Popen(  # noqa: S603  our own Python and text
        [sys.executable, "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ):
        compile_tracing()


def compile_tracing() -> None:
    """What traces bands and makes features, by tracing a tiny one."""
    from geounet.polygonize.areas import ArcAreas

    labels = np.zeros((4, 6), np.int32)
    band = BandTracer(height=3, areas=ArcAreas(_GRID))(labels, 0)
    Features(_TRACING).batches(band.rings)


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
