"""From strips of labels to polygons, in bounded memory."""

from geounet.polygonize.layer import PolygonLayerWriter, PolygonLayout, layer_name
from geounet.polygonize.tracer import PolygonBatch, StripPolygonizer

__all__ = ["PolygonBatch", "PolygonLayerWriter", "PolygonLayout", "StripPolygonizer", "layer_name"]
