"""Which file is of which format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from geounet.polygonize.layers.flatgeobuf import FlatGeobuf
from geounet.polygonize.layers.geojson import GeoJson
from geounet.polygonize.layers.gpkg import GeoPackage
from geounet.polygonize.layers.layout import PolygonLayout
from geounet.polygonize.layers.parquet import GeoParquet
from geounet.polygonize.layers.suffixes import check_suffix
from geounet.polygonize.layers.writer import Encoder, LayerWriter, ThreadedWriter

_ENCODERS: dict[str, Callable[[Path, PolygonLayout], Encoder]] = {
    ".gpkg": GeoPackage,
    ".fgb": FlatGeobuf,
    ".parquet": GeoParquet,
    ".geojson": GeoJson,
}


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
    return _ENCODERS[path.suffix.lower()]
