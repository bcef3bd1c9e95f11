"""Peak memory of a network, measured in a process of its own: ``python -m`` this module.

Only a fresh process tells what a network takes: memory that another one has freed may or may not
have gone back to the system.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geounet.errors import DeviceError
from geounet.nn import build
from geounet.spec import ArchSpec

_MAXRSS = 1 if sys.platform == "darwin" else 1024  # bytes a unit of ru_maxrss


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a network is given to do."""

    bands: int
    """Of the input."""
    classes: int
    """Of the output."""
    tile: int = 512
    """Side of the tile of inference in pixels, a multiple of the stride."""
    batch: int = 8
    """Patches of a training step."""
    crop: int = 128
    """Side of such a patch in pixels."""
    device: str = "cpu"
    """``cpu`` or ``cuda:N``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Bytes at the peak, beyond those of an interpreter that has only loaded torch."""

    inference: int
    """One tile: weights and activations."""
    training: int
    """Two steps of AdamW with cross-entropy: gradients and the optimiser's state too."""


def peak_memory(arch: ArchSpec, load: Load) -> Peak:
    """Measure the peaks of a network, each in a fresh process.

    Raises:
        DeviceError: The process died, as it does where memory runs out.
    """
    return Peak(**{what: _ask(arch, load, what) for what in ("inference", "training")})


def _ask(arch: ArchSpec, load: Load, what: str) -> int:
    question = json.dumps({"arch": asdict(arch), "load": asdict(load), "what": what})
    done = subprocess.run(  # noqa: S603  this very module
        [sys.executable, "-m", __spec__.name],
        input=question,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DeviceError(
            f"{arch.name}: the {what} of {load} ended with {done.returncode} ({last[:160]}):"
            " take a smaller tile, batch or crop"
        )
    return int(json.loads(done.stdout.splitlines()[-1]))


def _answer(question: dict[str, Any]) -> int:
    load = Load(**question["load"])
    work = _infer if question["what"] == "inference" else _train
    torch.manual_seed(0)
    nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 8, 8))  # loads the library behind convolutions
    device = torch.device(load.device)
    if device.type == "cuda":
        return _cuda_peak(lambda: work(ArchSpec(**question["arch"]), load), device)
    before = _forget_peak()
    work(ArchSpec(**question["arch"]), load)
    return max(0, _peak() - before)


def _infer(arch: ArchSpec, load: Load) -> None:
    network = _built(arch, load).eval()
    with torch.inference_mode():
        network(_input(1, load.tile, load))


def _train(arch: ArchSpec, load: Load) -> None:
    network = _built(arch, load).train()
    optimizer = torch.optim.AdamW(network.parameters())
    label = torch.randint(load.classes, (load.batch, load.crop, load.crop), device=load.device)
    for _ in range(2):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(_input(load.batch, load.crop, load)), label)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _built(arch: ArchSpec, load: Load) -> nn.Module:
    network = build(arch, load.bands, load.classes).to(load.device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _input(batch: int, size: int, load: Load) -> Tensor:
    x = torch.randn(batch, load.bands, size, size, device=load.device)
    return x.contiguous(memory_format=torch.channels_last)


def _cuda_peak(work: Callable[[], None], device: torch.device) -> int:
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device)


def _forget_peak() -> int:
    """Resident bytes now; the kernel's high-water mark starts anew where it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # no Linux, or not allowed: the mark so far is the best there is
        return _peak()
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak() -> int:
    """The high-water mark of this process in bytes."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource  # not on Windows, which has no peak to ask for here

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS


if __name__ == "__main__":
    sys.stdout.write(f"{_answer(json.load(sys.stdin))}\n")
