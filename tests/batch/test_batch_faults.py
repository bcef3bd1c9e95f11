"""Whatever is killed, in the middle: the run ends right, or says what it lacks and goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import rasters
from batches import NAMES, content, noise, segmented

from geounet.batch.manifest import Manifest

pytest.importorskip("distributed")

TILE = 128


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """Large enough to be cut into bands."""
    path = tmp_path_factory.mktemp("scene") / "wide.tif"
    return rasters.write(path, noise(5, 2300, 2000), names=NAMES)


@pytest.fixture(scope="module")
def model(batch_models) -> Path:
    return batch_models["exact"]


@pytest.fixture(scope="module")
def expected(scene, model, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("expected") / "out"
    return segmented(folder, [scene], model, tile=TILE, polygons=False)


def command(folder: Path, model: Path, *arguments) -> list[str]:
    argv = ["batch", *arguments, "-o", folder, "-m", model, "--tile", TILE, "--no-polygons"]
    return [sys.executable, "-m", "geounet_cli", *map(str, argv)]


def strips(folder: Path) -> int:
    return len(list(folder.glob(".*.parts/*.strip")))


@contextmanager
def begun(argv: list[str], folder: Path, *, after: int = 2) -> Iterator[subprocess.Popen[str]]:
    """A batch that has computed something, but not all."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            while strips(folder) < after and run.poll() is None:
                time.sleep(0.002)
            yield run
        finally:
            run.kill()


def workers(run: subprocess.Popen[str]) -> list[psutil.Process]:
    """Children of the process from which they are forked."""
    below = psutil.Process(run.pid).children(recursive=True)
    return [process for process in below if process.ppid() != run.pid]


def states(folder: Path, **wanted) -> list[str]:
    return [
        row["state"]
        for row in Manifest(folder).rows()
        if all(row.get(key) == value for key, value in wanted.items())
    ]


def test_a_worker_is_killed(scene, model, expected, tmp_path) -> None:
    folder = tmp_path / "out"
    with begun(command(folder, model, scene, "--workers", 2), folder) as run:
        workers(run)[0].kill()
        _, stderr = run.communicate(timeout=300)
    assert (run.returncode, stderr) == (0, "")
    assert content(folder) == expected
    again = [row for row in Manifest(folder).rows() if row["state"] == "again"]
    assert {row["error"] for row in again} == {"its worker died (killed, or out of memory)"}
    assert any(row["rows"] for row in again)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_the_driver_is_killed(scene, model, expected, tmp_path, number) -> None:
    folder = tmp_path / "out"
    argv = command(folder, model, scene, "--workers", 2)
    with begun(argv, folder) as run:
        those = workers(run)
        run.send_signal(number)
        _, stderr = run.communicate(timeout=60)
    if number == signal.SIGINT:
        assert run.returncode == 130
        assert stderr == ("geounet: interrupted; the same command goes on with what is finished\n")
    _, alive = psutil.wait_procs(those, timeout=60)
    assert alive == []
    done = strips(folder)
    assert done >= 2
    assert not (folder / "wide.random.tif").exists()
    again = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "was interrupted: going on with" in again.stderr
    assert content(folder) == expected


CLUSTER = """
import sys, time
import dask
from distributed import LocalCluster
if __name__ == "__main__":
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=int(sys.argv[1]), **eval(sys.argv[2]), **options) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@contextmanager
def cluster(tmp_path: Path, number: int, **options) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scheduler with workers that is somebody else's."""
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    argv = [sys.executable, str(script), str(number), repr(options)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            yield run, run.stdout.readline().strip()
        finally:
            run.kill()


def test_the_scheduler_is_lost(scene, model, expected, tmp_path) -> None:
    folder = tmp_path / "out"
    with cluster(tmp_path, 2) as (other, address):
        argv = command(folder, model, scene, "--scheduler", address)
        with begun(argv, folder) as run:
            other.kill()
            _, stderr = run.communicate(timeout=120)
    assert run.returncode == 2
    assert stderr == (
        f"geounet: the connection to the scheduler at {address} was lost: when it runs again, the"
        " same command goes on with what is finished\n"
    )
    assert strips(folder) >= 2
    again = command(folder, model, scene, "--workers", 2)
    subprocess.run(again, capture_output=True, check=True)
    assert content(folder) == expected


@pytest.mark.slow
def test_the_driver_is_killed_and_workers_live_on(scene, model, expected, tmp_path) -> None:
    """Who follows the strips hears that nobody waits, and leaves nothing half-written."""
    folder = tmp_path / "out"
    with cluster(tmp_path, 2) as (_, address):
        argv = command(folder, model, scene, "--scheduler", address)
        with begun(argv, folder) as run:
            while not begun_outputs(folder):
                assert run.poll() is None, "it ended before it could be killed"
                time.sleep(0.01)
            run.kill()
        end = time.monotonic() + 60
        while begun_outputs(folder) and time.monotonic() < end:
            time.sleep(0.1)
        assert begun_outputs(folder) == []
        assert strips(folder) >= 2
        subprocess.run(argv, capture_output=True, check=True)
    assert content(folder) == expected


def begun_outputs(folder: Path) -> list[Path]:
    return list(folder.glob(".*.partial.*"))


HUNGRY = """
import time
import numpy
from geounet.batch import work

before = getattr(work.finish, "before", work.finish)

def finish(plan):
    if "hungry" in plan.job.name:
        held = []
        while True:
            held.append(numpy.ones(8_000_000))
            time.sleep(0.01)
    return before(plan)

finish.before = before  # a worker and its nanny may both load this
work.finish = finish
"""


@pytest.mark.slow  # and on a busy machine a worker may take a minute to come back
def test_a_worker_runs_out_of_memory(batch_scenes, model, tmp_path) -> None:
    """The scene that takes too much fails, and the others are done."""
    folder, hungry = tmp_path / "out", tmp_path / "hungry.tif"
    hungry.write_bytes(batch_scenes[1].read_bytes())
    preload = tmp_path / "preload.py"
    preload.write_text(HUNGRY)
    options = {"memory_limit": 2_000_000_000, "preload": [str(preload)]}
    with cluster(tmp_path, 1, **options) as (_, address):
        argv = command(folder, model, hungry, *batch_scenes, "--scheduler", address)
        run = subprocess.run(
            [*argv, "--max-retries", "1"], capture_output=True, text=True, check=False, timeout=300
        )
    assert run.returncode == 1
    assert run.stderr == f"geounet: {hungry} failed: its worker died (killed, or out of memory)\n"
    assert states(folder, scene=str(hungry)) == ["again", "failed"]
    wanted = segmented(tmp_path / "ref", batch_scenes, model, tile=TILE, polygons=False)
    assert content(folder) == wanted


@pytest.mark.slow
def test_ten_kills_of_the_driver_at_any_moment(scene, model, expected, tmp_path) -> None:
    import numpy as np

    rng = np.random.default_rng(11)
    start = time.monotonic()
    subprocess.run(
        command(tmp_path / "0", model, scene, "--workers", 2), capture_output=True, check=True
    )
    whole = time.monotonic() - start
    for kill in range(10):
        folder = tmp_path / f"out{kill}"
        argv = command(folder, model, scene, "--workers", 2)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(argv, **quiet) as run:
            time.sleep(rng.uniform(0.2, 1.1) * whole)
            those = workers(run) if run.poll() is None else []
            run.kill()
        psutil.wait_procs(those, timeout=60)
        subprocess.run(argv, capture_output=True, check=True)
        assert content(folder) == expected, kill
