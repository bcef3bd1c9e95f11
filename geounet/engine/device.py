"""Which device and which precision a run gets."""

from __future__ import annotations

import torch

from geounet.engine.select import AGREEMENT
from geounet.errors import DeviceError, OptionError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        OptionError: Another name.
        DeviceError: This machine, or this build of torch, does not have it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdigit())):
        raise OptionError(f"--device {name}: choose auto, cpu, cuda, cuda:N or mps")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: there is no Apple GPU here: use --device cpu")
    if kind == "cuda":
        count = cuda_devices()
        if int(index or 0) >= count:
            why = "this torch has no CUDA" if torch.version.cuda is None else f"{count} found"
            raise DeviceError(
                f"--device {name}: there is no such CUDA GPU here ({why}): use --device cpu"
            )
        return torch.device("cuda", int(index or 0))
    return torch.device(kind)


def cuda_devices() -> int:
    """How many CUDA GPUs torch sees here."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def resolve_precision(name: str, device: torch.device, agreement: float | None) -> str:
    """``fp32``, ``bf16`` or ``fp16``.

    Args:
        name: What was asked for; ``auto`` is the fastest that is known to give the same labels.
        device: Where the network runs.
        agreement: Share of labels that are the same in bfloat16 as in float32 (the bundle's).

    Raises:
        OptionError: Another name.
        DeviceError: float16 on a CPU.
    """
    if name not in ("auto", *_DTYPES):
        raise OptionError(f"--precision {name}: choose auto, fp32, bf16 or fp16")
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("--precision fp16: CPUs have no fast float16: use bf16 or fp32")
    if name != "auto":
        return name
    if agreement is None or agreement < AGREEMENT:
        return "fp32"
    return _half(device)


def dtype_of(precision: str) -> torch.dtype:
    """The torch type of ``fp32``, ``bf16`` or ``fp16``."""
    return _DTYPES[precision]


def _half(device: torch.device) -> str:
    if device.type == "cpu":
        return "bf16" if cpu_has_bf16() else "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "fp16"


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; emulation is slower than float32."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # torch < 2.8 cannot tell
        return False
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("arm_bf16"))
