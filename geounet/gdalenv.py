"""GDAL options, scoped to the operation that needs them, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rasterio

CACHE_BYTES = 32 << 20
"""Block cache of GDAL. Where a row of blocks (of all bands, if they are interleaved by pixel) is
larger, some blocks are decoded more than once."""

READ: Mapping[str, Any] = {
    # rasterio hands the number to GDAL as bytes; "128" would mean 128 bytes and read 6x slower.
    "GDAL_CACHEMAX": CACHE_BYTES,
    # A listing of a bucket or a web folder for each file costs a round trip and may be refused.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # Ranges that touch are asked for as one.
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    # A passing 5xx answer or a dropped connection should not end a run of an hour.
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    # A server that goes silent is an error, not a wait for ever.
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
}

WRITE: Mapping[str, Any] = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    # Statistics and histograms are not wanted in a sidecar that we write ourselves.
    "GDAL_PAM_ENABLED": "NO",
}


def read_env(path: str) -> rasterio.Env:
    """Options for reading ``path``; a context manager.

    Local folders are listed, because masks, overviews and statistics live in sidecars beside the
    file (``.msk``, ``.ovr``, ``.aux.xml``); remote ones are not.
    """
    options = dict(READ)
    if not is_remote(path):
        del options["GDAL_DISABLE_READDIR_ON_OPEN"]
    return rasterio.Env(**options)


def write_env() -> rasterio.Env:
    """Options for writing a raster; a context manager."""
    return rasterio.Env(**WRITE)


def is_remote(path: str) -> bool:
    """Whether GDAL reads ``path`` over a network."""
    schemes = ("http://", "https://", "ftp://", "s3://", "gs://", "az://", "abfs://")
    drivers = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift")
    return any(mark in path for mark in schemes + drivers)  # it may lie in an archive there
