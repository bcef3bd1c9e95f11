"""How the inner loops are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def jit(function: F) -> F:
    """Compile on first use, without the GIL, and keep the result on disk for the next process.

    Callees should take arrays, not a tuple of many: numba counts references to each array that is
    taken out of a tuple. Where neither the package's folder nor a cache folder of the user can be
    written, the function is compiled anew in each process.
    """
    try:
        return cast(F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # "cannot cache function: no locator available"
        return cast(F, numba.njit(nogil=True)(function))
