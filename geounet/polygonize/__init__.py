"""From strips of labels to polygons and their layers, in bounded memory."""

from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.corners import OUTSIDE
from geounet.polygonize.layers import (
    SUFFIXES,
    LayerWriter,
    PolygonLayout,
    check_suffix,
    layer_name,
    open_layer,
)
from geounet.polygonize.sieve import Sieve
from geounet.polygonize.tolerance import Tolerance
from geounet.polygonize.tracer import StripPolygonizer
from geounet.polygonize.tracing import Tracing

__all__ = [
    "OUTSIDE",
    "SUFFIXES",
    "LayerWriter",
    "PolygonBatch",
    "PolygonLayout",
    "Sieve",
    "StripPolygonizer",
    "Tolerance",
    "Tracing",
    "check_suffix",
    "layer_name",
    "open_layer",
]
