"""How remote files are spelled: by users, for GDAL, and in messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

_SCHEMES = {
    "http": "/vsicurl/http://",
    "https": "/vsicurl/https://",
    "ftp": "/vsicurl/ftp://",
    "s3": "/vsis3/",
    "gs": "/vsigs/",
    "gcs": "/vsigs/",
    "az": "/vsiaz/",
    "abfs": "/vsiadls/",
    "adls": "/vsiadls/",
    "oss": "/vsioss/",
    "swift": "/vsiswift/",
}
_SCHEME = re.compile(r"(?P<scheme>\w+)://", re.ASCII)
_REMOTE = re.compile(
    rf"(?:^|[^\w/])(?:{'|'.join(_SCHEMES)})://|/vsi(?:curl|s3|gs|az|adls|oss|swift)(?:[/?_]|$)",
    re.IGNORECASE,
)
_ARCHIVE = re.compile(r"\.(?:zip|kmz|tar|tgz|tar\.gz)(?=/|$)", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/\s@\"']+@")
_QUERY = re.compile(r"(?<=\?)[^\s\"'()]+")
_VALUE = re.compile(r"=[^&;]*|(?<![^&;])[^=&;]+(?=[&;]|$)")
_TOLD = re.compile(r"/vsicurl\?(?:[^\s\"']*&)?url=(?P<url>[^&\s\"']+)[^\s\"']*")


def is_remote(path: str) -> bool:
    """Whether GDAL reads ``path`` over a network; it may lie in an archive there."""
    return _REMOTE.search(path) is not None


def gdal_path(path: str) -> str:
    """GDAL's own path of a file at a URL, ``s3://``, ``gs://`` and so on; others as they are.

    rasterio would ask boto3 for the credentials of buckets; GDAL's drivers are told by variables.
    """
    found = _SCHEME.match(path)
    prefix = _SCHEMES.get(found["scheme"].lower()) if found else None
    return path if found is None or prefix is None else prefix + path[found.end() :]


def remote_files(paths: Iterable[str]) -> list[str]:
    """GDAL's own paths of what is fetched for ``paths``: the archive, where they lie in one."""
    return list(dict.fromkeys(_fetched(gdal_path(path)) for path in paths if is_remote(path)))


def _fetched(path: str) -> str:
    start = path.find("/vsi", 1) if path.startswith(("/vsizip", "/vsitar", "/vsigzip")) else 0
    if start <= 0:
        return path
    archive = _ARCHIVE.search(path, start)
    return path[start : archive.end() if archive else None]


def shown(text: str) -> str:
    """A path, or a message with paths in it, without what may be secret in URLs.

    Users, passwords and the values of queries (signatures, tokens) are left out.

    >>> shown("https://me:word@x.org/a.tif?sig=abc&se=2026")
    'https://x.org/a.tif?sig=***&se=***'
    """
    text = _TOLD.sub(lambda found: unquote(found["url"]), text)
    if not is_remote(text):
        return text
    text = _USER.sub("", text)
    return _QUERY.sub(lambda found: _VALUE.sub(_masked, found[0]), text)


def _masked(value: re.Match[str]) -> str:
    return "=***" if value[0].startswith("=") else "***"


def bare(path: str) -> str:
    """Where a remote file lies, without the query: the same however it is signed."""
    return shown(path).partition("?")[0]
