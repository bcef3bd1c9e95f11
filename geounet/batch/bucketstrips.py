"""Finished strips of one class map in a bucket.

Objects appear whole and have no locks. So strips lie under a digest of what they depend on: equal
names are equal bytes, whoever writes them, and however often.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from geounet.batch.objects import Objects
from geounet.choose import Say
from geounet.errors import OutputError
from geounet.fingerprint import Fingerprint
from geounet.parts import (
    COMMITTING,
    RECORD,
    Kept,
    Nowhere,
    changes,
    going_on,
    starting_anew,
)
from geounet.run import Run
from geounet.stitch import Strip
from geounet.stripfile import BROKEN, packed_strip, strip_name, unpacked_strip
from geounet.window import Window

_POLL = 0.5
"""Seconds after which a strip is asked for again."""


@dataclass(frozen=True, slots=True)
class BucketStrips:
    """A :class:`~geounet.batch.place.Shelf`."""

    objects: Objects
    """Of the bucket."""
    raster: Path
    """The class map's name."""

    def planned(self, run: Run, say: Say) -> AbstractContextManager[Kept]:
        """See :class:`geounet.batch.place.Shelf`."""
        depends = run.fingerprint()
        return nullcontext(Nowhere() if depends is None else self._taken_over(depends, say))

    def shared(self, depends: Fingerprint) -> AbstractContextManager[Kept]:
        """See :class:`geounet.batch.place.Shelf`."""
        folder = self._of(depends)
        return nullcontext(BucketParts(self, folder, set(self.objects.found(folder))))

    def followed(
        self, depends: Fingerprint, is_wanted: Callable[[], bool]
    ) -> AbstractContextManager[FollowedObjects]:
        """See :class:`geounet.batch.place.Shelf`."""
        return nullcontext(FollowedObjects(self, self._of(depends), is_wanted))

    def has_any(self) -> bool:
        """See :class:`geounet.batch.place.Shelf`."""
        return any(name.endswith(".strip") for name in self.objects.found(self._folder))

    def is_committing(self) -> bool:
        """See :class:`geounet.batch.place.Shelf`."""
        return self.objects.info(f"{self._folder}/{COMMITTING}") is not None

    def mark_commit(self) -> None:
        """Note that outputs get their names from here on."""
        self.objects.write(f"{self._folder}/{COMMITTING}", b"")

    def remove(self) -> None:
        """See :class:`geounet.batch.place.Shelf`."""
        self.objects.remove(self.objects.found(self._folder))

    def settle(self) -> None:
        """Nothing: who follows has a folder of its own machine."""

    @property
    def _folder(self) -> str:
        return f".{self.raster.name}.parts"

    def _of(self, depends: Fingerprint) -> str:
        text = json.dumps(depends, sort_keys=True).encode()
        return f"{self._folder}/{hashlib.sha256(text).hexdigest()[:20]}"

    def _taken_over(self, depends: Fingerprint, say: Say) -> BucketParts:
        """Find what an earlier run has left; what depends on something else is removed."""
        folder, every = self._of(depends), list(self.objects.found(self._folder))
        ours = {name for name in every if name.startswith(f"{folder}/")}
        others = [name for name in every if name not in ours and name.count("/") > 1]
        strips = {name for name in ours if name.endswith(".strip")}
        if strips:
            say(going_on(self.raster, map(Path, strips)))
        elif changed := self._changed(others, depends):
            say(starting_anew(self.raster, changed))
        self.objects.remove(others)
        if f"{folder}/{RECORD}" not in ours:
            self.objects.write(f"{folder}/{RECORD}", json.dumps(depends).encode())
        return BucketParts(self, folder, strips)

    def _changed(self, others: Collection[str], depends: Fingerprint) -> str | None:
        records = [name for name in others if PurePosixPath(name).name == RECORD]
        found = [changes(self.objects.read(name) or b"", depends) for name in records]
        return next(filter(None, found), None)


class BucketParts:
    """Strips that any worker makes: a :class:`geounet.parts.Kept`.

    Args:
        shelf: Of the class map.
        folder: Of strips with the same fingerprint.
        found: Names of those that are there.
    """

    def __init__(self, shelf: BucketStrips, folder: str, found: Collection[str]) -> None:
        self._shelf, self._folder, self._found = shelf, folder, found

    def has(self, window: Window) -> bool:
        """See :class:`geounet.parts.Kept`: whoever made it."""
        return self._name(window) in self._found

    def strip(self, window: Window) -> Strip:
        """See :class:`geounet.parts.Kept`.

        Raises:
            OutputError: It cannot be read, and is removed.
        """
        name = self._name(window)
        content = self._content(name)
        try:
            return unpacked_strip(range(window.row_off, window.row_end), content)
        except BROKEN as error:
            self._shelf.objects.remove([name])
            raise OutputError(
                f"{self._shelf.objects.address}/{name} cannot be read: its rows are to be made"
                " again"
            ) from error

    def keep(self, strip: Strip) -> None:
        """See :class:`geounet.parts.Kept`."""
        if not self.has(strip.window):
            self._shelf.objects.write(self._name(strip.window), packed_strip(strip))

    def commit(self) -> None:
        """See :class:`geounet.parts.Kept`."""
        self._shelf.mark_commit()

    def drop(self) -> None:
        """Nothing: strips are another's, too."""

    def _name(self, window: Window) -> str:
        return f"{self._folder}/{strip_name(window)}"

    def _content(self, name: str) -> bytes:
        return self._shelf.objects.read(name) or b""


class FollowedObjects(BucketParts):
    """The same for the one who joins them meanwhile: a :class:`~geounet.batch.place.Followed`.

    Args:
        shelf: Of the class map.
        folder: Of strips with the same fingerprint.
        is_wanted: Whether to wait on.
    """

    def __init__(self, shelf: BucketStrips, folder: str, is_wanted: Callable[[], bool]) -> None:
        super().__init__(shelf, folder, ())
        self._is_wanted = is_wanted
        self.waited = 0.0

    def has(self, window: Window) -> bool:  # noqa: ARG002
        """Yes, or it will."""
        return True

    def _content(self, name: str) -> bytes:
        """As soon as it is there.

        Raises:
            OutputError: Nobody wants it any more.
        """
        start = time.perf_counter()
        while (content := self._shelf.objects.read(name)) is None:
            if not self._is_wanted():
                raise OutputError(f"{self._shelf.raster} is not wanted any more")
            time.sleep(_POLL)
        self.waited += time.perf_counter() - start
        return content
