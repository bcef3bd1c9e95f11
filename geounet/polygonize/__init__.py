"""From strips of labels to polygons and their layers, in bounded memory.

Importing it is light: numba, pyogrio and pyarrow are imported by what needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "OUTSIDE": "corners",
    "SUFFIXES": "layers",
    "LayerWriter": "layers",
    "PolygonBatch": "batch",
    "PolygonLayout": "layers",
    "Sieve": "sieve",
    "StripPolygonizer": "tracer",
    "Tolerance": "tolerance",
    "Tracing": "tracing",
    "check_suffix": "layers",
    "layer_name": "layers",
    "open_layer": "layers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
