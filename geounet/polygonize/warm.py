"""What a first start does about what was never compiled here: go without, or do it at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import cast

from geounet.cores import usable_cores
from geounet.polygonize.compiled import INTERPRETER, Kernel
from geounet.polygonize.front import join_band
from geounet.polygonize.holes import enclose
from geounet.polygonize.merging import merge_small
from geounet.polygonize.rehearsal import Rehearsal
from geounet.polygonize.rounding import round_rings
from geounet.polygonize.simplify import choose_vertices
from geounet.polygonize.smooth import smooth_rings

_SMALL = 4_000_000
"""Pixels up to which it may be worth while to do without compiling."""

_PATIENCE = 4.0
"""Seconds for which that is tried."""

_TINY = 600_000
"""Pixels up to which it is also sooner done than loading what was compiled before."""

_LOADING = 2.0
"""Seconds of processor that loading takes, with importing numba and starting its compiler."""

_PROCESSES = 4
"""That compile at once; the longest function takes as long as a fifth of all."""

_START = 1.5
"""Seconds that a process needs to begin."""


def get_ready(
    pixels: int, say: Callable[[str], object], run: Rehearsal, *, wait: bool = True
) -> None:
    """Before polygonising a raster for the first time here: compile for a large one.

    A small one is done sooner when the compiled functions are interpreted; if that takes too long
    after all, they are compiled then.

    Args:
        pixels: Of the raster.
        say: Hears that something is compiled.
        run: What will be done.
        wait: Whether to return only then; who comes too early waits anyway.
    """

    def compile_now() -> None:
        missing = [name for name, kernel in _needed(run) if _is_missing(kernel)]
        if _BASE in missing:
            say(
                "the first run with many polygons compiles the polygoniser, once: half a minute"
                " or so"
            )
        elif missing:
            what = " and ".join(missing)
            say(f"the first run with {what} compiles that, ten seconds or so, once")
        if missing:
            compile_ahead(run)

    if pixels <= _SMALL:
        at_once = _LOADING if pixels <= _TINY else 0.0
        INTERPRETER.grant(_PATIENCE, then=compile_now, at_once=at_once)
    elif wait:
        compile_now()
    else:
        threading.Thread(target=compile_now, name="compile-polygons").start()


_BASE = "polygons"


def _needed(run: Rehearsal) -> Iterator[tuple[str, Kernel]]:
    """What people ask for, and the function of it that takes longest to compile."""
    tracing = run.tracing
    yield _BASE, cast("Kernel", join_band)
    if tracing.simplify is not None:
        yield "--simplify", cast("Kernel", choose_vertices)
    if tracing.smooth:
        how = smooth_rings if tracing.simplify is None else round_rings
        yield "--smooth", cast("Kernel", how)
    if run.sieved:
        yield "--min-area", cast("Kernel", merge_small)
        yield "--max-hole", cast("Kernel", enclose)


def _is_missing(kernel: Kernel) -> bool:
    """Whether compiling it now would be of use later."""
    return kernel.can_be_kept and not kernel.is_kept()


def compile_ahead(run: Rehearsal, processes: int | None = None) -> None:
    """Compile all that a run needs and that was never compiled here, in several processes.

    Args:
        run: What will be done.
        processes: How many; None: as many as there are cores, and work.
    """
    missing = [kernel.name for kernel in run.kernels() if _is_missing(kernel)]
    work = sum(map(_seconds, missing))
    most = min(_PROCESSES, usable_cores(), 1 + int(work / (2 * _START)))
    own, *others = shares(missing, processes or most)
    command = "import sys; from geounet.polygonize.warm import compile_share as c; c(*sys.argv[1:])"
    with ExitStack() as running:
        for share in others:
            argv = [sys.executable, "-c", command, run.to_json(), *share]
            running.enter_context(
                subprocess.Popen(  # noqa: S603  our own Python and text
                    argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
        run.compile(frozenset(own))


def compile_share(run: str, *names: str) -> None:
    """One of the processes: compile these functions of a run, told as JSON."""
    Rehearsal.from_json(run).compile(frozenset(names))


def shares(names: Sequence[str], number: int) -> list[list[str]]:
    """Functions in so many parts, or fewer, that take about as long; the first a little less."""
    parts: list[list[str]] = [[] for _ in range(number)]
    loads = [0.0] + [_START] * (number - 1)
    for name in sorted(names, key=_seconds, reverse=True):
        least = loads.index(min(loads))
        parts[least].append(name)
        loads[least] += _seconds(name)
    return [parts[0], *(part for part in parts[1:] if part)]


def _seconds(name: str) -> float:
    """What compiling a function takes, roughly: only how they compare matters."""
    return _COSTS.get(name.rpartition(".")[2], 0.3)


_COSTS = {
    "join_band": 5.2,
    "smooth_rings": 4.9,
    "choose_vertices": 3.3,
    "closed_features": 3.0,
    "_features": 2.2,
    "drain": 2.0,
    "fill": 1.8,
    "trace_arcs": 1.6,
    "_boxes": 1.4,
    "merge_small": 1.4,
    "_rows": 1.1,
    "round_rings": 1.1,
    "link_corners": 1.0,
    "mark_corners": 0.9,
    "enclose": 0.8,
    "write_features": 0.8,
    "_brackets": 0.7,
    "join_runs": 0.7,
    "trace_paths": 0.6,
}
