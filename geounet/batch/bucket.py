"""Outputs and strips in a bucket: a :class:`~geounet.batch.place.Place`.

Outputs are made in a temporary folder of the worker and uploaded when all of them are whole, the
class map last. One batch at a time has a bucket: of two on one machine the second is refused, of
two on different machines the first ends when it next writes its manifest.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shutil
import socket
import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from geounet.address import gdal_path
from geounet.batch.bucketmanifest import BucketManifest
from geounet.batch.bucketstrips import BucketStrips
from geounet.batch.files import Files
from geounet.batch.manifest import Manifest
from geounet.batch.objects import Objects, mark_of, time_of
from geounet.choose import Say
from geounet.errors import GeounetError, OutputError
from geounet.lock import Lock
from geounet.staging import is_running

_LOCK = ".batch.lock"

_FEW = 8
"""Objects up to which each is asked for; of more a list is."""

_DESK = re.compile(r"geounet-(\d+)-")
"""Temporary folders, with the number of the process."""


class BucketDesk:
    """A :class:`~geounet.batch.place.Desk`.

    Args:
        objects: Where outputs go.
        folder: Temporary.
    """

    def __init__(self, objects: Objects, folder: Path) -> None:
        self._objects, self._folder = objects, folder
        self._fetched: dict[Path, int] = {}

    def __call__(self, path: Path) -> Path:
        """See :class:`geounet.batch.place.Desk`."""
        return self._folder / path.name

    def fetch(self, whole: Collection[str], sized: Collection[str], ending: str) -> None:
        """Have outputs here with the times they were made, as far as there are such.

        Args:
            whole: Names.
            sized: Names of those for which empty files of the same size stand.
            ending: Of further names.
        """
        there = self._objects.listed() if whole or sized else {}
        for name, info in there.items():
            here = self._folder / name
            if name in whole or name.endswith(ending):
                self._objects.fetch(name, here)
            elif name in sized:
                here.touch()
                os.truncate(here, info["size"])
            else:
                continue
            made = time_of(info) or here.stat().st_mtime
            os.utime(here, (made, made))
            self._fetched[here] = here.stat().st_mtime_ns

    def deliver(self, last: Path) -> None:
        """See :class:`geounet.batch.place.Desk`."""
        made = [
            path
            for path in sorted(self._folder.iterdir())
            if path.stat().st_mtime_ns != self._fetched.get(path)
        ]
        for path in sorted(made, key=lambda path: path.name == last.name):
            self._objects.send(path, path.name)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A :class:`~geounet.batch.place.Place`; outputs are told by their names."""

    address: str
    """Such as ``s3://bucket/prefix``, without a slash behind."""

    @property
    def objects(self) -> Objects:
        """What is there."""
        return Objects(self.address)

    def path(self, name: str) -> Path:
        """See :class:`geounet.batch.place.Place`."""
        return Path(name)

    def shown(self, path: Path) -> str:
        """See :class:`geounet.batch.place.Place`."""
        return f"{self.address}/{path}"

    def files(self, paths: Iterable[Path]) -> Files:
        """See :class:`geounet.batch.place.Place`."""
        names = [path.name for path in paths]
        if len(names) <= _FEW:
            asked = ((name, self.objects.info(name)) for name in names)
            there = {name: info for name, info in asked if info is not None}
        else:
            there = self.objects.listed()
        return {name: mark_of(there[name]) for name in names if name in there}

    def read(self, path: Path) -> bytes | None:
        """See :class:`geounet.batch.place.Place`."""
        return self.objects.read(path.name)

    def check(self, paths: Iterable[Path], *, overwrite: bool) -> None:
        """See :class:`geounet.batch.place.Place`."""
        there = {} if overwrite else self.files(paths)
        for name in there:
            raise OutputError(
                f"{self.address}/{name} exists: pass --overwrite to replace it, or give another"
                " name"
            )

    def refuse_inputs(self, paths: Iterable[Path], inputs: Iterable[str | Path], what: str) -> None:
        """See :class:`geounet.batch.place.Place`."""
        read = {gdal_path(str(path)) for path in inputs}
        for path in paths:
            if gdal_path(self.shown(path)) in read:
                raise OutputError(f"{self.shown(path)} is {what} itself: choose another name")

    @contextmanager
    def desk(
        self, whole: Iterable[Path] = (), *, sized: Iterable[Path] = (), ending: str | None = None
    ) -> Iterator[BucketDesk]:
        """See :class:`geounet.batch.place.Place`."""
        _sweep()
        with tempfile.TemporaryDirectory(prefix=f"geounet-{os.getpid()}-") as folder:
            desk = BucketDesk(self.objects, Path(folder))
            desk.fetch({path.name for path in whole}, {path.name for path in sized}, ending or "/")
            yield desk

    def strips(self, raster: Path) -> BucketStrips:
        """See :class:`geounet.batch.place.Place`."""
        return BucketStrips(self.objects, raster)

    def manifest(self) -> BucketManifest:
        """See :class:`geounet.batch.place.Place`."""
        return BucketManifest(self.objects)

    @contextmanager
    def taken(self, manifest: Manifest, say: Say) -> Iterator[None]:
        """See :class:`geounet.batch.place.Place`."""
        busy = OutputError(
            f"{self.address} is being filled by another batch: wait for it, or use another -o"
        )
        host, token = socket.gethostname(), uuid.uuid4().hex
        here = _lock_here(self.address)
        with Lock(here, busy):
            other = (self.objects.read(_LOCK) or b"").decode(errors="replace").partition(" ")[0]
            if other not in ("", host):
                say(f"{self.address}: a batch on {other} has not ended: this one takes its place")
            mine = f"{host} {token}".encode()
            self.objects.write(_LOCK, mine)

            def is_ours() -> bool:
                return self.objects.read(_LOCK) == mine

            manifest.watch(is_ours)
            try:
                with _whole_at_last(manifest):
                    yield
            finally:
                here.unlink(missing_ok=True)
                with suppress(GeounetError):
                    if is_ours():
                        self.objects.remove([_LOCK])


@contextmanager
def _whole_at_last(manifest: Manifest) -> Iterator[None]:
    """Put the manifest at the end, whatever has ended the batch."""
    try:
        yield
    except BaseException:
        with suppress(GeounetError):
            manifest.settle(now=True)
        raise
    manifest.settle(now=True)


def _lock_here(address: str) -> Path:
    """A file that batches of this user on this machine lock for a bucket."""
    digest = hashlib.sha256(f"{getpass.getuser()} {address}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"geounet-{digest}.lock")


def _sweep() -> None:
    """Remove what workers that were killed here have left."""
    for path in Path(tempfile.gettempdir()).glob("geounet-*-*"):
        found = _DESK.match(path.name)
        if found and not is_running(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)
