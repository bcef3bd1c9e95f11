"""Measures how ``geounet batch`` scales: its driver and a real scheduler, with workers that sleep.

    python benchmarks/scale.py [tasks] [simulate] [graph] [--workers 1,10,100] [--faster 50]
    python benchmarks/scale.py [machine] [memory] [--size 8192] [--runs 3]

``tasks``: what a task costs beside its work. ``simulate``: workers (threads of this process, each
with a connection of its own) sleep for as long as a band, a plan or finishing takes, ``--faster``
times as fast; the driver, the scheduler and the messages are the real ones. ``graph``: the lazy
labels of a scene of 100000 x 100000 px. ``machine``: two workers of one thread against ``geounet
segment`` on the same cores, whole processes, in pairs. ``memory``: peak of a worker by height of
the scene. Prints Markdown; ``docs/scale.md`` says how to read it.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
from scenes import make_scene

from geounet.batch import BatchOptions, work
from geounet.batch import driver as driving
from geounet.batch.cluster import Crew
from geounet.batch.folder import Folder
from geounet.batch.job import Finished, Job, Outcome, Plan
from geounet.batch.manifest import Manifest
from geounet.options import SegmentOptions
from geounet.pool import EngineRecipe


@dataclass(frozen=True)
class Rates:
    """What was measured of the real stages; a worker has one core of a CPU."""

    network: float = 1.48e6
    """Pixels a second: water-ms, float32, OpenVINO, AVX2."""
    finishing: float = 25e6
    """Pixels a second, from parts to class map and polygons."""
    planning: float = 0.5
    """Seconds: open a scene, choose a model."""


RATES, TILE, HALO = Rates(), 1472, 96

HEIGHTS = (4096, 16384)
"""Rows of the scenes whose peak memory is measured."""


class Sleeping:
    """Stands for :mod:`geounet.batch.work`: its tasks sleep for as long as the real ones take."""

    def __init__(self, faster: float) -> None:
        self.faster = faster

    def told(self, task: Any, *arguments: Any) -> Outcome:
        """Sleep, and tell how long."""
        seconds, value = task(*arguments)
        time.sleep(seconds / self.faster)
        return Outcome(worker="", seconds=seconds, value=value)

    def plan(self, job: Job, _share: int = 1) -> tuple[float, Plan]:
        """A plan of a square scene."""
        side = int(job.source[0])
        rows = range(-(-side // TILE))
        ends = {row: (row * TILE, min(side, (row + 1) * TILE)) for row in rows}
        plan = Plan(
            job=job, recipe=RECIPE, fingerprint={"the scene": job.name}, outputs=None,
            is_finished=False, missing=tuple(rows), pixel_rows=ends, height=TILE, width=side,
            margin=HALO, lead=0,
        )  # fmt: skip
        return RATES.planning, plan

    def compute(self, plan: Plan, rows: Sequence[int]) -> tuple[float, None]:
        """A band."""
        pixels = sum(stop - start for start, stop in (plan.pixel_rows[row] for row in rows))
        return pixels * plan.width / RATES.network, None

    def follow(self, plan: Plan) -> tuple[float, Finished]:
        """A scene, while its bands are computed; the driver waits for those."""
        from distributed import secede

        secede()
        return self.finish(plan)

    def finish(self, plan: Plan) -> tuple[float, Finished]:
        """A scene."""
        seconds = plan.job.pixels / RATES.finishing
        return seconds, Finished(files={}, warned=(), classes={}, valid_pixels=plan.job.pixels)


RECIPE = EngineRecipe(model="", sha256="", scale=(), offset=(), engine="", device="", precision="")


def makespan(scenes: int, side: int, workers: int, faster: float) -> tuple[float, float, int]:
    """Seconds of the simulated clock, of this processor, and tasks, for a batch of scenes."""
    from distributed import Client, LocalCluster

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=False, memory_limit=None,
            silence_logs=logging.CRITICAL, dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        client.wait_for_workers(workers)
        out = Path(folder)
        jobs = [
            Job(
                name=f"scene{i}", source=(str(side),), pixels=side * side,
                options=SegmentOptions(out=out / f"scene{i}.tif"), place=Folder(out),
            )
            for i in range(scenes)
        ]  # fmt: skip
        options = BatchOptions(folder=out, segment=SegmentOptions())
        manifest = Manifest(out)
        driver = driving.Driver(options, manifest, lambda _: None, None)
        start, cpu = time.perf_counter(), time.process_time()
        driver.run(Crew(client, cluster.scheduler_address), jobs)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        report = driver.report(seconds)
        if report.failed:
            raise RuntimeError(next(iter(report.failed.values())))
        return seconds * faster, cpu, len(manifest.path.read_text().splitlines()) + scenes


def simulate(workers: Sequence[int], faster: float, *_: Any) -> None:
    """How long a batch takes by number of workers."""
    print(f"\n## Workers that sleep, {faster:g} times as fast as the stages\n")
    print("| scenes | workers | tasks | hours | core hours of work | of that in use |")
    print("|---|---:|---:|---:|---:|---:|")
    driving.work = Sleeping(faster)  # type: ignore[assignment]
    for scenes, side in ((1, 100_000), (50, 10_980)):
        pixels = scenes * side * side
        ideal = pixels / RATES.network + pixels / RATES.finishing + scenes * RATES.planning
        for number in workers:
            quick = faster if number > 1 else faster * 10
            driving.work.faster = quick  # type: ignore[attr-defined]
            took, _, count = makespan(scenes, side, number, quick)
            print(
                f"| {scenes} of {side} x {side} | {number} | {count} | {took / 3600:.2f} |"
                f" {ideal / 3600:.2f} | {ideal / number / took:.0%} |",
                flush=True,
            )
    driving.work = work


def tasks(workers: Sequence[int], *_: Any) -> None:
    """What a task costs when it does nothing."""
    print("\n## Tasks that do nothing\n\n| workers | tasks | ms a task | CPU ms a task |")
    print("|---:|---:|---:|---:|")
    driving.work = Sleeping(1e9)  # type: ignore[assignment]
    makespan(1, 100_000, 1, 1.0)  # what is imported on the way
    for number in workers:
        seconds, cpu, count = makespan(100, 10_980, number, 1.0)
        print(f"| {number} | {count} | {1e3 * seconds / count:.1f} | {1e3 * cpu / count:.1f} |")
    driving.work = work


def machine(_: Sequence[int], __: float, size: int, runs: int) -> None:
    """A batch of one scene beside one run of it; the same bytes."""
    print(f"\n## Two workers of one thread over segment, water-ms, {size} x {size}\n")
    print("| segment, s | batch, s | ratio | same bytes |\n|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = make_scene(folder / "s.tif", "river_ms.tif", size, size, None)
        ratios = []
        for number in range(runs):
            one, many = folder / f"one{number}", folder / f"many{number}"
            one.mkdir()
            alone = _timed("segment", scene, "-m", "water-ms", "-o", one / "s.water-ms.tif")
            shared = _timed("batch", scene, "-m", "water-ms", "-o", many, "--workers", "2")
            same = all(
                path.read_bytes() == (many / path.name).read_bytes() for path in one.iterdir()
            )
            ratios.append(alone / shared)
            print(f"| {alone:.1f} | {shared:.1f} | {alone / shared:.2f} | {same} |", flush=True)
            shutil.rmtree(one)
            shutil.rmtree(many)
    print(f"\nMedian {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}).")


def _timed(*arguments: object) -> float:
    """Seconds of a whole process, with all cores."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "geounet_cli", *map(str, arguments), "--quiet"]
    every_core = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=every_core)
    return time.perf_counter() - start


def memory(*_: Any) -> None:
    """Peak of the workers of a batch, by height of the scene."""
    print("\n## Peak memory of two workers, water-ms, scenes 4096 px wide\n")
    print("| height | MB, the larger worker | MB, driver |\n|---:|---:|---:|")
    for height in HEIGHTS:
        with tempfile.TemporaryDirectory() as folder:
            scene = make_scene(Path(folder) / "s.tif", "river_ms.tif", 4096, height, None)
            argv = ["batch", scene, "-o", Path(folder) / "out", "-m", "water-ms", "--workers", "2"]
            command = [sys.executable, "-m", "geounet_cli", *map(str, argv), "--quiet"]
            with subprocess.Popen(command) as run:
                peaks: dict[int, int] = {}
                while run.poll() is None:
                    for pid, peak in _peaks(run.pid).items():
                        peaks[pid] = max(peak, peaks.get(pid, 0))
                    time.sleep(0.1)
            if run.returncode:
                raise RuntimeError(f"the batch of {height} rows ended with {run.returncode}")
            driver = peaks.pop(run.pid)
        print(f"| {height} | {max(peaks.values()) / 1e3:.0f} | {driver / 1e3:.0f} |", flush=True)


def _peaks(parent: int) -> dict[int, int]:
    """Peak resident kB of a process and those that it, or one of them, has started."""
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(parent)
        processes = [process, *process.children(recursive=True)]
        return {one.pid: _peak(one.pid) for one in processes}
    return {}


def _peak(pid: int) -> int:
    """``VmHWM`` of a process on Linux; 0 where it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def graph(*_: Any) -> None:
    """The lazy labels of a scene of 100000 x 100000 px: tasks, and seconds to build the graph."""
    import dask.array as da
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import wrap_xr

    import geounet

    box = GeoBox.from_bbox((0, 0, 1e6, 1e6), "EPSG:32633", shape=(100_000, 100_000))
    data = da.zeros((2, 100_000, 100_000), chunks=(2, 2048, 2048), dtype=np.float32)
    scene: Any = wrap_xr(data, box, dims=("band", "y", "x"), axis=1)
    scene = scene.assign_coords(band=["VV", "VH"])
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = geounet.segment(scene, model="flood-s1")
    seconds = time.perf_counter() - start
    print("\n## Lazy labels of 100000 x 100000 px in chunks of 2048\n\n| tasks | s to build |")
    print(f"|---:|---:|\n| {len(labels.__dask_graph__())} | {seconds:.2f} |")


def main() -> None:
    """Run what was asked for, or all."""
    parts: dict[str, Callable[..., None]] = {
        "tasks": tasks, "simulate": simulate, "graph": graph, "machine": machine, "memory": memory,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="default: all")
    parser.add_argument("--workers", default="1,10,100")
    parser.add_argument("--faster", type=float, default=50.0)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    workers = [int(number) for number in args.workers.split(",")]
    with dask.config.set({"distributed.admin.tick.limit": "1h"}):
        for part in args.parts or parts:
            parts[part](workers, args.faster, args.size, args.runs)


if __name__ == "__main__":
    main()
