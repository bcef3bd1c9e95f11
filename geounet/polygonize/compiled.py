"""How the inner loops are compiled, and when they are not.

Numba is imported when something is compiled or loaded, so that a small raster does without: numba
and its compiler take a second to begin, and interpreting is done in less.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., object])

CALLEE: Any = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Options of what only kernels call: without what Python would need to, it compiles faster."""

_SECONDS_AN_ITEM = 5e-7
"""What interpreting costs for each item of the arrays that a kernel gets, roughly."""


class Kernel:
    """A function that is compiled on first use and kept on disk for the next process.

    It runs without the GIL. While :data:`INTERPRETER` has time left, one that was never compiled
    here is interpreted instead, with the same result: for small rasters that is the faster way.
    Where neither the package's folder nor a cache folder of the user can be written, it is compiled
    anew in each process.
    """

    def __init__(
        self, function: Callable[..., Any], interpreted: Callable[..., Any] | None = None
    ) -> None:
        functools.update_wrapper(self, function)
        self.name = f"{function.__module__}.{function.__qualname__}"
        self._function, self._interpreted = function, interpreted or function
        self._ready = False

    def __call__(self, *args: Any) -> Any:
        """What the function returns."""
        if INTERPRETER.insists_on(self) or (
            not self._ready and INTERPRETER.can_afford(args, self.is_kept)
        ):
            return INTERPRETER.run(self._interpreted, args)
        self._ready = True
        return self._compiled(*args)

    @functools.cached_property
    def _compiled(self) -> Any:
        """What numba makes of it, when it is called."""
        with _ONE_BY_ONE:
            import numba

            while _PENDING:
                _PENDING.pop(0)()
            try:
                made: Any = numba.njit(cache=True, nogil=True)(self._function)
            except RuntimeError:  # "cannot cache function: no locator available"
                return numba.njit(nogil=True)(self._function)
            if hasattr(made, "_cache"):  # not with NUMBA_DISABLE_JIT
                made._cache = _Cache(made._cache)  # noqa: SLF001  numba offers no other way
            return made

    @property
    def can_be_kept(self) -> bool:
        """Whether there is a folder for what was compiled."""
        return isinstance(getattr(self._compiled, "_cache", None), _Cache)

    def is_kept(self) -> bool:
        """Whether another process has compiled it."""
        return self.can_be_kept and self._compiled._cache.holds_any()  # noqa: SLF001  as above


def jit(*, interpreted: Callable[..., object] | None = None) -> Callable[[F], F]:
    """Make a function a :class:`Kernel`.

    Callees should take arrays, not a tuple of many: each costs compile time in each function that
    takes the tuple.

    Args:
        interpreted: What does the same and is faster when it is not compiled.
    """

    def decorate(function: F) -> F:
        return cast(F, Kernel(function, interpreted))

    return decorate


def callee(function: F) -> F:
    """Let a function be called by kernels, with which it is compiled, and by Python."""

    @before_compiling
    def register() -> None:
        from numba.extending import register_jitable

        register_jitable(**CALLEE)(function)

    return function


def before_compiling(tell: Callable[[], None]) -> Callable[[], None]:
    """Call this before anything is compiled: it tells numba of what kernels call."""
    _PENDING.append(tell)
    return tell


_PENDING: list[Callable[[], None]] = []
_ONE_BY_ONE = threading.RLock()


class _Here(threading.local):
    """What holds for one thread."""

    def __init__(self) -> None:
        self.compiles: Collection[str] | None = None
        self.seen: list[Kernel] = []


class Interpreter:
    """Seconds of processor that may be spent on interpreting kernels, not on compiling them."""

    def __init__(self) -> None:
        self._here = _Here()
        self._seconds, self._at_once, self._granted = 0.0, 0.0, False
        self._then: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def grant(self, seconds: float, then: Callable[[], object], *, at_once: float = 0.0) -> None:
        """Seconds, the first time only; ``then`` is called when they are used up.

        In the first of them, ``at_once``, it does not matter whether a kernel was compiled before.
        """
        with self._lock:
            if not self._granted:
                self._seconds, self._then, self._granted = seconds, then, True
                self._at_once = at_once

    @contextlib.contextmanager
    def all_but(self, names: Collection[str]) -> Iterator[list[Kernel]]:
        """Interpret everything but the kernels of these names; gives those that are called.

        That is for this thread alone.
        """
        self._here.compiles, self._here.seen = names, []
        try:
            yield self._here.seen
        finally:
            self._here.compiles = None

    def insists_on(self, kernel: Kernel) -> bool:
        """Whether a kernel must not be compiled, whatever that costs."""
        if self._here.compiles is None:
            return False
        self._here.seen.append(kernel)
        return kernel.name not in self._here.compiles

    def can_afford(self, args: Iterable[Any], is_kept: Callable[[], bool]) -> bool:
        """Whether a kernel with these arguments will be done in time."""
        if not self._granted:
            return False
        cost = _SECONDS_AN_ITEM * sum(_items(args))
        if 0 < self._at_once >= cost:
            return True
        if is_kept():
            return False
        if 0 < self._seconds >= cost:
            return True
        with self._lock:
            self._seconds, then, self._then = 0.0, self._then, None
        if then is not None:
            then()
        return False

    def run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """What a function returns, and less time is left."""
        start = time.thread_time()  # others may have the processor
        with np.errstate(over="raise"):  # compiled, numbers are wider: no other result than theirs
            result = function(*args)
        with self._lock:
            spent = time.thread_time() - start
            self._seconds -= spent
            self._at_once -= spent
        return result


INTERPRETER = Interpreter()
"""That of this process; it has no time until some is granted."""


def _items(args: Iterable[Any]) -> Iterator[int]:
    for value in args:
        if isinstance(value, np.ndarray):
            yield value.size
        elif isinstance(value, tuple):
            yield from _items(value)


@functools.cache
def _sources() -> str:
    """Identifies all that may have been compiled into a function with its callees."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    with contextlib.suppress(OSError):
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return ""


class _Cache:
    """Numba's cache, to which a full disk is no error, and which knows of callees."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        kept: Any = getattr(cache, "_cache_file", None)
        if hasattr(kept, "_source_stamp"):
            # numba looks at a function's own file alone, and a callee may be in another
            kept._source_stamp = (kept._source_stamp, _sources())  # noqa: SLF001  as above

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def holds_any(self) -> bool:
        """Whether there is something in it that is not out of date."""
        with contextlib.suppress(Exception):  # whatever is wrong with it, numba will see to that
            return bool(self._cache._cache_file._load_index())  # noqa: SLF001  as above
        return False

    def save_overload(self, signature: Any, data: Any) -> None:
        """Save what was compiled, or go on without."""
        with contextlib.suppress(OSError):
            self._cache.save_overload(signature, data)
