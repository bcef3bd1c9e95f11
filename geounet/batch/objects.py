"""The objects of one prefix of a bucket, through fsspec; what goes wrong is one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geounet.address import shown
from geounet.errors import DependencyError, GeounetError, OptionError, OutputError

_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs",
    "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "adl": "adlfs",
}  # fmt: skip
"""Scheme -> the package that fsspec needs for it."""

_CREDENTIALS = {
    "s3fs": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gcsfs": "GOOGLE_APPLICATION_CREDENTIALS",
    "adlfs": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with a key or token",
}
"""The variables that these packages look for."""

_DENIED = ("credential", "auth", "forbidden", "token", "permission", "accessdenied")
"""In names of exceptions, which each package has of its own."""

_MARKS = ("ETag", "etag", "md5Hash", "mtime")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")

Info = Mapping[str, Any]
"""What fsspec tells of an object."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Reads and writes whole objects; those of a bucket appear whole, or not at all.

    Threads may share it. Requests are repeated by fsspec's packages, not here. Each method raises:

    Raises:
        DependencyError: The package for such addresses is not installed.
        OptionError: There are no such addresses.
        OutputError: There is no such bucket, the credentials are not taken, or it does not answer.
    """

    address: str
    """Such as ``s3://bucket/prefix``, without a slash behind."""

    def found(self, folder: str = "") -> dict[str, Info]:
        """Name -> info of all objects, or of those in a folder of the prefix, however deep."""
        with self._opened() as (fs, root), suppress(FileNotFoundError):
            return _named(fs.find(f"{root}/{folder}" if folder else root, detail=True), root)
        return {}

    def listed(self) -> dict[str, Info]:
        """Name -> info of the objects right under the prefix."""
        with self._opened() as (fs, root), suppress(FileNotFoundError):
            infos = fs.ls(root, detail=True)
            files = {info["name"]: info for info in infos if info["type"] == "file"}
            return _named(files, root)
        return {}

    def info(self, name: str) -> Info | None:
        """Of an object; None: it is not there."""
        with self._opened() as (fs, root), suppress(FileNotFoundError):
            info: Info = fs.info(f"{root}/{name}")
            return info if info["type"] == "file" else None
        return None

    def read(self, name: str) -> bytes | None:
        """What is in an object; None: it is not there."""
        with self._opened() as (fs, root), suppress(FileNotFoundError):
            return bytes(fs.cat_file(f"{root}/{name}"))
        return None

    def write(self, name: str, content: bytes) -> None:
        """Make an object."""
        with self._opened() as (fs, root):
            fs.pipe_file(f"{root}/{name}", content)

    def send(self, path: Path, name: str) -> None:
        """Make an object of a file."""
        with self._opened() as (fs, root):
            fs.put_file(str(path), f"{root}/{name}")

    def fetch(self, name: str, path: Path) -> None:
        """Make a file of an object."""
        with self._opened() as (fs, root):
            fs.get_file(f"{root}/{name}", str(path))

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects, if they are there."""
        with self._opened() as (fs, root), suppress(FileNotFoundError):
            paths = [f"{root}/{name}" for name in names]
            if paths:
                fs.rm(paths)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, str]]:
        """The file system and the path of the prefix in it; nothing that was listed is believed."""
        try:
            from fsspec.core import url_to_fs

            fs, root = url_to_fs(self.address)
            fs.invalidate_cache()
            yield fs, root.rstrip("/")
        except GeounetError:
            raise
        except Exception as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> GeounetError:
        """The error in one line; each package has exceptions of its own."""
        scheme = self.address.partition("://")[0]
        package = _PACKAGES.get(scheme, "")
        kind, where = type(error).__name__, f"-o {shown(self.address)}"
        text = shown(" ".join(str(error).split())) or kind
        if isinstance(error, ImportError):
            return _without(package, scheme, where, text)
        if isinstance(error, ValueError) and "protocol" in text.lower():
            return OptionError(f"{where}: no such kind of address is known: s3://, gs:// or az://")
        if isinstance(error, FileNotFoundError):
            return OutputError(f"{where}: there is no such bucket: make it, or check its name")
        if any(word in kind.lower() for word in _DENIED):
            means = _CREDENTIALS.get(package, "those of its fsspec package")
            return OutputError(
                f"{where}: access is refused ({text}): set {means} of somebody who may list, read,"
                " write and delete there"
            )
        return OutputError(
            f"{where} cannot be reached ({kind}: {text}): check the address and the connection"
        )


def mark_of(info: Info) -> tuple[int, str]:
    """What an object is known again by: bytes and ETag, or what comes nearest."""
    mark = next((info[key] for key in _MARKS if info.get(key)), "")
    return int(info["size"]), str(mark).strip('"')


def time_of(info: Info) -> float | None:
    """When an object was made, in seconds since 1970; None: nobody tells."""
    times = (info.get(key) for key in _TIMES)
    return next((time.timestamp() for time in times if isinstance(time, datetime)), None)


def _named(infos: Mapping[str, Info], root: str) -> dict[str, Info]:
    return {path.removeprefix(f"{root}/"): info for path, info in infos.items()}


def _without(package: str, scheme: str, where: str, text: str) -> DependencyError:
    if find_spec("fsspec") is None:
        package = "fsspec"
    if not package:
        return DependencyError(f"{where}: {scheme}:// needs a package that is missing: {text}")
    return DependencyError(
        f"{where} needs {package}, which is not installed here: pip install {package}"
    )
