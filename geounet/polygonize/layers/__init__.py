"""Writers of polygon layers: GeoPackage, FlatGeobuf, GeoParquet and GeoJSON.

The bytes of each polygon go from the batch into the file without a Python object in between, in a
thread of their own and without the interpreter's lock for nearly all of the time.
"""

from geounet.polygonize.layers.formats import SUFFIXES, check_suffix, open_layer
from geounet.polygonize.layers.layout import PolygonLayout, layer_name
from geounet.polygonize.layers.writer import LayerWriter

__all__ = ["SUFFIXES", "LayerWriter", "PolygonLayout", "check_suffix", "layer_name", "open_layer"]
