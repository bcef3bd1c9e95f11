"""What the name of a layer ends in."""

from __future__ import annotations

from pathlib import Path

from geounet.errors import OptionError

SUFFIXES = (".gpkg", ".fgb", ".parquet", ".geojson")
"""One for each format."""


def check_suffix(path: Path, option: str = "--polygons") -> None:
    """Refuse a file that no format is known for.

    Raises:
        OptionError: Its suffix is not one of ``SUFFIXES``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(
            f"{option} {path}: end it in .gpkg (GeoPackage), .fgb (FlatGeobuf), .parquet"
            " (GeoParquet) or .geojson (GeoJSON)"
        )
