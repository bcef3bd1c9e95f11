"""How the inner loops are compiled."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def jit(function: F) -> F:
    """Compile on first use, without the GIL, and keep the result on disk for the next process.

    Callees should take arrays, not a tuple of many: each costs compile time in each function that
    takes the tuple. Where neither the package's folder nor a cache folder of the user can be
    written, the function is compiled anew in each process.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # "cannot cache function: no locator available"
        return cast(F, numba.njit(nogil=True)(function))
    if hasattr(compiled, "_cache"):  # not with NUMBA_DISABLE_JIT
        compiled._cache = _Forgiving(compiled._cache)  # noqa: SLF001  numba offers no other way
    return cast(F, compiled)


@functools.cache
def _sources() -> str:
    """Identifies all that may have been compiled into a function with its callees."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    with contextlib.suppress(OSError):
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return ""


def callee(function: F) -> F:
    """Compile for callers that are compiled, too, and that keep the result with their own.

    Without what Python would need to call it, this takes about half the time.
    """
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(F, numba.njit(nogil=True, **options)(function))


def is_kept(function: Any) -> bool:
    """Whether a compiled function need not be compiled again, or cannot be kept."""
    cache = getattr(function, "_cache", None)
    folder = getattr(cache, "cache_path", None)
    if folder is None:
        return True
    return any(Path(folder).glob(f"*.{function.py_func.__name__}-*.nbi"))


class _Forgiving:
    """Numba's cache, to which a full disk is no error, and which knows of callees."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        kept: Any = getattr(cache, "_cache_file", None)
        if hasattr(kept, "_source_stamp"):
            # numba looks at a function's own file alone, and a callee may be in another
            kept._source_stamp = (kept._source_stamp, _sources())  # noqa: SLF001  as above

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def save_overload(self, signature: Any, data: Any) -> None:
        """Save what was compiled, or go on without."""
        with contextlib.suppress(OSError):
            self._cache.save_overload(signature, data)
