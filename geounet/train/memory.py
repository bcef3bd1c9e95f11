"""The memory of a step: how much it takes, and what is done where that is too much.

First mixed precision, which halves what is remembered for the backward pass; then gradient
checkpointing, which remembers only what goes into each block, for a third more computing; then
smaller minibatches whose gradients are added up, in which batch norms see fewer patches at once.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geounet.engine.device import dtype_of
from geounet.errors import OptionError
from geounet.train.module import SegmentationModule
from geounet.train.norms import freeze
from geounet.train.recompute import recomputed

_MIB = 1 << 20
_TRIAL = (2, 4)  # patches: a step's memory is a straight line over them


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a step is carried out."""

    precision: str = "fp32"
    """fp32, bf16 or fp16."""
    recompute: bool = False
    """Gradient checkpointing."""
    accumulate: int = 1
    """Minibatches a step."""

    def __str__(self) -> str:
        """E.g. ``bf16, gradient checkpointing, 4 minibatches a step``."""
        again = ", gradient checkpointing" if self.recompute else ""
        parts = f", {self.accumulate} minibatches a step" if self.accumulate > 1 else ""
        return f"{self.precision}{again}{parts}"


def ladder(first: Plan, batch: int, device: torch.device) -> Iterator[Plan]:
    """The plan, then what takes less and less memory.

    Args:
        first: What was asked for.
        batch: Patches a step in one process; minibatches are divisors of it, not of one patch,
            which some batch norms cannot do with.
        device: Where the step is taken.
    """
    yield first
    plan = first
    if plan.precision == "fp32":
        plan = replace(plan, precision=_mixed(device))
        yield plan
    if not plan.recompute:
        plan = replace(plan, recompute=True)
        yield plan
    for parts in range(2, batch // 2 + 1):
        if batch % parts == 0:
            yield replace(plan, accumulate=parts)


def step_memory(module: SegmentationModule, plan: Plan, batch: int, device: torch.device) -> int:
    """Bytes that a step of ``batch`` patches takes at its peak, measured on trial steps.

    Weights, their average, gradients, optimiser, batch and all that is remembered in between. On a
    CPU every tensor is counted as it comes and goes, but not what a convolution needs for itself;
    on a GPU it is the peak of torch's allocator. Measured with few patches and drawn on to
    ``batch``, so the trial does not run out of memory itself. Leaves ``module`` as it is.
    """
    minibatch = max(1, batch // plan.accumulate)
    with torch.random.fork_rng():
        if minibatch <= max(_TRIAL):
            return _trial(module, plan, minibatch, device)
        few, more = (_trial(module, plan, n, device) for n in _TRIAL)
    slope = (more - few) / (_TRIAL[1] - _TRIAL[0])
    return round(more + slope * (minibatch - _TRIAL[1]))


def fitting(
    module: SegmentationModule, plans: Iterator[Plan], batch: int, device: torch.device, limit: int
) -> tuple[Plan, list[str]]:
    """The first plan whose step stays within ``limit`` bytes, and a line for each that was tried.

    Raises:
        OptionError: Even the last takes more.
    """
    lines = []
    for plan in plans:
        taken = step_memory(module, plan, batch, device)
        lines.append(f"a step in {plan} takes {size_text(taken)} of {size_text(limit)}")
        if taken <= limit:
            return plan, lines
    raise OptionError(
        f"memory limit {size_text(limit)}: {lines[-1]}, and no less will do: raise the limit,"
        " or make patches or the network smaller"
    )


def size_text(count: int) -> str:
    """Bytes as text: ``80 MiB``, ``1.50 GiB``."""
    mib = count / _MIB
    return f"{mib / 1024:.2f} GiB" if mib >= 1024 else f"{mib:.4g} MiB"


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a GPU, or available to a new process on Linux.

    Raises:
        OptionError: This system does not say.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError) as error:
        raise OptionError(
            "memory limit: this system does not say how much is free: give a number of bytes"
        ) from error
    return 1024 * int(line.split()[1])


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, on a CPU, the bytes of the tensors made within it as long as they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen: weakref.WeakKeyDictionary[torch.UntypedStorage, int] = (
            weakref.WeakKeyDictionary()
        )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator; count the storages of its results that are new."""
        before = {t.untyped_storage() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and (storage := leaf.untyped_storage()) not in before:
                self._add(storage)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        size = self._seen[storage] = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, size)

    def _remove(self, size: int) -> None:
        self.now -= size


def _mixed(device: torch.device) -> str:
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "fp16"
    return "bf16"


def _trial(module: SegmentationModule, plan: Plan, patches: int, device: torch.device) -> int:
    trial = copy.deepcopy(module).to(device).train()
    if trial.recipe.freeze_norms:
        freeze(trial.network)
    weights: int = sum(p.numel() * p.element_size() for p in trial.network.parameters())
    # Adam keeps two values a weight; the average is one more set
    kept = weights * (4 if trial.recipe.ema else 3)
    if device.type == "cuda":
        before = int(torch.cuda.memory_allocated(device))
        torch.cuda.reset_peak_memory_stats(device)
        _step(trial, plan, patches, device)
        return kept + int(torch.cuda.max_memory_allocated(device)) - before
    with LiveBytes() as live:
        _step(trial, plan, patches, device)
    return kept + int(live.peak)


def _step(module: SegmentationModule, plan: Plan, patches: int, device: torch.device) -> None:
    """Forward and backward on noise."""
    recipe = module.recipe
    bands, classes = len(module.augment.normalize.mean.flatten()), len(module.loss.weight)
    shape = (patches, recipe.crop, recipe.crop)
    batch = {
        "image": torch.rand(patches, bands, *shape[1:], device=device),
        "mask": torch.randint(classes, shape, device=device),
    }
    inputs = module.on_after_batch_transfer(batch, 0)
    half = plan.precision != "fp32"
    with (
        recomputed(module.network) if plan.recompute else nullcontext(),
        torch.autocast(device.type, dtype_of(plan.precision), enabled=half),
    ):
        loss = module.training_step(inputs, 0)
        loss.backward()  # type: ignore[no-untyped-call]
