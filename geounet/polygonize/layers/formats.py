"""Which file is of which format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from geounet.errors import OptionError
from geounet.polygonize.layers.flatgeobuf import FlatGeobuf
from geounet.polygonize.layers.geojson import GeoJson
from geounet.polygonize.layers.gpkg import GeoPackage
from geounet.polygonize.layers.layout import PolygonLayout
from geounet.polygonize.layers.parquet import GeoParquet
from geounet.polygonize.layers.writer import Encoder, LayerWriter, ThreadedWriter

_ENCODERS: dict[str, Callable[[Path, PolygonLayout], Encoder]] = {
    ".gpkg": GeoPackage,
    ".fgb": FlatGeobuf,
    ".parquet": GeoParquet,
    ".geojson": GeoJson,
}

SUFFIXES = tuple(_ENCODERS)
"""What the name of a layer ends in."""


def check_suffix(path: Path, option: str = "--polygons") -> None:
    """Refuse a file that no format is known for.

    Raises:
        OptionError: Its suffix is not one of ``SUFFIXES``.
    """
    if path.suffix.lower() not in _ENCODERS:
        raise OptionError(
            f"{option} {path}: end it in .gpkg (GeoPackage), .fgb (FlatGeobuf), .parquet"
            " (GeoParquet) or .geojson (GeoJSON)"
        )


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
    check_suffix(path)
    return ThreadedWriter(path, layout, _ENCODERS[path.suffix.lower()])
