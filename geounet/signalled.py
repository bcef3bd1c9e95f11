"""Errors that GDAL signals while a call succeeds all the same.

Where the table of a TIFF's blocks cannot be fetched, GDAL takes the blocks for empty, and rasterio
returns zeros; where the directory of a mask cannot, there is no mask. Both only note the error:
https://github.com/OSGeo/gdal/blob/v3.10.3/frmts/gtiff/libtiff/tif_dirread.c
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from geounet.address import shown

_LOGGERS = ("rasterio._env", "rasterio._err")
"""Where rasterio notes what GDAL signals, at level INFO."""
_READING = re.compile(
    r"signalled an error.*(?:can ?not read|failed to read|read error|response|curl)", re.IGNORECASE
)
_thread = threading.local()


@contextmanager
def signalled() -> Iterator[list[str]]:
    """Messages of failed reads that GDAL signals meanwhile in this thread."""
    _listen()
    heard: list[str] = []
    before = getattr(_thread, "heard", None)
    _thread.heard = heard
    try:
        yield heard
    finally:
        _thread.heard = before


@cache
def _listen() -> None:
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.addFilter(_Ear(logger))
        logger.setLevel(min(logger.level or logging.INFO, logging.INFO))


class _Ear(logging.Filter):
    """Hears all that a logger is told, and passes on what it would have passed on without."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._parent, self._level = logger.parent, logger.level

    def filter(self, record: logging.LogRecord) -> bool:
        heard, message = getattr(_thread, "heard", None), record.getMessage()
        if heard is not None and _READING.search(message):
            heard.append(message.partition("msg=")[2].strip("'\" ") or message)
        record.msg, record.args = shown(message), ()  # GDAL names whole URLs
        level = self._level or (self._parent.getEffectiveLevel() if self._parent else 0)
        return record.levelno >= level
