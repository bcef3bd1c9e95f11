"""The driver of a batch: hands tasks to workers, hears how they end, and writes that down."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geounet.batch import work
from geounet.batch.after import make_mosaic, write_items
from geounet.batch.agenda import Agenda, Task
from geounet.batch.bands import cut_bands
from geounet.batch.cluster import Crew
from geounet.batch.job import Finished, Job, Outcome, Plan
from geounet.batch.manifest import Manifest
from geounet.batch.options import BatchOptions
from geounet.batch.place import Shelf, place_of
from geounet.batch.report import BatchReport
from geounet.choose import Say
from geounet.errors import ClusterError, OutputError
from geounet.options import Progress

GOES_ON = "the same command goes on with what is finished"

_AHEAD = 2
"""Tasks a worker that are handed over at once, so that none waits for the scheduler."""

_POLL = 1.0  # seconds after which workers are counted again


@dataclass(slots=True)
class _Scene:
    """How far a scene is."""

    job: Job
    plan: Plan | None = None
    bands: int = 0
    """That are not finished."""
    is_followed: bool = False
    """Whether a worker writes its outputs while bands are computed."""
    joined: Outcome | None = None
    """The outputs, which are there before the last band is heard of."""
    counted: int = 0
    """Pixels that are done, for the bar."""
    has_failed: bool = False
    seconds: float = 0.0
    """On workers."""


class Driver:
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
        self._place = place_of(options.folder)
        self._scenes: list[_Scene] = []
        self._agenda = Agenda()
        self._running: dict[Any, Task] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._ahead = _AHEAD
        self._heard: set[str] = set()
        self._done: list[Path] = []
        self._kept: list[Path] = []
        self._failed: dict[str, str] = {}
        self._mosaic: Path | str | None = None
        self._pixels = 0

    def run(self, workers: Crew, jobs: Sequence[Job]) -> None:
        """Do all jobs."""
        self._workers = workers
        self._scenes = [_Scene(job=job) for job in jobs]
        for index in range(len(jobs)):
            self._agenda.add(index, "plan")
        self._advance()
        self._hand_over()
        while self._running:
            with suppress(queue.Empty):
                self._hear(self._ended.get(timeout=_POLL))
            self._manifest.settle()
            self._hand_over()
        for scene in self._scenes:
            if scene.has_failed:  # what a follower has begun is removed when it hears of that
                self._strips(scene).settle()

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
            where = write_items(self._place, there, self._manifest.finished())
            self._say(f"items in {where}")
        if options.mosaic is None:
            return
        if self._failed:
            where = self._place.shown(options.mosaic)
            self._say(f"{where} is not made: a scene failed; the same command makes it")
            return
        self._mosaic, was_there = make_mosaic(self._place, list(there), options, self._manifest)
        if was_there:
            self._say(f"{self._mosaic} is there, of the same class maps")

    def report(self, seconds: float) -> BatchReport:
        """What was done."""
        return BatchReport(
            manifest=self._manifest.path,
            done=tuple(map(self._place.shown, self._done)),
            kept=tuple(map(self._place.shown, self._kept)),
            mosaic=self._mosaic,
            failed=self._failed,
            pixels=self._pixels,
            seconds=round(seconds, 3),
            mpx_per_s=round(self._pixels / seconds / 1e6, 3),
        )

    def _hand_over(self) -> None:
        """As many tasks as workers can have; earlier scenes first."""
        taken = sum(task.has_turn for task in self._running.values())
        for task in self._agenda.take(self._ahead * self._workers.size - taken):
            scene = self._scenes[task.scene]
            if scene.has_failed:
                continue
            future = self._workers.client.submit(
                work.told, *self._call(task, scene), pure=False, priority=task.priority
            )
            self._running[future] = task
            future.add_done_callback(self._ended.put)

    def _call(self, task: Task, scene: _Scene) -> tuple[Any, ...]:
        if task.kind == "plan":
            return work.plan, scene.job
        if task.kind == "band":
            return work.compute, scene.plan, task.rows
        return work.follow if task.kind == "follow" else work.finish, scene.plan

    def _hear(self, future: Any) -> None:
        task = self._running.pop(future, None)
        if task is None:  # it was given up
            return
        scene = self._scenes[task.scene]
        outcome = self._outcome(future)
        future.release()
        scene.seconds += outcome.seconds
        if outcome.error is not None and scene.joined is None:
            self._again(task, scene, outcome)
        elif task.kind == "plan":
            self._planned(task.scene, scene, outcome)
        elif task.kind == "band":
            self._computed(task, scene, outcome)
        elif task.kind == "follow" and scene.bands:
            scene.joined = outcome
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
            f" again, {GOES_ON}"
        )

    def _again(self, task: Task, scene: _Scene, outcome: Outcome) -> None:
        """Try a task again, or give its scene up."""
        assert outcome.error is not None  # noqa: S101  for the type checker
        if scene.has_failed:
            return
        row: dict[str, Any] = {"output": _raster(scene.job).name, "worker": outcome.worker}
        row |= {"seconds": outcome.seconds, "step": task.kind}
        if task.kind == "follow":
            self._manifest.add(
                scene=scene.job.name, rows=None, state="again", error=outcome.error, **row
            )
            scene.is_followed = False
            self._join(task.scene, scene)
            return
        if task.tries < self._options.max_retries:
            rows = _pixel_rows(task, scene.plan)
            self._manifest.add(
                scene=scene.job.name, rows=rows, state="again", error=outcome.error, **row
            )
            self._agenda.add(task.scene, task.kind, task.rows, task.tries + 1)
            return
        self._give_up(task.scene)
        why, strips = outcome.error, self._strips(scene)
        with suppress(OutputError):  # another run's; or the bucket does not answer
            if strips.has_any():
                why += f" ({GOES_ON})"
            else:
                strips.remove()
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
            self._agenda.add(index, "band", rows)
        if bands:
            scene.is_followed = True
            self._agenda.add(index, "follow")
        else:
            self._agenda.add(index, "finish")

    def _keep(self, scene: _Scene) -> None:
        """An earlier run has finished a scene."""
        raster = _raster(scene.job)
        self._kept.append(raster)
        self._manifest.add(
            scene=scene.job.name, output=raster.name, rows=None, state="kept", **_hashes(scene),
            then=self._strips(scene).remove,
        )  # fmt: skip
        self._advance_to(scene, scene.job.pixels)

    def _computed(self, task: Task, scene: _Scene, outcome: Outcome) -> None:
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
        self._join(task.scene, scene)

    def _join(self, index: int, scene: _Scene) -> None:
        """All bands are there: whoever follows has written the outputs, or somebody must."""
        if scene.bands:
            return
        if scene.joined is not None:
            self._finished(scene, scene.joined)
        elif not scene.is_followed:
            self._agenda.add(index, "finish")

    def _give_up(self, index: int) -> None:
        """No more of a scene; nobody follows it any more."""
        self._scenes[index].has_failed = True
        for future, task in list(self._running.items()):
            if task.scene == index and task.kind == "follow":
                del self._running[future]
                future.release()

    def _finished(self, scene: _Scene, outcome: Outcome) -> None:
        finished: Finished = outcome.value
        scene.seconds -= finished.waited
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
            then=self._strips(scene).remove,
        )
        self._done.append(raster)
        self._pixels += scene.job.pixels
        self._advance_to(scene, scene.job.pixels)

    def _strips(self, scene: _Scene) -> Shelf:
        return self._place.strips(_raster(scene.job))

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


def _hashes(scene: _Scene) -> dict[str, Any]:
    plan = scene.plan
    depends = (plan.fingerprint if plan else None) or {}
    return {
        "model_sha256": plan.recipe.sha256 if plan else None,
        "input_sha256": depends.get("the scene"),
    }


def _pixel_rows(task: Task, plan: Plan | None) -> tuple[int, int] | None:
    """First row of pixels that a band answers for, and the one behind its last."""
    if not task.rows or plan is None:
        return None
    return plan.pixel_rows[task.rows[0]][0], plan.pixel_rows[task.rows[-1]][1]
