"""The polygon layer of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from geounet import qgis
from geounet.classes import ClassScheme
from geounet.polygonize.layers import PolygonLayout, layer_name, open_layer
from geounet.polygonize.rehearsal import Rehearsal
from geounet.polygonize.tracer import StripPolygonizer
from geounet.polygonize.tracing import Tracing
from geounet.polygonize.warm import get_ready
from geounet.stitch import Strip


class ClassPolygons:
    """Strips into a polygon layer.

    Args:
        path: The file (a temporary name: the caller renames).
        stem: Of its final name, after which the layer is called.
        scheme: The classes.
        tracing: What is traced.
        say: Hears what a person may want to know.

    Raises:
        OutputError: The file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        stem: str,
        scheme: ClassScheme,
        tracing: Tracing,
        say: Callable[[str], object],
    ) -> None:
        self._tracer = StripPolygonizer(tracing)
        crs = tracing.geobox.crs
        layout = PolygonLayout(
            name=layer_name(stem),
            columns=tracing.columns,
            names=dict(zip(scheme.codes, scheme.names, strict=True)),
            crs=None if crs is None else crs.to_wkt(),
            style=qgis.polygon_qml(scheme),
            geometry_type="MultiPolygon" if tracing.multi else "Polygon",
        )
        # while the network computes
        height, width = tracing.geobox.shape
        run = Rehearsal(tracing=tracing, suffix=path.suffix.lower())
        get_ready(height * width, say, run, wait=False)
        self._layer = open_layer(path, layout)

    def write(self, strip: Strip) -> None:
        """Take the next strip."""
        for batch in self._tracer.parts(strip.labels, strip.confidence):
            self._layer.write(batch)

    def finish(self) -> None:
        """Complete the layer."""
        for batch in self._tracer.last_parts():
            self._layer.write(batch)
        self._layer.finish()

    def abort(self) -> None:
        """Let go of the file."""
        self._layer.abort()
