"""GDAL options, scoped to the operation that needs them, each with its reason."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import rasterio

from geounet.address import is_remote

CACHE_BYTES = 32 << 20
"""Block cache of GDAL. Where a row of blocks (of all bands, if they are interleaved by pixel) is
larger, some blocks are decoded more than once."""

READ: Mapping[str, Any] = {
    # rasterio hands the number to GDAL as bytes; "128" would mean 128 bytes and read 6x slower.
    "GDAL_CACHEMAX": CACHE_BYTES,
}

REMOTE: Mapping[str, str] = {
    # A listing of a bucket or a web folder for each file costs a round trip and may be refused.
    # It also keeps GDAL from asking for sidecars, so CPL_VSIL_CURL_ALLOWED_EXTENSIONS, which would
    # refuse addresses without a suffix, is not needed.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # Blocks that touch are asked for as one range; GDAL_HTTP_MULTIRANGE stays as it is: several
    # ranges in one request (SINGLE_GET) are refused by most buckets.
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    # Between two rows of tiles the network computes: a router may forget a silent connection.
    "GDAL_HTTP_TCP_KEEPALIVE": "YES",
    # A passing 429 or 5xx (GDAL's own GDAL_HTTP_RETRY_CODES) should not end a run of an hour. GDAL
    # doubles the delay each time; geounet.scene.remote takes both numbers for windows, too.
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    # A server that goes silent, or trickles, is an error, not a wait for ever. A limit of the whole
    # request (GDAL_HTTP_TIMEOUT) would end large reads over slow lines.
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    # Each block is asked for once: keeping 25 MB a file (VSI_CACHE) would serve nobody.
    "VSI_CACHE": "NO",
}
"""For what is read over a network. Variables of the environment come first. GDAL reads
CPL_VSIL_CURL_CHUNK_SIZE and CPL_VSIL_CURL_CACHE_SIZE once a process, so they cannot be scoped."""

WRITE: Mapping[str, Any] = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    # Statistics and histograms are not wanted in a sidecar that we write ourselves.
    "GDAL_PAM_ENABLED": "NO",
}


def read_env(path: str, *, head: bool = True) -> rasterio.Env:
    """Options for reading ``path``; a context manager, for this thread.

    Local folders are listed, because masks, overviews and statistics live in sidecars beside the
    file (``.msk``, ``.ovr``, ``.aux.xml``); remote ones are not. The others of :data:`REMOTE` hold
    for local files, too, which may be VRTs of remote ones.

    Args:
        path: What is read.
        head: Whether the server answers HEAD requests; False: GDAL asks for size with GET.
    """
    options = {**READ, **{k: v for k, v in REMOTE.items() if k not in os.environ}}
    if not is_remote(path):
        options.pop("GDAL_DISABLE_READDIR_ON_OPEN", None)
    if not head:
        options["CPL_VSIL_CURL_USE_HEAD"] = "NO"
    return rasterio.Env(**options)


def write_env() -> rasterio.Env:
    """Options for writing a raster; a context manager."""
    return rasterio.Env(**WRITE)


def remote_option(name: str) -> float:
    """The value of a number in :data:`REMOTE`, or of the environment."""
    try:
        return float(os.environ.get(name, REMOTE[name]))
    except ValueError:  # GDAL takes what it can of such a number: none
        return 0.0
