"""Remote files: how often they are asked for again, what went wrong, and whether they changed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from geounet.address import remote_files, shown
from geounet.errors import SceneError
from geounet.gdalenv import remote_option
from geounet.vsi import Answer, Stamp, ask, forget

_LONGEST = 300.0  # seconds
_MOST = 16
"""Files that are asked for one by one; a VRT may have thousands."""


class Patience:
    """Decides whether what could not be read over a network is tried again, and waits before it.

    GDAL has its own retries, of single requests that are refused or time out. These are of whole
    windows, from a fresh handle, where it has given up, or was served half an answer. There are
    ``GDAL_HTTP_MAX_RETRY`` of them, after ``GDAL_HTTP_RETRY_DELAY`` seconds and twice as long each
    time, and none is begun after five minutes.

    Args:
        files: GDAL's own paths of what is fetched; none: a local file, which is read once.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files[:_MOST]
        self._left = int(remote_option("GDAL_HTTP_MAX_RETRY"))
        self._pause = remote_option("GDAL_HTTP_RETRY_DELAY")
        self._end = time.monotonic() + _LONGEST
        self.answer: Answer | None = None
        """What the server said of the file that is to blame, when it was asked last."""

    def again(self) -> bool:
        """Whether to try once more; GDAL has then forgotten what it had read."""
        if not self._files:
            return False
        self.answer = self._asked()
        if self.answer.is_final or self._left < 1 or time.monotonic() + self._pause > self._end:
            return False
        time.sleep(self._pause)
        self._left, self._pause = self._left - 1, 2 * self._pause
        forget()
        return True

    def _asked(self) -> Answer:
        """With GET, as pixels are: HEAD may work where that does not."""
        answer = Answer()
        for file in self._files:
            answer = ask(file, head=False)
            if not answer.headers:
                break
        return answer


class Watch:
    """Notices that remote files are replaced while they are read.

    Args:
        files: Of a scene; local ones, and more than a few, are not watched.
    """

    def __init__(self, files: Iterable[str]) -> None:
        # GDAL's own names: what xarray reads (https://.../a.zarr) is a folder
        remote = remote_files(file for file in files if file.startswith("/vsi"))
        self._stamps = {f: ask(f).stamp for f in remote} if len(remote) <= _MOST else {}

    def stamp(self, file: str) -> Stamp | None:
        """Of one of the files, as it was at first; None: it is not watched."""
        return next((self._stamps[f] for f in remote_files([file]) if f in self._stamps), None)

    def check(self) -> None:
        """Compare the files with what they were.

        Raises:
            SceneError: One was replaced.
        """
        for file, before in self._stamps.items():
            now = ask(file).stamp
            if now.differs(before):
                raise SceneError(
                    f"{shown(file)} was replaced while it was read, and the result would mix both:"
                    " start again"
                )
            self._stamps[file] = now if before == Stamp() else before
