"""Measures ``geounet train``: the loop against the bare step, and the memory of a step.

    python benchmarks/train.py [speed] [memory] [--arch unet] [--width 16] [--depth 4]

Trains on the sample scene of a flooded valley. Prints Markdown; see ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from geounet.bands import BandSpec
from geounet.nn import build
from geounet.spec import ArchSpec
from geounet.train.augment import Augment, Normalize
from geounet.train.data import DataRequest, PairSource, open_data
from geounet.train.fit import fit
from geounet.train.loss import SegmentationLoss
from geounet.train.memory import Plan, ladder, step_memory
from geounet.train.module import SegmentationModule
from geounet.train.recipe import Augmentation, Recipe
from geounet.train.run import Progress, Run
from geounet.train.scheme import read_classes
from geounet.train.whiten import Whitened

SAMPLES = Path(__file__).parents[1] / "sample_tiles"
PAIRS = 5
"""Interleaved runs of either kind."""
RUNGS = 4
"""Of the ladder of plans, whose peaks are measured."""
MIB = 1 << 20


@dataclass(frozen=True)
class Job:
    """A training that is always the same."""

    arch: ArchSpec
    batch: int
    crop: int
    steps: int

    @cached_property
    def source(self) -> PairSource:
        """The sample scene with its truth."""
        return open_data(
            DataRequest(
                images=SAMPLES / "flood_s1.tif",
                labels=SAMPLES / "flood_s1_truth.tif",
                classes=read_classes("land=0,water=1"),
                unit="dB",
                patch=self.crop,
            )
        )

    @property
    def recipe(self) -> Recipe:
        """Two epochs, of which the second is timed."""
        return Recipe(
            name="bench",
            arch=self.arch,
            clip=(-50.0, 25.0),
            augmentation=Augmentation.usual(),
            steps=self.steps,
            epochs=2,
            batch=self.batch,
            crop=self.crop,
        )

    def module(self) -> SegmentationModule:
        """Fresh, with made-up statistics."""
        bands = tuple(BandSpec(name=name, mean=-15.0, std=5.0) for name in self.source.bands)
        network = build(self.arch, len(bands), len(self.source.classes))
        network.to(memory_format=torch.channels_last)
        augment = Augment(self.recipe.augmentation, Normalize(bands, self.recipe.clip))
        loss = SegmentationLoss(self.recipe, [0.8, 0.2])
        return SegmentationModule(self.recipe, Whitened(network, None), augment, loss)


@dataclass(frozen=True)
class Rate:
    """Pixels a second."""

    wall: float
    """By the clock."""
    cpu: float
    """Of the processor, all threads together: what other work on the machine disturbs less."""


def bare_step(job: Job) -> Rate:
    """Rate of forward pass, loss, backward pass and optimiser on one batch in memory."""
    module = job.module().train()
    module.mean_loss.update(torch.zeros(()))
    optimizer = torch.optim.AdamW(module.network.parameters())
    image = torch.randn(job.batch, len(job.source.bands), job.crop, job.crop)
    image = image.contiguous(memory_format=torch.channels_last)
    label = torch.randint(2, (job.batch, job.crop, job.crop))
    start = _clocks()
    for step in range(2 + job.steps):
        if step == 2:  # the first ones choose their kernels
            start = _clocks()
        optimizer.zero_grad()
        loss = module.training_step((image, label), step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.network.parameters(), 1.0)
        optimizer.step()
    return _rate(job.steps * label.numel(), start, _clocks())


def whole_loop(job: Job) -> Rate:
    """Rate of an epoch: reading, augmentation, step, average, bookkeeping."""
    names = [name for group in job.source.groups for name in group]
    ends: list[tuple[float, float]] = []

    def note(at: Progress) -> None:
        if at.record:
            ends.append(_clocks())

    run = Run(device="cpu", progress=note)
    record = fit(job.recipe, job.source, names, 1, run=run).history[1]
    return _rate(record.pixels, *ends)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _rate(pixels: int, start: tuple[float, float], end: tuple[float, float]) -> Rate:
    return Rate(pixels / (end[0] - start[0]), pixels / (end[1] - start[1]))


def speed(job: Job) -> None:
    """The loop over the bare step, interleaved."""
    bare, loop = [], []
    for _ in range(PAIRS):
        bare.append(bare_step(job))
        loop.append(whole_loop(job))
    print(f"\n## Speed: {job.arch}, {job.steps} steps of {job.batch} x {job.crop} px\n")
    print(f"{PAIRS} interleaved pairs, {torch.get_num_threads()} threads; median (range)\n")
    print("| what | Mpx/s | Mpx a second of the processor |\n|---|---|---|")
    clocks = ([rate.wall for rate in bare], [rate.wall for rate in loop])
    cpu = ([rate.cpu for rate in bare], [rate.cpu for rate in loop])
    print(f"| bare step | {_spread(clocks[0], 1e6)} | {_spread(cpu[0], 1e6)} |")
    print(f"| whole loop | {_spread(clocks[1], 1e6)} | {_spread(cpu[1], 1e6)} |")
    print(f"| whole loop over bare step | {_over(*clocks)} | {_over(*cpu)} |")


def _over(bare: list[float], loop: list[float]) -> str:
    return _spread([a / b for a, b in zip(loop, bare, strict=True)])


def memory(job: Job) -> None:
    """Peak of the process, plan by plan, of the same job."""
    plans = [
        plan
        for plan, _ in zip(
            ladder(Plan(), job.batch, torch.device("cpu")), range(RUNGS), strict=False
        )
    ]
    print(f"\n## Memory of a step: {job.arch}, {job.batch} x {job.crop} px\n")
    print("| plan | said by --limit-memory, MiB | peak of the process, MiB | s a step |")
    print("|---|---:|---:|---:|")
    for plan in plans:
        told = step_memory(job.module(), plan, job.batch, torch.device("cpu"))
        got = _in_child(job, told)
        print(f"| {plan} | {told / MIB:.0f} | {got['peak'] / MIB:.0f} | {got['seconds']:.2f} |")
    print(f"\nbefore training: {_in_child(job, None)['peak'] / MIB:.0f} MiB")


def _in_child(job: Job, limit: int | None) -> dict[str, Any]:
    """Train in a process of its own, within a limit; None: only get ready."""
    question = json.dumps(
        {
            "arch": [job.arch.name, job.arch.width, job.arch.depth],
            "sizes": [job.batch, job.crop],
            "limit": limit,
        }
    )
    command = [sys.executable, __file__, "--child", question]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _child(question: dict[str, Any]) -> None:
    import resource

    name, width, depth = question["arch"]
    batch, crop = question["sizes"]
    job = Job(ArchSpec(name=name, width=width, depth=depth), batch, crop, 3)
    names = [name for group in job.source.groups for name in group]
    seconds = 0.0
    job.module()
    if question["limit"]:
        run = Run(device="cpu", limit_memory=question["limit"])
        record = fit(job.recipe, job.source, names, 1, run=run).history[1]
        seconds = record.seconds / job.steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak": peak, "seconds": seconds}))


def _spread(values: list[float], unit: float = 1.0) -> str:
    low, middle, high = min(values) / unit, statistics.median(values) / unit, max(values) / unit
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Run what was asked for, or all."""
    parts = {"speed": speed, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="default: all")
    parser.add_argument("--arch", default="unet")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        _child(json.loads(args.child))
        return
    sizes = (None, None) if "-" in args.arch else (args.width, args.depth)
    arch = ArchSpec(name=args.arch, width=sizes[0], depth=sizes[1])
    for name in args.parts or parts:
        parts[name](Job(arch, args.batch, args.crop, args.steps))


if __name__ == "__main__":
    main()
