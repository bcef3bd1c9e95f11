"""The driver, task by task: workers here do what the test says, when it says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from geounet.batch import work
from geounet.batch.driver import Driver
from geounet.batch.folder import Folder
from geounet.batch.job import Finished, Job, Outcome, Plan
from geounet.batch.manifest import Manifest
from geounet.batch.options import BatchOptions
from geounet.options import SegmentOptions
from geounet.pool import EngineRecipe

pytest.importorskip("distributed")

RECIPE = EngineRecipe(model="", sha256="", scale=(), offset=(), engine="", device="", precision="")
FINISHED = Finished(files={}, warned=(), classes={}, valid_pixels=1, waited=2.0)


@dataclass(eq=False)
class Task:
    """What was handed over, as a future of distributed."""

    function: Any
    arguments: tuple[Any, ...]
    status: str = "pending"
    released: bool = False
    outcome: Outcome | None = None
    heard: list[Any] = field(default_factory=list)

    def add_done_callback(self, hear: Any) -> None:
        self.heard.append(hear)

    def result(self) -> Outcome | None:
        return self.outcome

    def release(self) -> None:
        self.released = True

    def ends(self, value: Any = None, error: str | None = None, seconds: float = 1.0) -> None:
        self.status = "finished"
        self.outcome = Outcome(worker="w", seconds=seconds, value=value, error=error)
        for hear in self.heard:
            hear(self)


class Bench:
    """A driver of one scene of eight rows of tiles, and its two workers."""

    def __init__(self, folder: Path, *, retries: int = 0) -> None:
        self.tasks: list[Task] = []
        self.said: list[str] = []
        self.manifest = Manifest(folder)
        options = BatchOptions(folder=folder, segment=SegmentOptions(), max_retries=retries)
        self.driver = Driver(options, self.manifest, self.said.append, None)
        self.job = Job(
            name="scene", source=("scene",), pixels=1024 * 8000,
            options=SegmentOptions(out=folder / "scene.tif"), place=Folder(folder),
        )  # fmt: skip
        client = SimpleNamespace(submit=self.submit)
        self.crew = SimpleNamespace(client=client, size=2, address="tcp://here")

    def submit(self, _told: Any, function: Any, *arguments: Any, **_: Any) -> Task:
        self.tasks.append(Task(function, arguments))
        return self.tasks[-1]

    def run(self, script: Any) -> None:
        """Go on until there is nothing to do; the script is asked each time nothing happens."""
        steps = script(self)
        hear = self.driver._ended.get

        def get(timeout: float) -> Any:
            while self.driver._ended.empty():
                next(steps)
            return hear(timeout=timeout)

        self.driver._ended = SimpleNamespace(
            get=get, put=self.driver._ended.put, empty=self.driver._ended.empty
        )
        self.driver.run(self.crew, [self.job])

    def of(self, function: Any) -> list[Task]:
        return [task for task in self.tasks if task.function is function]

    def plan(self) -> Plan:
        rows = range(8)
        return Plan(
            job=self.job, recipe=RECIPE, fingerprint={"the scene": "a"}, outputs={},
            is_finished=False, missing=tuple(rows), height=1024, width=1000, margin=0, lead=0,
            pixel_rows={row: (row * 1024, row * 1024 + 1024) for row in rows},
        )  # fmt: skip

    def states(self) -> list[tuple[str, str | None]]:
        return [(row["state"], row.get("step")) for row in self.manifest.rows()]


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def test_it_is_followed_from_the_start_and_done_when_the_last_band_is(bench) -> None:
    def script(bench: Bench) -> Any:
        bench.of(work.plan)[0].ends(bench.plan())
        yield
        assert [task.function for task in bench.tasks[1:3]] == [work.follow, work.compute]
        for number in range(7):
            bench.of(work.compute)[number].ends()
            yield
        bench.of(work.follow)[0].ends(FINISHED, seconds=9.0)  # heard of before the last band
        yield
        assert bench.driver.report(1).done == ()
        bench.of(work.compute)[7].ends()
        yield

    bench.run(script)
    assert not bench.of(work.finish)
    assert bench.driver.report(1).done == (bench.job.options.out,)
    *bands, scene = bench.manifest.rows()
    assert [tuple(row["rows"]) for row in bands] == [(k * 1024, k * 1024 + 1024) for k in range(8)]
    assert (scene["rows"], scene["state"], scene["seconds"]) == (None, "done", 1 + 8 + 9 - 2)


def test_a_follower_that_fails_is_replaced_when_all_bands_are_there(bench) -> None:
    def script(bench: Bench) -> Any:
        bench.of(work.plan)[0].ends(bench.plan())
        yield
        bench.of(work.follow)[0].ends(error="disk full")
        yield
        for number in range(8):
            assert not bench.of(work.finish)
            bench.of(work.compute)[number].ends()
            yield
        bench.of(work.finish)[0].ends(FINISHED)
        yield

    bench.run(script)
    assert bench.driver.report(1).failed == {}
    assert bench.states() == [("again", "follow"), *[("done", None)] * 9]


def test_a_band_that_fails_ends_its_follower(bench) -> None:
    def script(bench: Bench) -> Any:
        bench.of(work.plan)[0].ends(bench.plan())
        yield
        bench.of(work.compute)[0].ends(error="corrupt")
        yield
        assert bench.of(work.follow)[0].released
        for task in bench.of(work.compute)[1:]:
            task.ends()
            yield

    bench.run(script)
    assert bench.driver.report(1).failed == {"scene": "corrupt"}
    assert len(bench.of(work.compute)) < 8  # the others are not begun
    assert not bench.of(work.finish)
    assert bench.said == ["scene failed: corrupt"]


def test_a_worker_that_dies_after_its_last_strip_costs_nothing(bench) -> None:
    def script(bench: Bench) -> Any:
        bench.of(work.plan)[0].ends(bench.plan())
        yield
        for number in range(7):
            bench.of(work.compute)[number].ends()
            yield
        bench.of(work.follow)[0].ends(FINISHED)
        yield
        bench.of(work.compute)[7].ends(error="its worker died")
        yield

    bench.run(script)
    assert bench.driver.report(1).failed == {}
    assert bench.driver.report(1).done == (bench.job.options.out,)


def test_a_band_is_tried_again(tmp_path) -> None:
    bench = Bench(tmp_path, retries=1)

    def script(bench: Bench) -> Any:
        bench.of(work.plan)[0].ends(bench.plan())
        yield
        bench.of(work.compute)[0].ends(error="its worker died")
        yield
        for number in range(1, 9):
            bench.of(work.compute)[number].ends()
            yield
        bench.of(work.follow)[0].ends(FINISHED)
        yield

    bench.run(script)
    assert bench.driver.report(1).failed == {}
    assert bench.states() == [("again", "band"), *[("done", None)] * 9]
    assert len(bench.of(work.follow)) == 1
