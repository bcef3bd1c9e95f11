"""Native libraries that write to stderr by themselves; our one line tells what matters."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import os
from collections.abc import Iterator
from pathlib import Path


def silence_gdal() -> None:
    """Keep GDAL from writing to this process's stderr."""
    os.environ.setdefault("CPL_LOG", os.devnull)  # GDAL looks at its first error
    logging.getLogger("rasterio").addHandler(logging.NullHandler())


def silence_libtiff() -> None:
    """Keep libtiff from it too, where rasterio's wheel has one of its own.

    GDAL gives each file a handler of its own, but a failed write (a full disk) is reported through
    libtiff's global one, which prints:
    https://gitlab.com/libtiff/libtiff/-/blob/v4.6.0/libtiff/tif_unix.c
    """
    import rasterio  # noqa: F401  loads what libtiff needs in turn

    for path in _libtiff():
        with contextlib.suppress(OSError, AttributeError):  # a line too many is no reason to stop
            ctypes.CDLL(str(path)).TIFFSetErrorHandler(None)


def _libtiff() -> Iterator[Path]:
    """The libtiff in rasterio's wheel; elsewhere (conda) there is none beside it."""
    found = importlib.util.find_spec("rasterio")
    if found is not None and found.origin is not None:
        package = Path(found.origin).parent
        yield from package.with_name("rasterio.libs").glob("libtiff*")
        yield from (package / ".dylibs").glob("libtiff*")
