"""Writers of polygon layers: GeoPackage, FlatGeobuf, GeoParquet and GeoJSON.

The bytes of each polygon go from the batch into the file without a Python object in between, in a
thread of their own and without the interpreter's lock for nearly all of the time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geounet.polygonize.layers.layout import PolygonLayout, layer_name
from geounet.polygonize.layers.suffixes import SUFFIXES, check_suffix

if TYPE_CHECKING:
    from geounet.polygonize.layers.formats import open_layer
    from geounet.polygonize.layers.writer import LayerWriter

__all__ = ["SUFFIXES", "LayerWriter", "PolygonLayout", "check_suffix", "layer_name", "open_layer"]

_HOMES = {"LayerWriter": "writer", "open_layer": "formats"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
