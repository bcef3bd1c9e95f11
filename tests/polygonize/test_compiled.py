"""How the inner loops are compiled, and kept."""

from __future__ import annotations

from geounet.polygonize import compiled
from geounet.polygonize.compiled import callee, jit


def test_where_nothing_can_be_cached_the_code_is_compiled_anew() -> None:
    """A function without a file stands for a package folder and a home that are read-only."""
    room: dict = {}
    exec("def double(x):\n    return 2 * x", room)
    assert jit(room["double"])(21) == 42


def test_what_is_kept_depends_on_the_files_of_callees(monkeypatch) -> None:
    stamp = jit(triple)._cache._cache_file._source_stamp
    assert jit(triple)._cache._cache_file._source_stamp == stamp
    monkeypatch.setattr(compiled, "_sources", lambda: "another callee")
    assert jit(triple)._cache._cache_file._source_stamp != stamp


def triple(x):
    return 3 * x


def test_a_full_disk_under_the_cache_is_no_error(monkeypatch) -> None:
    calls = []

    def full(*_args):
        calls.append(1)
        raise OSError(28, "No space left on device")

    function = jit(triple)
    monkeypatch.setattr(function._cache._cache, "save_overload", full)
    monkeypatch.setattr(function._cache._cache, "load_overload", lambda *_: None)
    assert function(14) == 42
    assert calls


@callee
def half(x):
    return x / 2


def test_what_is_compiled_can_call_a_callee() -> None:
    room: dict = {"half": half}
    exec("def quarter(x):\n    return half(half(x))", room)
    assert jit(room["quarter"])(42.0) == 10.5
