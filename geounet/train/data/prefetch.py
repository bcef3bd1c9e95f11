"""The next batches are read while the network works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

_AHEAD = 3  # batches
_POLL = 0.1  # seconds until a reader that nobody listens to notices


class PrefetchLoader(DataLoader[dict[str, Any]]):
    """A loader whose batches come from one thread, in the same order, at most three ahead.

    A thread and not processes: it shares the cache of decoded pixels, and numpy copies without
    the interpreter's lock. It ends with the iteration, however that ends; what it raises is raised
    where the batch is asked for.
    """

    def __iter__(self) -> Any:
        """The batches."""
        # made here, not in the thread: it may draw from torch's generator
        return _ahead(super().__iter__())


def _ahead(batches: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(_AHEAD)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(batches, ready, stop), daemon=True)
    thread.start()
    try:
        while (item := ready.get())[0] == "batch":
            yield item[1]
        if item[0] == "error":
            raise item[1]
    finally:
        stop.set()
        thread.join()


def _fill(
    batches: Iterator[dict[str, Any]], ready: queue.Queue[tuple[str, Any]], stop: threading.Event
) -> None:
    try:
        for batch in batches:
            if not _put(("batch", batch), ready, stop):
                return
        _put(("end", None), ready, stop)
    except BaseException as error:  # noqa: BLE001  it is raised again by whoever waits
        _put(("error", error), ready, stop)


def _put(item: tuple[str, Any], ready: queue.Queue[tuple[str, Any]], stop: threading.Event) -> bool:
    """Whether it was put before the iteration ended."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=_POLL)
        except queue.Full:
            continue
        return True
    return False
