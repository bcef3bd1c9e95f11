"""What a worker does to a scene: plan it, compute a band of it, join the bands.

Threads: several tasks may run at once in a process; each waits for an engine of its own. A model is
loaded once a process. A task that is run again, or on two workers at once, ends the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from geounet import heap
from geounet.batch.job import Finished, Job, Outcome, Plan
from geounet.batch.place import Desk, Followed
from geounet.batch.source import opened
from geounet.choose import Say, choose_model
from geounet.engine import ModelEngine
from geounet.errors import DeviceError, GeounetError, OutputError
from geounet.fingerprint import Fingerprint
from geounet.fit import fit_scene
from geounet.options import SegmentOptions
from geounet.outputs import OutputPaths
from geounet.parts import Kept
from geounet.pool import EngineRecipe, engines_of
from geounet.run import Run, behind, closing, made
from geounet.segmentation import Keeping, run_segment
from geounet.window import Window

_MEND = {
    "the scene": "another file, or a changed one, has its name there",
    "the model": "give every worker the same file",
    "the engine": "pass the same --engine, --device and --precision for all, or workers that are"
    " alike",
    "the version of geounet": "install the same one everywhere",
}
"""What may differ between workers, and how that is mended."""


def told(task: Callable[..., Any], *arguments: Any) -> Outcome:
    """Run a task; an error becomes a line, so that it reaches the manifest with its worker."""
    from distributed import get_worker

    start, worker = time.perf_counter(), get_worker().address
    heap.give_back_large()
    try:
        value, error = task(*arguments), None
    except GeounetError as failure:
        value, error = None, str(failure)
    except Exception as failure:  # noqa: BLE001  one scene must not end the others
        text = " ".join(str(failure).split())
        value, error = None, f"{type(failure).__name__}: {text}"
    seconds = round(time.perf_counter() - start, 3)
    return Outcome(worker=worker, seconds=seconds, value=value, error=error)


def plan(job: Job) -> Plan:
    """Look at a scene: how it is cut, and what is there already.

    Raises:
        GeounetError: As :func:`geounet.segmentation.run_segment`; or outputs are there that were
            made of something else.
    """
    said: list[str] = []
    with closing(opened(job.source)) as scene:
        bundle, fit = choose_model(scene, job.options, said.append)
        paths = OutputPaths.of(scene.info, bundle.spec.name, job.options)
        job.place.refuse_inputs(paths.all, scene.info.files, "the scene")
        if job.options.aoi is not None:
            job.place.refuse_inputs(paths.all, [job.options.aoi], "the area of --aoi")
        recipe = EngineRecipe.of(fit.normalizer, bundle, job.options)
        with closing(fit.scene), engines_of(recipe).one() as engine, ExitStack() as stack:
            run = Run(fit, bundle, job.options, [engine])
            depends = run.fingerprint()
            outputs = None if depends is None else depends | _layer(job.options)
            finished = job.finished is not None and outputs == job.finished
            missing: Sequence[int] = ()
            if not finished:
                _refuse_outputs(paths, job, outputs)
                strips = job.place.strips(paths.raster).planned(run, said.append)
                kept = stack.enter_context(strips)
                missing = run.missing(kept)
            options = _everywhere(job.options, run, recipe)
            return Plan(
                job=replace(job, options=options),
                recipe=EngineRecipe.of(fit.normalizer, bundle, options),
                fingerprint=depends,
                outputs=outputs,
                is_finished=finished,
                missing=tuple(missing),
                pixel_rows={row: _ends(run.window(row)) for row in missing},
                height=run.grid.tile,
                width=run.grid.width,
                margin=run.grid.halo,
                lead=run.lead,
                said=tuple(said),
            )


def compute(plan: Plan, rows: Sequence[int]) -> None:
    """Compute the strips of these rows of tiles, and keep them.

    Raises:
        DeviceError: This worker would make other strips than the plan says.
        OutputError: They cannot be kept.
    """
    options, depends = plan.job.options, plan.fingerprint
    assert options.out is not None  # noqa: S101  for the type checker
    assert depends is not None  # noqa: S101
    with _engine(plan.recipe) as engine, closing(opened(plan.job.source)) as scene:
        bundle = engines_of(plan.recipe).bundle
        fit = fit_scene(scene, bundle.spec, options.reading)
        with closing(fit.scene):
            run = Run(fit, bundle, options, [engine])
            _refuse_other(plan, run.fingerprint())
            with plan.job.place.strips(options.out).shared(depends) as parts:
                absent = set(run.missing(parts))
                todo = [row for row in rows if row in absent]
                with made(run, todo, _nobody) as strips, behind([parts.keep]) as written:
                    for strip in strips:
                        written.put(strip)


def follow(plan: Plan) -> Finished:
    """Write the outputs of a scene from its strips while others compute them.

    It leaves the threads of its worker, which computes meanwhile, and ends when its task is given
    up. Strips stay.

    Raises:
        GeounetError: As :func:`geounet.segmentation.run_segment`; or it was given up.
    """
    from distributed import secede

    is_wanted = _while_wanted()
    secede()
    followed: list[Followed] = []

    @contextmanager
    def strips(run: Run, raster: Path, _say: Say) -> Iterator[Followed]:
        depends = run.fingerprint()
        _refuse_other(plan, depends)
        assert depends is not None  # noqa: S101  for the type checker
        with plan.job.place.strips(raster).followed(depends, is_wanted) as kept:
            followed.append(kept)
            yield kept

    finished = _outputs(plan, engines_of(plan.recipe).first, strips)
    return replace(finished, waited=round(followed[0].waited, 3))


def finish(plan: Plan) -> Finished:
    """Join what is kept, compute what is not, and write the outputs; what is kept stays.

    Raises:
        GeounetError: As :func:`geounet.segmentation.run_segment`.
    """

    def strips(run: Run, raster: Path, say: Say) -> AbstractContextManager[Kept]:
        return plan.job.place.strips(raster).planned(run, say)

    with _engine(plan.recipe) as engine:
        return _outputs(plan, engine, strips)


def _outputs(plan: Plan, engine: ModelEngine, kept: Keeping) -> Finished:
    warned: list[str] = []
    job = plan.job
    with job.place.desk() as desk:
        options = _at(desk, job)
        report = run_segment(
            opened(job.source), options, say=_nobody, warn=warned.append, engines=[engine],
            kept=kept,
        )  # fmt: skip
        desk.deliver(report.raster)
    return Finished(
        files=job.place.files(job.outputs),
        warned=tuple(warned),
        classes=report.classes,
        valid_pixels=report.valid_pixels,
    )


def _at(desk: Desk, job: Job) -> SegmentOptions:
    """With the paths where outputs are made."""
    options = job.options
    assert options.out is not None  # noqa: S101  for the type checker
    layer = options.polygons
    return replace(
        options,
        out=desk(options.out),
        polygons=desk(layer) if isinstance(layer, Path) else layer,
        overwrite=options.overwrite or job.finished is not None,
    )


def _while_wanted() -> Callable[[], bool]:
    """Whether somebody still waits for the task that runs here."""
    from distributed import Status, get_worker

    worker = get_worker()
    tasks, key = worker.state.tasks, worker.get_current_task()

    def is_wanted() -> bool:
        task = tasks.get(key)
        runs = task is not None and task.state in ("executing", "long-running")
        return runs and worker.status == Status.running

    return is_wanted


@contextmanager
def _engine(recipe: EngineRecipe) -> Any:
    with engines_of(recipe).one() as engine:
        yield engine


def _everywhere(options: SegmentOptions, run: Run, recipe: EngineRecipe) -> SegmentOptions:
    """The same for each worker, whatever its own choice would be."""
    engine: ModelEngine = run.engine
    return replace(
        options,
        model=recipe.model,
        tile=run.grid.tile if engine.side is None else options.tile,
        engine=engine.name,
        device=engine.device.partition(":")[0],
        precision=engine.precision,
    )


def _layer(options: SegmentOptions) -> Fingerprint:
    """What outputs depend on and strips do not."""
    suffix = options.polygons.suffix if isinstance(options.polygons, Path) else "none"
    return {
        "--polygons": suffix,
        "--simplify": str(options.simplify),
        "--smooth": str(options.smooth),
    }


def _refuse_outputs(paths: OutputPaths, job: Job, now: Fingerprint | None) -> None:
    strips = job.place.strips(paths.raster)
    overwrite = job.options.overwrite or strips.is_committing()
    before = job.finished
    if before is not None and now is not None and not overwrite:
        changed = " and ".join(what for what in now if before.get(what) != now[what])
        raise OutputError(
            f"{job.place.shown(paths.raster)} exists, and {changed} changed since it was made:"
            " pass --overwrite to replace it, or give another folder with -o"
        )
    job.place.check(reversed(paths.all), overwrite=overwrite)


def _refuse_other(plan: Plan, here: Fingerprint | None) -> None:
    """A worker of another kind must not add strips of another kind."""
    there = plan.fingerprint or {}
    other = [what for what in there if (here or {}).get(what) != there[what]]
    if other:
        mend = "; ".join(_MEND.get(what, "give every worker the same") for what in other)
        raise DeviceError(f"this worker differs from others in {' and '.join(other)}: {mend}")


def _ends(window: Window) -> tuple[int, int]:
    return window.row_off, window.row_end


def _nobody(_heard: object) -> None:
    """Tell nobody."""
