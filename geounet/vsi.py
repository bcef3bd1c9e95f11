"""What GDAL knows of remote files, and rasterio does not hand out."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import rasterio._env

from geounet.gdalenv import read_env

_STATUS = re.compile(r"HTTP response code: (\d{3})")
_REFUSED_HEAD = (400, 403, 405, 501)
_PASSING = (408, 425, 429)
_STORAGE_SAYS_NO = range(6, 11)
"""VSIE_AWSAccessDenied to VSIE_AWSSignatureDoesNotMatch:
https://github.com/OSGeo/gdal/blob/v3.10.3/port/cpl_vsi_error.h"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What tells one version of a remote file from another; empty: the server does not say."""

    etag: str = ""
    """``ETag``."""
    modified: str = ""
    """``Last-Modified``."""
    size: str = ""
    """``Content-Length``."""

    @property
    def is_sure(self) -> bool:
        """Whether a file that was replaced would have another."""
        return bool(self.etag or self.modified)

    def differs(self, other: Stamp) -> bool:
        """Whether the files differ, as far as the servers say.

        Servers behind one address may give one file several ETags, and a file that was copied anew
        has another date: one of the two that is equal is enough.
        """
        if self.size and other.size and self.size != other.size:
            return True
        pairs = [(self.etag, other.etag), (self.modified, other.modified)]
        told = [one == another for one, another in pairs if one and another]
        return bool(told) and not any(told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server says when it is asked for the header of a file."""

    status: int | None = None
    """HTTP status; None: it did not answer, or GDAL does not tell."""
    message: str = ""
    """What GDAL says where there is no file."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    is_final: bool = False
    """Whether asking again is of no use: wrong credentials or address."""

    @property
    def is_sized(self) -> bool:
        """Whether the server tells how large the file is."""
        return "content-length" in self.headers

    @property
    def stamp(self) -> Stamp:
        """Of the file."""
        named = {"etag": "etag", "modified": "last-modified", "size": "content-length"}
        return Stamp(**{name: self.headers.get(key, "") for name, key in named.items()})


def ask(path: str, *, head: bool = True) -> Answer:
    """What the server says of a file; it is asked each time, whatever GDAL remembers.

    Args:
        path: GDAL's own (``/vsicurl/...``).
        head: Ask with HEAD first; it is followed by a GET where that is refused.
    """
    gdal = _gdal()
    if gdal is None:
        return Answer()
    with read_env(path, head=head):
        gdal.VSIErrorReset()
        found = gdal.VSIGetFileMetadata(path.encode(), b"HEADERS", None)
        try:
            headers = dict(_pairs(found))
        finally:
            gdal.CSLDestroy(found)
        if headers:
            return Answer(status=200, headers=headers)
        number, message = gdal.VSIGetLastErrorNo(), gdal.VSIGetLastErrorMsg().decode()
        forget()  # for GDAL, there is no such file from now on, for those who read it, too
    code = _STATUS.search(message)
    status = int(code[1]) if code else None
    if head and status in _REFUSED_HEAD:
        return ask(path, head=False)
    refused = status is not None and 400 <= status < 500 and status not in _PASSING
    return Answer(status=status, message=message, is_final=refused or number in _STORAGE_SAYS_NO)


def forget() -> None:
    """Make GDAL forget what it has read over the network.

    It keeps what it was told of a file (that there is none, too) and what it has read of it (the
    beginning of what broke off, too) in the whole process.
    """
    gdal = _gdal()
    if gdal is not None:
        gdal.VSICurlClearCache()


def _pairs(found: Any) -> Iterator[tuple[str, str]]:
    for entry in iter(found or ()):
        if entry is None:
            return
        name, _, value = entry.decode("latin-1").partition("=")
        yield name.lower(), value.strip()


@cache
def _gdal() -> ctypes.CDLL | None:
    """The GDAL of rasterio, which its extension is linked with; None: not to be found like that."""
    try:
        gdal = ctypes.CDLL(rasterio._env.__file__)  # noqa: SLF001  rasterio names no other
        gdal.VSIGetFileMetadata.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
        gdal.VSIGetFileMetadata.restype = ctypes.POINTER(ctypes.c_char_p)
        gdal.CSLDestroy.argtypes = [ctypes.POINTER(ctypes.c_char_p)]
        gdal.VSIGetLastErrorMsg.restype = ctypes.c_char_p
        gdal.VSIGetLastErrorNo.restype = ctypes.c_int
        gdal.VSIErrorReset.restype = None
        gdal.VSICurlClearCache.restype = None
    except (OSError, AttributeError):  # Windows looks into the one library only
        return None
    return gdal
