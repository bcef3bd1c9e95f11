"""Compiled: pages of a table of an SQLite file.

The format is fixed for good (https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1): a
table is a tree of pages, its rows lie on the leaves in order of their number. Rows that come in
this order need no search, no splitting and no journal, only their bytes laid down.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import CALLEE, before_compiling, callee, jit

PAGE = 4096
"""Bytes of a page, SQLite's default."""

LOCK_PAGE = (1 << 30) // PAGE + 1
"""Number of the page that SQLite leaves empty, because it locks bytes there."""

CHILDREN = 270
"""Pages that an inner page points to at most: each takes up to 15 of its bytes."""

CELLS, CONTENT = 0, 1
"""State of the leaf in hand: rows on it, and where their bytes begin (they grow downwards)."""

_MOST_LOCAL = PAGE - 35
_LEAST_LOCAL = (PAGE - 12) * 32 // 255 - 23
_OVERFLOW = PAGE - 4


@callee
def put_be(out: Any, at: Any, size: Any, value: Any) -> int:
    """Write a big-endian number of ``size`` bytes; returns where the next goes.

    Constants come as ``np.int64``, or numba compiles this once more for each of them.
    """
    for k in range(size):
        out[at + k] = np.uint8(value >> 8 * (size - 1 - k) & 255)
    return at + size


@callee
def varint_size(value: int) -> int:
    """Bytes of SQLite's variable-length form of a number below 2**56."""
    size = 1
    while value > 127:
        value >>= 7
        size += 1
    return size


@callee
def put_varint(out: Any, at: int, value: int) -> int:
    """Write the variable-length form; returns where the next goes."""
    size = varint_size(value)
    for k in range(size):
        more = 0 if k == size - 1 else 128
        out[at + k] = np.uint8(value >> 7 * (size - 1 - k) & 127 | more)
    return at + size


def copy(out: Any, at: int, source: Any, start: Any, stop: Any) -> int:
    """Copy bytes; returns where the next go."""
    end = at + int(stop - start)
    out[at:end] = source[start:stop]
    return end


@before_compiling
def _compile_copy() -> None:
    """The same: slices take longer to compile."""
    from numba.extending import overload

    @overload(copy, jit_options=CALLEE)
    def compiled(out: Any, at: Any, source: Any, start: Any, stop: Any) -> Any:  # noqa: ARG001
        def copy(out: Any, at: Any, source: Any, start: Any, stop: Any) -> Any:
            # unsigned: what may be negative is asked for its sign at each byte, not copied in
            # blocks
            to, first = np.uint64(at), np.uint64(start)
            for k in range(np.uint64(stop - start)):
                out[to + k] = source[first + k]
            return at + stop - start

        return copy


@jit()
def fill(  # noqa: PLR0913  arrays, not a tuple of them: see jit
    leaf: Any, state: Any, rows: Any, starts: Any, rowid: int, page: int, out: Any, ends: Any
) -> tuple[int, int]:
    """Lay down rows; full leaves and overflow pages go to ``out``.

    Args:
        leaf: The leaf in hand, (PAGE,) bytes.
        state: Its state, see ``CELLS`` and ``CONTENT``.
        rows: Records of all rows, one after the other.
        starts: (n + 1,) where each starts in ``rows``.
        rowid: Number of the first row; the others follow.
        page: Number that the next page of the file gets.
        out: Takes whole pages.
        ends: Takes a row for each full leaf: its page, and the number of its last row.

    Returns:
        The number of pages in ``out``, and of rows in ``ends``.
    """
    top = full = 0
    for k in range(len(starts) - 1):
        size = starts[k + 1] - starts[k]
        local = _local(size)
        need = varint_size(size) + varint_size(rowid + k) + local + (4 if local < size else 0)
        if state[CELLS] and 10 + 2 * state[CELLS] + need > state[CONTENT]:
            top = _skip(page, top, out)
            ends[full, 0], ends[full, 1] = page + top, rowid + k - 1
            seal(leaf, state)
            copy(out, top * PAGE, leaf, np.int64(0), np.int64(PAGE))
            top, full = top + 1, full + 1
            clear(leaf, state)
        at = state[CONTENT] - need
        put_be(leaf, 8 + 2 * state[CELLS], np.int64(2), at)
        state[CELLS], state[CONTENT] = state[CELLS] + 1, at
        at = put_varint(leaf, at, size)
        at = put_varint(leaf, at, rowid + k)
        at = copy(leaf, at, rows, starts[k], starts[k] + local)
        if local < size:
            top = _skip(page, top, out)
            put_be(leaf, at, np.int64(4), page + top)
            top = _spill(rows, starts[k] + local, starts[k + 1], page, out, top)
    return top, full


@callee
def clear(leaf: Any, state: Any) -> None:
    """Begin a new leaf."""
    leaf[:] = 0
    leaf[0] = 13
    state[CELLS], state[CONTENT] = 0, PAGE


@callee
def seal(leaf: Any, state: Any) -> None:
    """Complete the head of a leaf."""
    leaf[3], leaf[4] = state[CELLS] >> 8, state[CELLS] & 255
    leaf[5], leaf[6] = state[CONTENT] >> 8, state[CONTENT] & 255


@jit()
def inner(ends: Any, start: int, stop: int, out: Any) -> None:
    """Write an inner page over the pages ``ends[start:stop]`` (at least one) into ``out``."""
    out[:] = 0
    out[0] = 5
    content = PAGE
    for k in range(start, stop - 1):
        content -= 4 + varint_size(ends[k, 1])
        put_be(out, 12 + 2 * (k - start), np.int64(2), content)
        put_varint(out, put_be(out, content, np.int64(4), ends[k, 0]), ends[k, 1])
    put_be(out, np.int64(3), np.int64(2), stop - 1 - start)
    put_be(out, np.int64(5), np.int64(2), content)
    put_be(out, np.int64(8), np.int64(4), ends[stop - 1, 0])


@callee
def _local(size: int) -> int:
    """How many bytes of a record stay on its leaf."""
    if size <= _MOST_LOCAL:
        return size
    local = _LEAST_LOCAL + (size - _LEAST_LOCAL) % _OVERFLOW
    return local if local <= _MOST_LOCAL else _LEAST_LOCAL


@callee
def _skip(page: int, top: int, out: Any) -> int:
    """Leave SQLite's page of locks empty."""
    if page + top != LOCK_PAGE:
        return top
    out[top * PAGE : (top + 1) * PAGE] = 0
    return top + 1


@callee
def _spill(rows: Any, start: int, stop: int, page: int, out: Any, top: int) -> int:
    """Chain what does not fit on the leaf over pages of its own."""
    while start < stop:
        top = _skip(page, top, out)
        part = min(stop - start, _OVERFLOW)
        base = top * PAGE
        after = page + top + 1
        following = 0 if start + part == stop else after + (after == LOCK_PAGE)
        copy(out, put_be(out, base, np.int64(4), following), rows, start, start + part)
        out[base + 4 + part : base + PAGE] = 0
        start += part
        top += 1
    return top
