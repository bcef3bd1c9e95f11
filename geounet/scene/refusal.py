"""Why a file cannot be opened or read, in one line."""

from __future__ import annotations

import re
import tarfile
import zipfile
from pathlib import Path

from rasterio.errors import RasterioError

from geounet.address import gdal_path, remote_files, shown
from geounet.vsi import Answer

_STATUS = re.compile(r"HTTP response code: (\d{3})")
_WHOLE = "Range downloading not supported"
_NO_FORMAT = "not recognized as being in a supported file format"
_DENIED = (401, 403, 407)
_GONE = (404, 410)
_CREDENTIALS = {
    "/vsis3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_NO_SIGN_REQUEST=YES if the"
    " bucket is public",
    "/vsigs": "GOOGLE_APPLICATION_CREDENTIALS, or GS_NO_SIGN_REQUEST=YES if the bucket is public",
    "/vsiaz": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with"
    " AZURE_NO_SIGN_REQUEST=YES if the container is public",
}


class LostConnectionError(RasterioError):  # type: ignore[misc]
    """GDAL was refused a part of a file, and went on without."""


class LostMaskError(RasterioError):  # type: ignore[misc]
    """A file has a mask, and not every time that it is opened."""


def why_unread(path: str, error: Exception, answer: Answer | None, what: str) -> str:
    """Of pixels that cannot be read.

    Args:
        path: As the user gave it.
        error: What rasterio raised.
        answer: What the server says, if the file is remote.
        what: Which pixels.
    """
    if isinstance(error, LostMaskError):
        return _why_unlike(path)
    if answer is None:
        said, remedy = innermost(error), "the file is damaged or was cut short; get it again"
    else:
        said, remedy = _why_remote(path, innermost(error), answer)
    return f"{shown(path)}: the pixels cannot be read ({what}: {said}): {remedy}"


def why_unopened(path: str, error: Exception, answer: Answer | None, _what: str) -> str:
    """Of a file that cannot be opened; arguments as of :func:`why_unread`."""
    if isinstance(error, LostMaskError):
        return _why_unlike(path)
    reason = innermost(error)
    if answer is None or (answer.is_sized and _NO_FORMAT in reason):
        return _why_no_raster(path, error)
    said, remedy = _why_remote(path, reason, answer)
    return f"{shown(path)} cannot be opened as a raster ({said}): {remedy}"


def innermost(error: BaseException) -> str:
    """The innermost cause in one short line, without secrets."""
    while error.__cause__ is not None:
        error = error.__cause__
    return shown(" ".join(str(error).split()))[:200] or type(error).__name__


def _why_unlike(path: str) -> str:
    return (
        f"{shown(path)} has a mask, and not every time that it is opened: lost connection, or a"
        " file that is being replaced: try again"
    )


def _why_remote(path: str, reason: str, answer: Answer) -> tuple[str, str]:
    """What the server said, and how to mend it."""
    if answer.headers:
        whole = _WHOLE in reason
        if whole or not answer.is_sized:
            said = "sends whole files only" if whole else "does not tell its size"
            return f"the server {said}", "download it, and give the file"
        return reason, "lost connection, or a damaged file: try again"
    found = None if answer.message else _STATUS.search(reason)
    status = int(found[1]) if found else answer.status
    said = f"the server answers {status}" if status else shown(answer.message) or reason
    if status in _GONE:
        return said, "check the address"
    if status in _DENIED or (answer.is_final and not status):
        return said, f"check the credentials{_credentials(path)}"
    if answer.is_final:
        return said, "check the address and the credentials"
    return said, "try again later" if status else "check the address and the connection"


def _credentials(path: str) -> str:
    for prefix, names in _CREDENTIALS.items():
        if any(file.startswith(prefix) for file in remote_files([path])):
            return f" ({names})"
    return ", and whether a signed address has expired"


def _why_no_raster(path: str, error: Exception) -> str:
    local = "://" not in path and not path.startswith("/vsi")
    if local and ":" not in path and not Path(path).exists():
        return f"{path} does not exist: check the path"
    if local and Path(path).is_dir():
        return f"{path} is a folder: give a raster file, or the single-band files in it"
    if local and zipfile.is_zipfile(path):
        return f"{path} is a zip archive: name a raster in it, e.g. /vsizip/{path}{_inside(path)}"
    if local and tarfile.is_tarfile(path):
        return f"{path} is a tar archive: name a raster in it, e.g. /vsitar/{path}/NAME.tif"
    name, reason = shown(path), innermost(error)
    if "does not exist in the file system" in reason:
        return f"{name} does not exist: check the path"
    for spelled in (shown(gdal_path(path)), name):
        reason = reason.replace(f"'{spelled}'", "").replace(f"{spelled}:", "").strip(" .")
    return (
        f"{name} cannot be opened as a raster ({reason}): get it again if it was cut short, else"
        " give a GeoTIFF or what else GDAL reads"
    )


def _inside(path: str) -> str:
    """The raster in a zip archive that is most likely meant."""
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/")]
    rasters = [n for n in names if n.lower().endswith((".tif", ".tiff", ".jp2", ".img", ".vrt"))]
    return "/" + next(iter(rasters or names), "NAME.tif")
