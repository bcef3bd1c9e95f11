"""The manifest of a batch in a bucket, where nothing can be appended to an object."""

from __future__ import annotations

import time
from collections.abc import Callable

from geounet.batch.manifest import NAME, Manifest
from geounet.batch.objects import Objects
from geounet.errors import ClusterError, GeounetError

_EACH = 5.0
"""Seconds between two times that it is put: rows of many bands are put together."""


class BucketManifest(Manifest):
    """Rows in memory, and all of them in the bucket every few seconds.

    What follows a row, such as removing the strips of a scene that is done, waits until the row is
    there. Where it cannot be put, that is tried again with later rows.

    Args:
        objects: Of the bucket.

    Raises:
        OutputError: It cannot be read.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._content = objects.read(NAME) or b""
        self._waiting: list[Callable[[], None]] = []
        self._is_put, self._tried = True, -_EACH
        self._is_ours: Callable[[], bool] = lambda: True

    @property
    def path(self) -> str:
        """Its address."""
        return f"{self._objects.address}/{NAME}"

    def settle(self, *, now: bool = False) -> None:
        """See :class:`geounet.batch.manifest.Manifest`."""
        if (self._is_put and not self._waiting) or not (now or self._is_due()):
            return
        self._tried = time.monotonic()
        try:
            self._put()
        except ClusterError:
            raise
        except GeounetError:
            if now:
                raise

    def watch(self, is_ours: Callable[[], bool]) -> None:
        """See :class:`geounet.batch.manifest.Manifest`."""
        self._is_ours = is_ours

    def _after(self, then: Callable[[], None] | None) -> None:
        if then is not None:
            self._waiting.append(then)
        self.settle()

    def _is_due(self) -> bool:
        return time.monotonic() - self._tried >= _EACH

    def _put(self) -> None:
        if not self._is_ours():
            raise ClusterError(
                f"{self._objects.address}: another batch has taken it: this one ends"
            )
        if not self._is_put:
            self._objects.write(NAME, self._content)
            self._is_put = True
        while self._waiting:
            self._waiting[0]()
            self._waiting.pop(0)

    def _append(self, line: bytes) -> None:
        torn = b"\n" if self._content and not self._content.endswith(b"\n") else b""
        self._content += torn + line
        self._is_put = False

    def _lines(self) -> list[bytes]:
        return self._content.split(b"\n")
