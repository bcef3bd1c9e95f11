"""The driver of a batch: hands tasks to workers, hears how they end, and writes that down."""

from __future__ import annotations

import heapq
import queue
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from geounet.batch import work
from geounet.batch.after import make_mosaic, refuse_items, refuse_mosaic, write_items
from geounet.batch.bands import cut_bands
from geounet.batch.cluster import Crew, crew
from geounet.batch.job import Finished, Job, Outcome, Plan
from geounet.batch.manifest import Manifest
from geounet.batch.options import BatchOptions
from geounet.batch.report import BatchReport
from geounet.batch.scenes import make_jobs
from geounet.batch.source import Source
from geounet.choose import Say
from geounet.errors import ClusterError, OutputError
from geounet.lock import Lock
from geounet.options import Progress
from geounet.parts import has_parts, remove_parts

_GOES_ON = "the same command goes on with what is finished"

_AHEAD = 2
"""Tasks a worker that are handed over at once, so that none waits for the scheduler."""

_POLL = 1.0  # seconds after which workers are counted again

Kind = Literal["plan", "band", "finish"]
_ORDER: Sequence[Kind] = ("finish", "band", "plan")
"""Of one scene only one of them waits at a time; but scenes are finished before others begin."""


def run_batch(
    sources: Sequence[Source],
    options: BatchOptions,
    *,
    say: Say,
    progress: Progress | None = None,
) -> BatchReport:
    """Segment scenes on a cluster.

    Law: outputs are those of :func:`geounet.segment`, byte for byte, whatever was killed and
    started again on the way.

    Args:
        sources: See :func:`geounet.batch.read_scenes`.
        options: Where, and what.
        say: Hears what the user should know.
        progress: Hears how many pixels are done, of how many.

    Returns:
        What was done. A scene that failed is in there and in the manifest; the others are done.

    Raises:
        GeounetError: Nothing could be begun, the cluster was lost, or the manifest cannot be
            written.
        KeyboardInterrupt: Interrupted; what is computed stays.
    """
    start = time.perf_counter()
    folder = options.folder
    manifest = Manifest(folder)
    finished = manifest.finished()
    jobs = make_jobs(sources, options, finished)
    refuse_mosaic(options, manifest)
    if options.stac:
        refuse_items(jobs.jobs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"-o {folder}: this folder cannot be made ({error.strerror}): give another"
        ) from error
    busy = OutputError(f"{folder} is being filled by another batch: wait for it, or use another -o")
    lock = folder / ".batch.lock"
    try:
        with _writable(folder), Lock(lock, busy), _removed(lock):
            driver = _Driver(options, manifest, say, progress)
            for name, why in jobs.unreadable.items():
                driver.fail(name, why)
            if jobs.jobs:
                with crew(options) as workers:
                    if workers.dashboard:
                        say(f"dashboard: {workers.dashboard}")
                    driver.run(workers, jobs.jobs)
                driver.conclude()
    except KeyboardInterrupt as interruption:
        interruption.args = (_GOES_ON,)
        raise
    return driver.report(time.perf_counter() - start)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"-o {folder}: nothing can be written there ({error.strerror}): choose another folder"
        ) from error


@contextmanager
def _removed(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@dataclass(order=True, slots=True)
class _Task:
    """What waits for a worker."""

    scene: int
    """Which; earlier ones first."""
    stage: int
    """Place of its kind in ``_ORDER``."""
    first: int
    """Row of tiles, of a band."""
    rows: tuple[int, ...] = field(compare=False, default=())
    """Of a band."""
    tries: int = field(compare=False, default=0)
    """How often it has failed."""

    @property
    def kind(self) -> Kind:
        return _ORDER[self.stage]


@dataclass(slots=True)
class _Scene:
    """How far a scene is."""

    job: Job
    plan: Plan | None = None
    bands: int = 0
    """That are not finished."""
    counted: int = 0
    """Pixels that are done, for the bar."""
    has_failed: bool = False
    seconds: float = 0.0
    """On workers."""


class _Driver:
    """One batch."""

    def __init__(
        self,
        options: BatchOptions,
        manifest: Manifest,
        say: Say,
        progress: Progress | None,
    ) -> None:
        self._options, self._manifest, self._say = options, manifest, say
        self._progress = progress
        self._scenes: list[_Scene] = []
        self._waiting: list[_Task] = []
        self._running: dict[Any, _Task] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._ahead = _AHEAD
        self._heard: set[str] = set()
        self._done: list[Path] = []
        self._kept: list[Path] = []
        self._failed: dict[str, str] = {}
        self._mosaic: Path | None = None
        self._pixels = 0

    def run(self, workers: Crew, jobs: Sequence[Job]) -> None:
        """Do all jobs."""
        self._workers = workers
        self._scenes = [_Scene(job=job) for job in jobs]
        for index in range(len(jobs)):
            self._wait(index, "plan")
        self._advance()
        self._hand_over()
        while self._running:
            with suppress(queue.Empty):
                self._hear(self._ended.get(timeout=_POLL))
            self._hand_over()

    def fail(self, name: str, why: str, **more: Any) -> None:
        """A scene is given up."""
        self._failed[name] = why
        self._manifest.add(scene=name, rows=None, state="failed", error=why, **more)
        self._say(failure(name, why))

    def conclude(self) -> None:
        """What is made of all class maps together."""
        options, made = self._options, {*self._done, *self._kept}
        jobs = [scene.job for scene in self._scenes]
        there = {_raster(job): job for job in jobs if _raster(job) in made}
        if options.stac and there:
            self._say(f"items in {write_items(options.folder, there, self._manifest.finished())}")
        if options.mosaic is None:
            return
        if self._failed:
            self._say(f"{options.mosaic} is not made: a scene failed; the same command makes it")
            return
        self._mosaic, was_there = make_mosaic(list(there), options, self._manifest)
        if was_there:
            self._say(f"{self._mosaic} is there, of the same class maps")

    def report(self, seconds: float) -> BatchReport:
        """What was done."""
        return BatchReport(
            manifest=self._manifest.path,
            done=tuple(self._done),
            kept=tuple(self._kept),
            mosaic=self._mosaic,
            failed=self._failed,
            pixels=self._pixels,
            seconds=round(seconds, 3),
            mpx_per_s=round(self._pixels / seconds / 1e6, 3),
        )

    def _wait(self, scene: int, kind: Kind, rows: tuple[int, ...] = (), tries: int = 0) -> None:
        first = rows[0] if rows else 0
        heapq.heappush(self._waiting, _Task(scene, _ORDER.index(kind), first, rows, tries))

    def _hand_over(self) -> None:
        """As many tasks as workers can have; earlier scenes first."""
        room = self._ahead * self._workers.size
        while self._waiting and len(self._running) < room:
            task = heapq.heappop(self._waiting)
            scene = self._scenes[task.scene]
            if scene.has_failed:
                continue
            future = self._workers.client.submit(
                work.told, *self._call(task, scene), pure=False, priority=-task.scene
            )
            self._running[future] = task
            future.add_done_callback(self._ended.put)

    def _call(self, task: _Task, scene: _Scene) -> tuple[Any, ...]:
        if task.kind == "plan":
            return work.plan, scene.job
        if task.kind == "band":
            return work.compute, scene.plan, task.rows
        return work.finish, scene.plan

    def _hear(self, future: Any) -> None:
        task = self._running.pop(future)
        scene = self._scenes[task.scene]
        outcome = self._outcome(future)
        future.release()
        scene.seconds += outcome.seconds
        if outcome.error is not None:
            self._again(task, scene, outcome)
        elif task.kind == "plan":
            self._planned(task.scene, scene, outcome)
        elif task.kind == "band":
            self._computed(task, scene, outcome)
        else:
            self._finished(scene, outcome)

    def _outcome(self, future: Any) -> Outcome:
        """What a task says of itself, or what the scheduler says of it."""
        from distributed import KilledWorker

        if future.status == "finished":
            with suppress(OSError):  # its worker died just now
                return _as_outcome(future.result())
            return Outcome(worker="", seconds=0.0, error="its worker died")
        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                self._ahead = 1  # what waits behind a task that kills its worker dies with it
                where = getattr(error.last_worker, "address", str(error.last_worker))
                return Outcome(
                    worker=where, seconds=0.0, error="its worker died (killed, or out of memory)"
                )
            text = " ".join(str(error).split())
            return Outcome(worker="", seconds=0.0, error=f"{type(error).__name__}: {text}")
        raise ClusterError(
            f"the connection to the scheduler at {self._workers.address} was lost: when it runs"
            f" again, {_GOES_ON}"
        )

    def _again(self, task: _Task, scene: _Scene, outcome: Outcome) -> None:
        """Try a task again, or give its scene up."""
        assert outcome.error is not None  # noqa: S101  for the type checker
        if scene.has_failed:
            return
        row: dict[str, Any] = {"output": _raster(scene.job).name, "worker": outcome.worker}
        row |= {"seconds": outcome.seconds, "step": task.kind}
        if task.tries < self._options.max_retries:
            rows = _pixel_rows(task, scene.plan)
            self._manifest.add(
                scene=scene.job.name, rows=rows, state="again", error=outcome.error, **row
            )
            self._wait(task.scene, task.kind, task.rows, task.tries + 1)
            return
        scene.has_failed = True
        why, raster = outcome.error, _raster(scene.job)
        if has_parts(raster):
            why += f" ({_GOES_ON})"
        else:
            with suppress(OutputError):  # another run's
                remove_parts(raster)
        self.fail(scene.job.name, why, **row)
        self._advance_to(scene, scene.job.pixels)

    def _planned(self, index: int, scene: _Scene, outcome: Outcome) -> None:
        plan: Plan = outcome.value
        scene.plan, scene.job = plan, plan.job
        for text in plan.said:
            self._say_once(text)
        if plan.is_finished:
            self._keep(scene)
            return
        bands = cut_bands(plan, self._workers.size)
        scene.bands = len(bands)
        absent = sum(len(rows) for rows in bands) * plan.height * plan.width
        self._advance_to(scene, max(0, scene.job.pixels - absent) if bands else 0)
        for rows in bands:
            self._wait(index, "band", rows)
        if not bands:
            self._wait(index, "finish")

    def _keep(self, scene: _Scene) -> None:
        """An earlier run has finished a scene."""
        raster = _raster(scene.job)
        remove_parts(raster)
        self._kept.append(raster)
        self._manifest.add(
            scene=scene.job.name, output=raster.name, rows=None, state="kept", **_hashes(scene)
        )
        self._advance_to(scene, scene.job.pixels)

    def _computed(self, task: _Task, scene: _Scene, outcome: Outcome) -> None:
        assert scene.plan is not None  # noqa: S101  for the type checker
        self._manifest.add(
            scene=scene.job.name,
            output=_raster(scene.job).name,
            rows=_pixel_rows(task, scene.plan),
            state="done",
            seconds=outcome.seconds,
            worker=outcome.worker,
            **_hashes(scene),
        )
        done = len(task.rows) * scene.plan.height * scene.plan.width
        self._advance_to(scene, min(scene.job.pixels, scene.counted + done))
        scene.bands -= 1
        if scene.bands == 0:
            self._wait(task.scene, "finish")

    def _finished(self, scene: _Scene, outcome: Outcome) -> None:
        finished: Finished = outcome.value
        raster = _raster(scene.job)
        for text in finished.warned:
            self._say(text if scene.job.name in text else f"{scene.job.name}: {text}")
        assert scene.plan is not None  # noqa: S101  for the type checker
        self._manifest.add(
            scene=scene.job.name,
            output=raster.name,
            rows=None,
            state="done",
            seconds=round(scene.seconds, 3),
            worker=outcome.worker,
            **_hashes(scene),
            fingerprint=scene.plan.outputs,
            files=finished.files,
            classes={name: asdict(total) for name, total in finished.classes.items()},
        )
        remove_parts(raster)
        self._done.append(raster)
        self._pixels += scene.job.pixels
        self._advance_to(scene, scene.job.pixels)

    def _say_once(self, text: str) -> None:
        if text not in self._heard:
            self._heard.add(text)
            self._say(text)

    def _advance_to(self, scene: _Scene, pixels: int) -> None:
        scene.counted = max(scene.counted, pixels)
        self._advance()

    def _advance(self) -> None:
        if self._progress is not None:
            done = sum(scene.counted for scene in self._scenes)
            self._progress(done, sum(scene.job.pixels for scene in self._scenes))


def failure(name: str, why: str) -> str:
    """A line for a scene that is given up; most reasons name it themselves."""
    return f"failed: {why}" if name in why else f"{name} failed: {why}"


def _as_outcome(value: Any) -> Outcome:
    assert isinstance(value, Outcome)  # noqa: S101  for the type checker
    return value


def _raster(job: Job) -> Path:
    assert job.options.out is not None  # noqa: S101  for the type checker
    return job.options.out


def _hashes(scene: _Scene) -> dict[str, str | None]:
    plan = scene.plan
    depends = (plan.fingerprint if plan else None) or {}
    return {
        "model_sha256": plan.recipe.sha256 if plan else None,
        "input_sha256": depends.get("the scene"),
    }


def _pixel_rows(task: _Task, plan: Plan | None) -> tuple[int, int] | None:
    """First row of pixels that a band answers for, and the one behind its last."""
    if not task.rows or plan is None:
        return None
    return plan.pixel_rows[task.rows[0]][0], plan.pixel_rows[task.rows[-1]][1]
