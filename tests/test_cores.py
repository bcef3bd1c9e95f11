"""Cores are those that this process may run on."""

from __future__ import annotations

from geounet.cores import usable_cores


def test_cores_that_are_forbidden_do_not_count(monkeypatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {2, 5, 7}, raising=False)
    assert usable_cores() == 3


def test_where_the_system_does_not_tell_all_count(monkeypatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    for told, number in ((8, 8), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda told=told: told)
        assert usable_cores() == number
