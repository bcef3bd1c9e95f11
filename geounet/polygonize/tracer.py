"""Strips of labels into polygons, each as soon as it is closed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.areas import ArcAreas
from geounet.polygonize.band import Band, BandTracer
from geounet.polygonize.bands import Bands, LabelBand
from geounet.polygonize.batch import PolygonBatch, grouped
from geounet.polygonize.features import Features
from geounet.polygonize.joiner import Joiner
from geounet.polygonize.meridian import NO_CUT, meridian_of
from geounet.polygonize.tracing import Tracing

_LARGE = 1 << 18
"""Bytes of geometry from which on a batch is not joined with the next."""

Traced = tuple[Band, list[PolygonBatch]]


class StripPolygonizer:
    """Turns a raster, given in strips from top to bottom, into the polygons of its labels.

    Law (round trip): ``rasterize(polygonize(x)) == x``, and the polygons, in their order, depend
    neither on how the rows were cut into strips nor on the number of threads. Polygons are
    4-connected regions of one label, exact along the edges of pixels; those that touch only at a
    corner are apart. What crosses the antimeridian is cut there, and is one polygon of two parts.
    Memory holds a few bands of rows and the boundary of what is still open.

    Args:
        tracing: What to trace.
        threads: Bands that are traced at once; with 1 in the caller's own thread.
    """

    def __init__(self, tracing: Tracing, threads: int = 1) -> None:
        height, width = tracing.geobox.shape
        placed = tracing.geobox.crs is not None
        meridian = meridian_of(tracing.geobox)
        cut = NO_CUT if meridian is None else meridian.cut
        self._tracing = tracing
        self._tracer = BandTracer(
            height=height,
            areas=ArcAreas(tracing.geobox) if placed else None,
            simplify=tracing.simplify,
            smooth=tracing.smooth,
            diagonal=tracing.diagonal,
            cut=cut,
        )
        self._joiner = Joiner(
            width=width + (cut != NO_CUT),
            exact=tracing.simplify is None and not tracing.smooth,
            marked=tracing.smooth,
        )
        self._features = Features(tracing, meridian)
        self._bands = Bands(tracing, meridian)
        self._threads, self._objects = threads, 0
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._waiting: deque[Future[Traced]] = deque()

    def write(
        self, labels: NDArray[np.integer[Any]], confidence: NDArray[np.uint8] | None = None
    ) -> PolygonBatch:
        """Take the next rows and give polygons that are finished.

        Args:
            labels: (rows, width), values from -2**31 + 1 to 2**31 - 1.
            confidence: (rows, width), where it was said that there is any.

        Raises:
            OptionError: An array has another shape or type, a label is out of range, or there
                are more rows than the raster has.
        """
        return self._features.joined(self.parts(labels, confidence))

    def parts(
        self, labels: NDArray[np.integer[Any]], confidence: NDArray[np.uint8] | None = None
    ) -> list[PolygonBatch]:
        """The same as some batches, of which large ones need not be copied to be one."""
        done = []
        for band in self._bands.add(labels, confidence):
            done += self._take(band)
        return self._numbered(done)

    def finish(self) -> PolygonBatch:
        """The polygons that are left.

        Raises:
            OptionError: Rows of the raster were not given.
        """
        return self._features.joined(self.last_parts())

    def last_parts(self) -> list[PolygonBatch]:
        """The same as some batches."""
        done = self._take(self._bands.rest())
        while self._waiting:
            done += self._join(self._waiting.popleft().result())
        self.close()
        return self._numbered(done)

    def close(self) -> None:
        """Stop its threads; after that it is of no use."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _numbered(self, batches: list[PolygonBatch]) -> list[PolygonBatch]:
        """Small ones joined, and with the numbers of their objects, from 1."""
        batches = list(grouped(batches, _LARGE))
        for batch in batches if self._tracing.objects else ():
            first = self._objects + 1
            self._objects += len(batch)
            batch.columns["object"][:] = np.arange(first, first + len(batch))
        return batches

    def _take(self, band: LabelBand) -> list[PolygonBatch]:
        if self._pool is None:
            return self._join(self._trace(band))
        self._waiting.append(self._pool.submit(self._trace, band))
        done: list[PolygonBatch] = []
        while len(self._waiting) > self._threads:
            done += self._join(self._waiting.popleft().result())
        return done

    def _trace(self, band: LabelBand) -> Traced:
        traced = self._tracer(band.labels, band.row, band.confidence)
        return traced, self._features.batches(traced.rings)

    def _join(self, traced: Traced) -> list[PolygonBatch]:
        band, batches = traced
        return batches + self._features.batches(self._joiner.join(band))
