"""Which file is of which format."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from geounet.polygonize.layers.layout import PolygonLayout
from geounet.polygonize.layers.suffixes import check_suffix
from geounet.polygonize.layers.writer import Encoder, LayerWriter, ThreadedWriter

_ENCODERS = {
    ".gpkg": ("gpkg", "GeoPackage"),
    ".fgb": ("flatgeobuf", "FlatGeobuf"),
    ".parquet": ("parquet", "GeoParquet"),
    ".geojson": ("geojson", "GeoJson"),
}
"""Module and class by suffix; only what is used is imported, with the libraries that it needs."""


def open_layer(path: Path, layout: PolygonLayout) -> LayerWriter:
    """A writer of the format that the suffix of a file tells.

    Args:
        path: The file to write (a temporary name: the caller renames); one that is there is
            replaced.
        layout: What the layer looks like.

    Raises:
        OptionError: The suffix is not one of ``SUFFIXES``.
        OutputError: The file cannot be opened, or GDAL refuses the name or the CRS of the layer.
    """
    return ThreadedWriter(path, layout, encoder_of(path))


def encoder_of(path: Path) -> Callable[[Path, PolygonLayout], Encoder]:
    """What encodes the format that the suffix of a file tells.

    Raises:
        OptionError: The suffix is not one of ``SUFFIXES``.
    """
    check_suffix(path)
    module, name = _ENCODERS[path.suffix.lower()]
    encoder: Callable[[Path, PolygonLayout], Encoder]
    encoder = getattr(import_module(f"geounet.polygonize.layers.{module}"), name)
    return encoder
