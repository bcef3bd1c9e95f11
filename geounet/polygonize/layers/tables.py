"""Tables of an SQLite file that are written page by page, behind what is there."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.layers.pages import (
    CHILDREN,
    LOCK_PAGE,
    PAGE,
    clear,
    fill,
    inner,
    seal,
)
from geounet.polygonize.layers.room import Room

_PAGES_AT = 28  # where the header of the file has the number of its pages


class PageFile:
    """An SQLite file that nothing else has open, to the end of which pages are added.

    Args:
        path: The file; its pages have ``PAGE`` bytes.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b", buffering=0)
        self.next_page = self._file.seek(0, 2) // PAGE + 1

    def append(self, pages: NDArray[np.uint8]) -> None:
        """Add whole pages; the first is number ``next_page``."""
        self._write(pages)
        self.next_page += len(pages) // PAGE

    def replace(self, page: int, content: NDArray[np.uint8]) -> None:
        """Write other bytes at the end of a page that is there."""
        self._file.seek(page * PAGE - len(content))
        self._write(content)
        self._file.seek(0, 2)

    def finish(self) -> None:
        """Note the number of pages in the header."""
        self._file.seek(_PAGES_AT)
        self._write(np.array([self.next_page - 1], ">u4").view(np.uint8))
        self.close()

    def close(self) -> None:
        """Let go of the file; it may be closed already."""
        self._file.close()

    def _write(self, content: NDArray[np.uint8]) -> None:
        rest = content.data
        while rest:  # the system may take a part at a time
            rest = rest[self._file.write(rest) :]


class Table:
    """An empty table that is filled in order of the row numbers.

    Args:
        file: The file it lies in.
        root: Its root page.
    """

    def __init__(self, file: PageFile, root: int) -> None:
        self._file, self._root, self._room = file, root, Room()
        self._leaf, self._state = np.empty(PAGE, np.uint8), np.empty(2, np.int64)
        clear(self._leaf, self._state)
        self._ends: list[NDArray[np.int64]] = []
        self._last = 0

    def add(self, rows: NDArray[np.uint8], starts: NDArray[np.int64], first: int) -> None:
        """Add rows.

        Args:
            rows: Their records, one after the other.
            starts: (n + 1,) where each starts in ``rows``.
            first: Number of the first row, behind all that are there; the others follow.
        """
        size = np.diff(starts)
        spilling = int((size > PAGE - 35).sum())
        # two leaves that follow each other hold more than a page, or else they were one
        most = 3 * (int(size.sum()) + 24 * len(size)) // (PAGE - 8) + spilling + 6
        out, ends = self._room.of(most * PAGE), np.empty((most, 2), np.int64)
        pages, full = fill(
            self._leaf, self._state, rows, starts, first, self._file.next_page, out, ends
        )
        self._file.append(out[: pages * PAGE])
        self._ends.append(ends[:full].copy())
        self._last = first + len(size) - 1

    def add_equal(self, records: NDArray[np.uint8], first: int) -> None:
        """Add rows whose records, (n, bytes), have one length."""
        count, size = records.shape
        self.add(records.reshape(-1), np.arange(count + 1, dtype=np.int64) * size, first)

    def amend_first(self, tail: NDArray[np.uint8]) -> None:
        """Replace the last bytes of the first row, which lies at the very end of its leaf."""
        pages = [ends[0, 0] for ends in self._ends if len(ends)]
        if pages:
            self._file.replace(int(pages[0]), tail)
        else:
            self._leaf[PAGE - len(tail) :] = tail

    def finish(self) -> None:
        """Write the last leaf and the pages above it."""
        ends = np.concatenate([np.empty((0, 2), np.int64), *self._ends])
        seal(self._leaf, self._state)
        if not len(ends):
            self._file.replace(self._root, self._leaf)
            return
        ends = np.concatenate([ends, [[self._page(), self._last]]])
        self._file.append(self._leaf)
        while len(ends) > CHILDREN:
            ends = self._level(ends)
        top = np.empty(PAGE, np.uint8)
        inner(ends, 0, len(ends), top)
        self._file.replace(self._root, top)

    def _level(self, ends: Any) -> NDArray[np.int64]:
        """Write the inner pages over ``ends``, equally full; returns theirs."""
        groups = -(-len(ends) // CHILDREN)
        cuts = np.arange(groups + 1) * len(ends) // groups
        above, page = np.empty((groups, 2), np.int64), np.empty(PAGE, np.uint8)
        for k, (start, stop) in enumerate(itertools.pairwise(cuts)):
            above[k] = self._page(), ends[stop - 1, 1]
            inner(ends, int(start), int(stop), page)
            self._file.append(page)
        return above

    def _page(self) -> int:
        """Number of the page that is written next."""
        if self._file.next_page == LOCK_PAGE:
            self._file.append(np.zeros(PAGE, np.uint8))
        return self._file.next_page
