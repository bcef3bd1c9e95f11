"""A run on a map of a few pixels: which functions a run needs, and compiling them."""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geounet.area import pixel_size_m
from geounet.polygonize.bands import band_rows
from geounet.polygonize.compiled import INTERPRETER, Kernel
from geounet.polygonize.corners import OUTSIDE
from geounet.polygonize.layers import PolygonLayout
from geounet.polygonize.layers.boxes import boxes
from geounet.polygonize.layers.formats import encoder_of
from geounet.polygonize.sieve import Sieve
from geounet.polygonize.tolerance import Tolerance
from geounet.polygonize.tracer import StripPolygonizer
from geounet.polygonize.tracing import Tracing

_COLUMNS = 6

_TIMES = 24
"""So often that a GeoPackage has more than one page of polygons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """All that decides which functions a run needs, and with which types."""

    tracing: Tracing
    """How it traces; the place of the raster counts, its size does not."""
    sieved: bool = False
    """Whether small areas or small holes are taken out."""
    suffix: str = ".gpkg"
    """What is written."""

    def kernels(self) -> list[Kernel]:
        """What it needs, in order of first use; nothing is compiled."""
        with INTERPRETER.all_but(()) as seen:
            self.run()
        return list(dict.fromkeys(seen))

    def compile(self, names: frozenset[str]) -> None:
        """Compile these alone."""
        with _without_collecting(), INTERPRETER.all_but(names):
            self.run()

    def run(self) -> None:
        """Polygonise, in this thread alone."""
        tracing = self._small()
        tracer = StripPolygonizer(tracing)
        for strip in self._strips(tracing):
            tracer.write(*strip)
        batch = tracer.finish()
        layout = PolygonLayout(
            name="a",
            columns=tracing.columns,
            names={0: "a"},
            geometry_type="MultiPolygon" if tracing.multi else "Polygon",
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a{self.suffix}"
            encoder = encoder_of(path)(path, layout)
            for _ in range(_TIMES):
                encoder.write(batch, boxes(batch, layout.geometry_type))
            encoder.finish()

    def _small(self) -> Tracing:
        """The same of a raster that has one band and a little more, so that two are joined."""
        rows = band_rows(replace(self.tracing, geobox=self._grid(1)))[1] + 4
        return replace(self.tracing, geobox=self._grid(rows))

    def _grid(self, rows: int) -> GeoBox:
        geobox = self.tracing.geobox
        return GeoBox((rows, _COLUMNS), geobox.affine, geobox.crs)

    def _strips(self, tracing: Tracing) -> Iterator[Any]:
        rows = tracing.geobox.shape[0]
        labels = np.zeros((rows, _COLUMNS), np.int32)
        labels[1:-2, 1:3] = 1
        labels[rows - 6, 1] = labels[2, 4] = 2
        labels[-1, -2:] = 0 if tracing.nodata is None else tracing.nodata
        confidence = np.zeros(labels.shape, np.uint8) if tracing.confidence else None
        if not self.sieved:
            yield labels, confidence
            return
        small = 1.5 * (pixel_size_m(tracing.geobox) or 1.0) ** 2
        sieve = Sieve(
            geobox=tracing.geobox,
            nodata=OUTSIDE,
            min_area=small,
            max_hole=small,
            diagonal=tracing.diagonal,
        )
        yield from sieve.add(labels, confidence)
        yield from sieve.rest()

    def to_json(self) -> str:
        """For another process."""
        geobox, simplify = self.tracing.geobox, self.tracing.simplify
        told = {name: getattr(self.tracing, name) for name in _FLAGS}
        told |= {
            "simplify": None if simplify is None else asdict(simplify),
            "affine": list(geobox.affine[:6]),
            "crs": None if geobox.crs is None else geobox.crs.to_wkt(),
        }
        return json.dumps([told, self.sieved, self.suffix])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What :meth:`to_json` has told."""
        told, sieved, suffix = json.loads(text)
        affine, crs, simplify = Affine(*told.pop("affine")), told.pop("crs"), told.pop("simplify")
        tracing = Tracing(
            **told,
            geobox=GeoBox((_COLUMNS, _COLUMNS), affine, crs),
            simplify=None if simplify is None else Tolerance(**simplify),
        )
        return cls(tracing=tracing, sieved=sieved, suffix=suffix)


_FLAGS = ("nodata", "simplify", "smooth", "diagonal", "confidence", "objects")


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Compiling makes no garbage to speak of, and looking for it takes a tenth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
