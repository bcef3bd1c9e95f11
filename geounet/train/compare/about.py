"""How a comparison came about: command, machine and versions, without paths of this machine."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

_DATA = "GEOUNET_DATA"
_PACKAGES = ("geounet", "torch", "lightning", "segmentation-models-pytorch")


def shown_command(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> str:
    """A command line to show to others.

    Args:
        arguments: As in ``sys.argv``, without the program.
        environment: Whose ``GEOUNET_DATA`` stands for its value; of any other absolute path only
            the last part is shown.
    """
    data = environment.get(_DATA, "").rstrip("/")
    return " ".join(["geounet", *(_shown(argument, data) for argument in arguments)])


def machine(device: torch.device) -> str:
    """CPU, its cores, the threads that are used, and the GPU if that is the device."""
    threads = torch.get_num_threads()
    cpu = f"{_cpu()}, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''} used"
    return f"{torch.cuda.get_device_name(device)}; {cpu}" if device.type == "cuda" else cpu


def versions() -> str:
    """Of Python and of what does the work."""
    packages = (f"{name} {version(name)}" for name in _PACKAGES)
    return ", ".join([f"Python {platform.python_version()}", *packages])


def _shown(argument: str, data: str) -> str:
    flag, equals, value = argument.partition("=")
    if argument.startswith("--") and equals:
        return f"{flag}={_shown(value, data)}"
    if data and (argument == data or argument.startswith(f"{data}/")):
        rest = argument[len(data) :]
        return f"${_DATA}{shlex.quote(rest) if rest else ''}"
    path = Path(argument)
    return shlex.quote(path.name if path.is_absolute() else argument)


def _cpu() -> str:
    """Name of the CPU; of its kind where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
