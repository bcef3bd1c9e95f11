"""Workers: those of a scheduler that is there, or local ones, one a GPU or one a core."""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from geounet.batch.options import BatchOptions
from geounet.cores import usable_cores
from geounet.errors import ClusterError, DependencyError

_WORKER_BYTES = 2e9
"""That a worker should have: tiles are as large as fits into about a gigabyte."""

_CONNECT = 20
"""Seconds until a scheduler answers."""

_PATIENCE = 60
"""Seconds until a scheduler has a worker, or has one again."""

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"

_CONFIG = {
    # a task whose worker died is ours to try again: with a row in the manifest, and a limit
    "distributed.scheduler.allowed-failures": 0,
    # glibc would hand back memory after each little piece of it; what is large goes back anyway
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # workers are forked from one process that has imported what they need: see get_ready
    "distributed.worker.multiprocessing-method": _METHOD,
    # nothing is managed here that could be spilled, and a worker that pauses never goes on
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


class Crew:
    """A client with its workers.

    Args:
        client: Connected.
        address: Of the scheduler, for messages.
    """

    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address = client, address
        self._size, self._looked = 1, -math.inf
        self._gone: float | None = None

    @property
    def size(self) -> int:
        """Tasks that run at once, by a look that is no older than a second; at least 1.

        Raises:
            ClusterError: There is no worker, and none came for a minute.
        """
        now = time.monotonic()
        if now - self._looked >= 1:
            self._looked = now
            with contextlib.suppress(OSError):  # a lost connection ends what it runs
                self._size = sum(map(int, self.client.ncores().values()))
            if self._size:
                self._gone = None
            elif self._gone is None:  # by this look, however long ago the last one was
                self._gone = now
        if self._gone is not None and now - self._gone > _PATIENCE:
            raise ClusterError(
                f"the scheduler at {self.address} has no worker any more: start some; the same"
                " command goes on with what is finished"
            )
        return max(1, self._size)

    @property
    def dashboard(self) -> str | None:
        """Where it shows what it does; None: nowhere."""
        if find_spec("bokeh") is None:
            return None
        with contextlib.suppress(KeyError, ValueError, TypeError, OSError):
            return str(self.client.dashboard_link) or None
        return None


def get_ready(options: BatchOptions) -> None:
    """Begin to import what local workers need, beside whatever comes before they start."""
    if options.scheduler is None and _METHOD == "forkserver":
        from multiprocessing import forkserver

        multiprocessing.set_forkserver_preload(["distributed.nanny", "geounet.batch.work"])
        forkserver.ensure_running()


@contextmanager
def crew(options: BatchOptions) -> Iterator[Crew]:
    """Connect, or start workers; an error or interrupt ends local ones at once.

    Raises:
        DependencyError: dask.distributed is not installed.
        ClusterError: There is no scheduler, or it has no worker.
    """
    if find_spec("distributed") is None:
        raise DependencyError(
            'a batch needs dask.distributed, which is not installed: pip install "geounet[batch]"'
        )
    _be_quiet()
    with _remote(options.scheduler) if options.scheduler else _local(options) as ready:
        yield ready


@contextmanager
def _remote(address: str) -> Iterator[Crew]:
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"--scheduler {address}: no scheduler answers there: start one with `dask scheduler`,"
            " or check the address"
        ) from error
    try:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise ClusterError(
                f"--scheduler {address} has no worker: start some with `dask worker {address}"
                " --nthreads 1`"
            ) from error
        yield Crew(client, address)
    finally:
        with contextlib.suppress(Exception):  # one that is lost cannot be closed
            client.close(timeout=5)


@contextmanager
def _local(options: BatchOptions) -> Iterator[Crew]:
    import dask
    from distributed import Client, Nanny, Scheduler
    from distributed.deploy.spec import SpecCluster

    gpus = visible_gpus(options.segment.device)
    environments = worker_environments(options.workers, gpus)
    shows = find_spec("bokeh") is not None
    before = dict(os.environ)  # the nannies change it
    worker = {"nthreads": 1, "host": "127.0.0.1", "silence_logs": logging.CRITICAL}
    worker |= {"memory_limit": _memory() / len(environments), "dashboard": False}
    with dask.config.set(_CONFIG):
        cluster = SpecCluster(
            workers={
                i: {"cls": Nanny, "options": {**worker, "env": dict(environment)}}
                for i, environment in enumerate(environments)
            },
            scheduler={
                "cls": Scheduler,
                "options": {
                    "host": "127.0.0.1",
                    "port": 0,
                    "dashboard": shows,
                    "dashboard_address": "127.0.0.1:0",  # not 8787, which others may have
                },
            },
            silence_logs=logging.CRITICAL,
            name="geounet",
        )
        try:
            with Client(cluster, set_as_default=False) as client:
                try:
                    yield Crew(client, cluster.scheduler_address)
                except BaseException:
                    _end_workers(cluster.workers.values())
                    raise
        finally:
            with contextlib.suppress(Exception):
                cluster.close(timeout=5)
            os.environ.clear()
            os.environ.update(before)


def worker_environments(
    asked: int | None, gpus: Sequence[str], *, cores: int | None = None, memory: float | None = None
) -> list[Mapping[str, str]]:
    """What each local worker finds in its environment.

    Workers share the cores, unless ``OMP_NUM_THREADS`` says how many threads each has. Of several
    GPUs each has one, in turn.

    Args:
        asked: Number of workers; None: one a GPU, or one a core as far as memory goes.
        gpus: Names of GPUs as in ``CUDA_VISIBLE_DEVICES``; none: CPU.
        cores: Of this machine; None: those that may be used.
        memory: In bytes; None: this machine's.
    """
    cores = usable_cores() if cores is None else cores
    room = int((_memory() if memory is None else memory) // _WORKER_BYTES)
    number = asked or len(gpus) or max(1, min(cores, room))
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores // number))
    return [
        {"OMP_NUM_THREADS": threads}
        | ({"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {})
        for i in range(number)
    ]


def visible_gpus(device: str) -> list[str]:
    """The GPUs that workers share out, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if device != "cuda" or named or find_spec("torch") is None:
        return named if device == "cuda" else []
    from geounet.engine.device import cuda_devices

    return [str(i) for i in range(cuda_devices())]


def _memory() -> float:
    """Bytes that this process may use."""
    from distributed.system import MEMORY_LIMIT

    return float(MEMORY_LIMIT)


def _be_quiet() -> None:
    """What dask logs of workers and schedulers that die is said in one line of ours."""
    import distributed.client  # sets the levels of its loggers when it is imported  # noqa: F401

    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _end_workers(nannies: Any) -> None:
    """End local workers in the middle of what they do: what they have kept is whole."""
    for nanny in nannies:
        nanny.auto_restart = False
        if nanny.pid is not None:
            with contextlib.suppress(OSError):
                os.kill(nanny.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
