"""Outputs and strips in a folder that all workers see: a :class:`~geounet.batch.place.Place`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from geounet.batch.files import Files, files_of
from geounet.batch.manifest import Manifest
from geounet.choose import Say
from geounet.errors import OutputError
from geounet.fingerprint import Fingerprint
from geounet.lock import Lock
from geounet.parts import Kept, has_parts, remove_parts, was_committing
from geounet.run import Run
from geounet.sharedparts import FollowedParts, SharedParts, wait_for_follower
from geounet.staging import check_outputs, refuse_inputs


@dataclass(frozen=True, slots=True)
class FolderStrips:
    """A :class:`~geounet.batch.place.Shelf` in a hidden folder beside the class map."""

    raster: Path
    """The class map."""

    def planned(self, run: Run, say: Say) -> AbstractContextManager[Kept]:
        """See :class:`geounet.batch.place.Shelf`."""
        return run.kept(self.raster, say, lasting=True)

    def shared(self, depends: Fingerprint) -> SharedParts:
        """See :class:`geounet.batch.place.Shelf`."""
        return SharedParts(self.raster, depends)

    def followed(self, depends: Fingerprint, is_wanted: Callable[[], bool]) -> FollowedParts:
        """See :class:`geounet.batch.place.Shelf`."""
        return FollowedParts(self.raster, depends, is_wanted)

    def has_any(self) -> bool:
        """See :class:`geounet.batch.place.Shelf`."""
        return has_parts(self.raster)

    def is_committing(self) -> bool:
        """See :class:`geounet.batch.place.Shelf`."""
        return was_committing(self.raster)

    def remove(self) -> None:
        """See :class:`geounet.batch.place.Shelf`."""
        remove_parts(self.raster)

    def settle(self) -> None:
        """See :class:`geounet.batch.place.Shelf`."""
        wait_for_follower(self.raster)


class FolderDesk:
    """A :class:`~geounet.batch.place.Desk`: outputs are made where they belong."""

    def __call__(self, path: Path) -> Path:
        """See :class:`geounet.batch.place.Desk`."""
        return path

    def deliver(self, last: Path) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A :class:`~geounet.batch.place.Place`."""

    folder: Path

    def path(self, name: str) -> Path:
        """See :class:`geounet.batch.place.Place`."""
        return self.folder.absolute() / name

    def shown(self, path: Path) -> Path:
        """See :class:`geounet.batch.place.Place`."""
        return path

    def files(self, paths: Iterable[Path]) -> Files:
        """See :class:`geounet.batch.place.Place`."""
        return files_of(paths)

    def read(self, path: Path) -> bytes | None:
        """See :class:`geounet.batch.place.Place`."""
        try:
            return path.read_bytes()
        except OSError:
            return None

    def check(self, paths: Iterable[Path], *, overwrite: bool) -> None:
        """See :class:`geounet.batch.place.Place`."""
        check_outputs(paths, overwrite=overwrite)

    def refuse_inputs(self, paths: Iterable[Path], inputs: Iterable[str | Path], what: str) -> None:
        """See :class:`geounet.batch.place.Place`."""
        refuse_inputs(paths, inputs, what)

    def desk(
        self,
        whole: Iterable[Path] = (),  # noqa: ARG002
        *,
        sized: Iterable[Path] = (),  # noqa: ARG002
        ending: str | None = None,  # noqa: ARG002
    ) -> AbstractContextManager[FolderDesk]:
        """See :class:`geounet.batch.place.Place`."""
        return nullcontext(FolderDesk())

    def strips(self, raster: Path) -> FolderStrips:
        """See :class:`geounet.batch.place.Place`."""
        return FolderStrips(raster)

    def manifest(self) -> Manifest:
        """See :class:`geounet.batch.place.Place`."""
        return Manifest(self.folder)

    @contextmanager
    def taken(self, manifest: Manifest, say: Say) -> Iterator[None]:  # noqa: ARG002
        """See :class:`geounet.batch.place.Place`."""
        folder = self.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"-o {folder}: this folder cannot be made ({error.strerror}): give another"
            ) from error
        busy = OutputError(
            f"{folder} is being filled by another batch: wait for it, or use another -o"
        )
        lock = folder / ".batch.lock"
        with _writable(folder), Lock(lock, busy):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"-o {folder}: nothing can be written there ({error.strerror}): choose another folder"
        ) from error
