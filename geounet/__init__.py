"""geounet: from a satellite scene to a map.

``import geounet`` is light: torch, dask and torchgeo are imported by what needs them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geounet.bundle import load_bundle, save_bundle
    from geounet.errors import GeounetError
    from geounet.facade import segment
    from geounet.models import bundled_models, load_model
    from geounet.mosaic import mosaic_maps
    from geounet.polygonization import polygonize_raster
    from geounet.report import SegmentReport
    from geounet.scene import open_scene

__all__ = [
    "GeounetError",
    "SegmentReport",
    "bundled_models",
    "load_bundle",
    "load_model",
    "mosaic_maps",
    "open_scene",
    "polygonize_raster",
    "save_bundle",
    "segment",
]

_HOMES = {
    "GeounetError": "geounet.errors",
    "SegmentReport": "geounet.report",
    "bundled_models": "geounet.models",
    "load_bundle": "geounet.bundle",
    "load_model": "geounet.models",
    "mosaic_maps": "geounet.mosaic",
    "open_scene": "geounet.scene",
    "polygonize_raster": "geounet.polygonization",
    "save_bundle": "geounet.bundle",
    "segment": "geounet.facade",
}

try:
    __version__ = version("geounet")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'geounet' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
