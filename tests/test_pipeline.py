"""Stages at once: order kept, queues bounded, errors reach the caller, no thread is left."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet.pipeline import Ahead, Behind, dealt


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class BrokenError(Exception):
    pass


def feed(sink, items):
    with sink:
        for item in items:
            sink.put(item)


@given(st.lists(st.integers()), st.integers(1, 4))
def test_what_goes_in_comes_out_in_order(items, depth):
    taken = []
    with Ahead(iter(items), depth=depth) as source, Behind(taken.append, depth=depth) as sink:
        for item in source:
            sink.put(item)
    assert taken == items


def test_reading_stays_a_bounded_way_ahead():
    made, go = [], threading.Semaphore(0)

    def items():
        for i in range(20):
            made.append(i)
            go.release()
            yield i

    with Ahead(items(), depth=2) as source:
        iterator = iter(source)
        next(iterator)
        for _ in range(3):  # one taken, two ahead
            assert go.acquire(timeout=5)
        assert not go.acquire(timeout=0.2)
        assert made == [0, 1, 2]


@given(st.integers(0, 5))
def test_an_error_while_reading_is_raised_after_what_was_read(good):
    def items():
        yield from range(good)
        raise BrokenError

    seen = []
    with pytest.raises(BrokenError), Ahead(items()) as source:
        seen.extend(source)
    assert seen in (list(range(good)), [])


@given(st.integers(0, 5))
def test_an_error_while_writing_ends_the_run(good):
    seen = []

    def consume(item):
        if item == good:
            raise BrokenError
        seen.append(item)

    with pytest.raises(BrokenError):
        feed(Behind(consume), range(1000))
    assert seen == list(range(good))


def test_an_error_at_the_last_item_is_not_lost():
    def consume(_):
        raise BrokenError

    with pytest.raises(BrokenError), Behind(consume) as sink:
        sink.put(1)


def test_an_error_in_the_middle_stops_both_sides():
    taken, endless = [], iter(int, 1)

    def run():
        with Ahead(endless) as source, Behind(taken.append) as sink:
            for item in source:
                sink.put(item)
                raise BrokenError

    with pytest.raises(BrokenError):
        run()
    assert len(taken) <= 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_stage_is_passed_on(error):
    def items():
        yield 1
        raise error

    with pytest.raises(error), Ahead(items()) as source:
        list(source)


def test_an_interrupt_while_waiting_for_the_writer_stops_it(monkeypatch):
    """Ctrl-C comes to the main thread, which then waits in join."""
    started, release, taken = threading.Event(), threading.Event(), []

    def consume(item):
        started.set()
        release.wait(5)
        taken.append(item)

    sink = Behind(consume, depth=3)
    join, calls = sink._thread.join, []

    def interrupted(timeout=None):
        calls.append(timeout)
        if len(calls) == 1:
            assert started.wait(5)
            raise KeyboardInterrupt
        release.set()
        join(timeout)

    monkeypatch.setattr(sink._thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        feed(sink, range(3))
    assert taken == [0]


def test_leaving_early_needs_no_exhausting():
    with Ahead(iter(int, 1), depth=1) as source:
        for item in source:
            assert item == 0
            break


@given(st.lists(st.integers()), st.integers(1, 4))
def test_what_is_dealt_comes_back_in_order(items, number):
    workers = [lambda item, i=i: (item, i) for i in range(number)]
    assert list(dealt(iter(items), workers)) == [(item, i % number) for i, item in enumerate(items)]


def test_workers_work_at_once():
    meet = threading.Barrier(3, timeout=5)
    assert list(dealt(range(9), [lambda i: (meet.wait(), i)[1]] * 3)) == list(range(9))


def test_a_worker_has_one_item_at_a_time():
    busy = threading.Lock()

    def work(item):
        assert busy.acquire(blocking=False)
        busy.release()
        return item

    others = [lambda item: item] * 2
    assert list(dealt(range(50), [work, *others])) == list(range(50))


def test_dealing_takes_no_more_than_it_needs():
    taken = []

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    made = dealt(items(), [lambda i: i] * 3)
    assert next(made) == 0
    assert taken == [0, 1, 2, 3]
    made.close()


@given(st.integers(0, 6), st.integers(1, 3))
def test_an_error_of_a_worker_takes_the_place_of_its_result(good, number):
    def work(item):
        if item == good:
            raise BrokenError(item)
        return item

    seen = []
    with pytest.raises(BrokenError, match=str(good)):
        seen.extend(dealt(iter(range(10)), [work] * number))
    assert seen == list(range(good))


@given(st.integers(1, 3))
def test_an_error_of_the_items_comes_through_the_dealing(number):
    def items():
        yield 1
        raise BrokenError("no more")

    with pytest.raises(BrokenError, match="no more"):
        list(dealt(items(), [lambda i: i] * number))
