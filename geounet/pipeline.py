"""Stages that run at once behind bounded queues; an error in one ends them all."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
U = TypeVar("U")

_POLL = 0.05  # seconds after which a blocked stage looks whether the run has ended


class _End:
    """Marks the end of a queue."""


class Ahead(Generic[T]):
    """Runs an iterable in a thread of its own, at most ``depth`` items ahead.

    An item that is being made counts: it is begun only when there is room for it.

    A context manager that iterates: an error in the thread is raised where the items are taken, and
    leaving the context stops and joins the thread.
    """

    def __init__(self, items: Iterable[T], depth: int = 2) -> None:
        self._items = items
        self._room = threading.Semaphore(depth)
        self._queue: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="geounet-read", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._room.release()  # wakes the thread where it waits
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while not isinstance(item := self._queue.get(), _End):
            self._room.release()
            yield item
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            items = iter(self._items)
            while self._has_room():
                self._queue.put(next(items))
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001  it is raised again by the consumer
            self._error = error
        self._queue.put(_End())

    def _has_room(self) -> bool:
        """Wait for room for one more item; False when the run has ended."""
        self._room.acquire()
        return not self._stop.is_set()


class Behind(Generic[T]):
    """Hands items to ``consume`` in a thread of its own, at most ``depth`` items behind.

    A context manager: leaving it without an error waits until everything was consumed; leaving it
    with one drops what is queued. An error in the thread is raised by the next ``put`` or on exit.
    """

    def __init__(self, consume: Callable[[T], None], depth: int = 2) -> None:
        self._consume = consume
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="geounet-write", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                _put(self._queue, _End(), self._stop)
                self._thread.join()
        finally:  # an interrupt while we wait must not leave the thread at work
            self._stop.set()
            self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        """Queue an item; waits while the queue is full."""
        if not _put(self._queue, item, self._stop) and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    item = self._queue.get(timeout=_POLL)
                except queue.Empty:
                    continue
                if isinstance(item, _End):
                    return
                self._consume(item)
        except BaseException as error:  # noqa: BLE001  it is raised again by the producer
            self._error = error
            self._stop.set()


def _put(target: queue.Queue[T | _End], item: T | _End, stop: threading.Event) -> bool:
    """Put, unless the run ends first."""
    while not stop.is_set():
        try:
            target.put(item, timeout=_POLL)
        except queue.Full:
            continue
        return True
    return False


def dealt(items: Iterable[T], workers: Sequence[Callable[[T], U]]) -> Iterator[U]:
    """What workers make of items, in the order of the items.

    Items are dealt in turn, so that which worker gets which does not depend on their speed. Several
    workers have a thread each, and as many items as there are workers, and one more, are in the
    making or wait to be taken. A single worker runs where the results are taken.

    An error in a worker is raised in the place of its result; then, or when the iterator is closed,
    what was begun is waited for and the rest is dropped.
    """
    if len(workers) == 1:
        yield from map(workers[0], items)
        return
    threads = [ThreadPoolExecutor(1, thread_name_prefix="geounet-work") for _ in workers]
    waiting: deque[Future[U]] = deque()
    try:
        for i, item in enumerate(items):
            place = i % len(workers)
            waiting.append(threads[place].submit(workers[place], item))
            if len(waiting) > len(workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for thread in threads:
            thread.shutdown(wait=False, cancel_futures=True)
        for thread in threads:
            thread.shutdown()
