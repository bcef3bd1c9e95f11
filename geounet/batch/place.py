"""Where the outputs of a batch are, and the strips that are finished: a folder, or a bucket."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from geounet.batch.files import Files
from geounet.choose import Say
from geounet.errors import OptionError
from geounet.fingerprint import Fingerprint
from geounet.parts import Kept

if TYPE_CHECKING:
    from geounet.batch.manifest import Manifest
    from geounet.run import Run

_SCHEME = re.compile(r"(?P<scheme>\w{2,})://", re.ASCII)  # C:// is a disk
_READ_ONLY = ("http", "https", "ftp")


class Followed(Kept, Protocol):
    """Strips that others still make."""

    waited: float
    """Seconds that went by in waiting for one."""


class Shelf(Protocol):
    """The strips of one class map, which workers share; no error removes them."""

    def planned(self, run: Run, say: Say) -> AbstractContextManager[Kept]:
        """All that an earlier run has left of the same; what is left of another is removed."""

    def shared(self, depends: Fingerprint) -> AbstractContextManager[Kept]:
        """For a worker that makes some."""

    def followed(
        self, depends: Fingerprint, is_wanted: Callable[[], bool]
    ) -> AbstractContextManager[Followed]:
        """For the one who joins them while others make them."""

    def has_any(self) -> bool:
        """Whether there are some."""

    def is_committing(self) -> bool:
        """Whether a run may have been killed while its outputs got their names."""

    def remove(self) -> None:
        """Remove them."""

    def settle(self) -> None:
        """Wait until nobody follows them any more, a minute at most."""


class Desk(Protocol):
    """A local folder where outputs are made."""

    def __call__(self, path: Path) -> Path:
        """Where the output of this name is while it is made."""

    def deliver(self, last: Path) -> None:
        """Put what was made where it belongs, one of them at the end."""


class Place(Protocol):
    """One folder or bucket; values that pickle, and open nothing before they are asked.

    Outputs are told by paths: whole ones in a folder, names alone in a bucket. What cannot be read
    or written is an ``OutputError``.
    """

    def path(self, name: str) -> Path:
        """Of an output."""

    def shown(self, path: Path) -> Path | str:
        """How a user finds it."""

    def files(self, paths: Iterable[Path]) -> Files:
        """Those that are there."""

    def read(self, path: Path) -> bytes | None:
        """What is in a small file; None: it is not there."""

    def check(self, paths: Iterable[Path], *, overwrite: bool) -> None:
        """Refuse outputs that could not be written, or must not be replaced."""

    def refuse_inputs(self, paths: Iterable[Path], inputs: Iterable[str | Path], what: str) -> None:
        """Refuse to replace what is read."""

    def desk(
        self, whole: Iterable[Path] = (), *, sized: Iterable[Path] = (), ending: str | None = None
    ) -> AbstractContextManager[Desk]:
        """A local folder to make outputs in.

        Args:
            whole: Outputs that are needed there, if there are such.
            sized: Those of which the size is all that matters.
            ending: Those that end so are needed, too.
        """

    def strips(self, raster: Path) -> Shelf:
        """Of a class map."""

    def manifest(self) -> Manifest:
        """With the rows of earlier runs."""

    def taken(self, manifest: Manifest, say: Say) -> AbstractContextManager[None]:
        """Have it for one batch; the manifest is whole when it is left."""


def place_of(folder: Path | str) -> Place:
    """The place of a folder, or of an address such as ``s3://bucket/prefix``."""
    if isinstance(folder, Path):
        from geounet.batch.folder import Folder

        return Folder(folder)
    from geounet.batch.bucket import Bucket

    return Bucket(folder)


def folder_of(text: str) -> Path | str:
    """What ``-o`` means: the path of a folder, or the address of a bucket, without a slash behind.

    Raises:
        OptionError: It is an address where nothing can be written.
    """
    found = _SCHEME.match(text)
    if found is None:
        return Path(text)
    scheme = found["scheme"].lower()
    rest = text[found.end() :].rstrip("/")
    if scheme == "file":
        return Path(f"/{rest.lstrip('/')}")
    if scheme in _READ_ONLY or not rest:
        raise OptionError(
            f"-o {text}: give a folder, or a bucket as in s3://bucket/prefix, gs:// or az://"
        )
    return f"{scheme}://{rest}"


def mosaic_of(text: str, folder: Path | str) -> Path:
    """What ``--mosaic`` means: a path; with outputs in a bucket the name of an object there.

    Raises:
        OptionError: It lies elsewhere.
    """
    if isinstance(folder, Path) and _SCHEME.match(text) is None:
        return Path(text)
    if isinstance(folder, str):
        name = text.removeprefix(f"{folder}/")
        if name and "/" not in name:
            return Path(name)
    raise OptionError(
        f"--mosaic {text}: it lies in the bucket of -o, or in a folder as they do: give"
        f" {'a path' if isinstance(folder, Path) else f'{folder}/NAME.tif'}"
    )
