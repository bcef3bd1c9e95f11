"""Which engine runs a bundle on this machine."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from geounet.bands import Normalizer
from geounet.bundle import Bundle
from geounet.engine.port import ModelEngine
from geounet.errors import DependencyError, DeviceError, OptionError

Name = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]

AGREEMENT = 0.999
"""Half precision is the default only where at least this share of labels equals float32's."""

TORCH = 'pip install "geounet[torch]"'
OPENVINO = "pip install openvino"

_GPUS = ("nvidia[0-9]*", "nvhost-gpu", "nvmap", "kfd", "dxg")
"""What Linux has in ``/dev`` where torch may find a GPU: Nvidia's (desktop, Jetson), AMD's, WSL."""


def make_engines(
    bundle: Bundle,
    normalizer: Normalizer,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
) -> list[ModelEngine]:
    """An engine on each of the devices: one, or several GPUs as in ``cuda:0,cuda:1``.

    Arguments and errors are those of :func:`make_engine`.

    Raises:
        OptionError: Several devices that are not all CUDA GPUs, or one of them twice.
    """
    devices = device.split(",")
    numbered = [one.partition(":")[::2] for one in devices]
    if len(devices) > 1 and (
        len(set(devices)) < len(devices)
        or not all(kind == "cuda" and index.isdigit() for kind, index in numbered)
    ):
        raise OptionError(
            f"--device {device}: several devices are different CUDA GPUs, as in cuda:0,cuda:1"
        )
    return [
        make_engine(bundle, normalizer, engine=engine, device=one, precision=precision)
        for one in devices
    ]


def make_engine(
    bundle: Bundle,
    normalizer: Normalizer,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
) -> ModelEngine:
    """The engine asked for; ``auto`` is the fastest that runs this bundle here.

    That is torch on a GPU; on a CPU torch in bfloat16, where it has the instructions and the model
    keeps its labels, else OpenVINO in float32 (1.7 to 2.4 times as fast as torch with the models
    that ship), else torch.

    Args:
        bundle: The model.
        normalizer: From stored values to its input.
        engine: ``auto``, ``torch`` or ``openvino``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; all but the CPU are torch's.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``; halves are torch's. ``int8`` is for
            models that are of INT8 already, which have no other.

    Raises:
        OptionError: Another name, or names that do not go together.
        DeviceError: This machine does not have it.
        DependencyError: The engine is not installed.
        ModelError: The bundle does not suit the engine.
    """
    _check_names(engine, device, precision)
    _check_int8(bundle, precision)
    if bundle.weights is None:
        _refuse_torch(bundle, engine, device, precision)
        engine = "openvino"
    if _choose(bundle, engine, device, precision) == "openvino":
        from geounet.engine.openvino import OpenVinoEngine

        return OpenVinoEngine(bundle, normalizer)
    from geounet.engine.torch import TorchEngine

    return TorchEngine(bundle, normalizer, device=device, precision=precision)


def _check_names(engine: str, device: str, precision: str) -> None:
    if engine not in get_args(Name):
        raise OptionError(f"--engine {engine}: choose auto, torch or openvino")
    if precision not in get_args(Precision):
        raise OptionError(f"--precision {precision}: choose auto, fp32, bf16, fp16 or int8")
    kind, colon, index = device.partition(":")
    numbered = not colon or (kind == "cuda" and index.isdigit())
    if kind not in ("auto", "cpu", "cuda", "mps") or not numbered:
        raise OptionError(f"--device {device}: choose auto, cpu, cuda, cuda:N or mps")
    if engine != "openvino":
        return
    if kind not in ("auto", "cpu"):
        raise OptionError(f"--device {device}: OpenVINO runs on the CPU: pass --engine torch")
    if precision not in ("auto", "fp32", "int8"):
        raise DeviceError(
            f"--precision {precision}: OpenVINO computes in fp32 here: pass --engine torch"
        )


def _check_int8(bundle: Bundle, precision: str) -> None:
    """INT8 is a property of the model, not of the run."""
    if precision == "int8" and not bundle.is_int8:
        raise OptionError(
            f"--precision int8: {bundle.path} is not of INT8: geounet models quantize makes a model"
            " of it that is"
        )


def _refuse_torch(bundle: Bundle, engine: str, device: str, precision: str) -> None:
    """What asks for torch, where the model is an ONNX file or of INT8."""
    what, own = ("of INT8", "int8") if bundle.is_int8 else ("an ONNX file", "fp32")
    asked = {"--engine": engine, "--device": device, "--precision": precision}
    here = ("auto", "openvino", "cpu", own)
    if names := [f"{k} {v}" for k, v in asked.items() if v not in here]:
        raise OptionError(
            f"{names[0]}: {bundle.path} is {what}, which OpenVINO runs, on the CPU and in {own}:"
            " leave it out" + (", or give the model that it was made of" * bundle.is_int8)
        )


def _choose(bundle: Bundle, engine: str, device: str, precision: str) -> str:
    if engine == "openvino":
        if not has_openvino():
            raise DependencyError(f"--engine openvino: it is not installed: {OPENVINO}")
        return "openvino"
    wants_torch = (
        engine == "torch"
        or device not in ("auto", "cpu")
        or precision not in ("auto", "fp32")
        or (device == "auto" and _has_gpu())
        or (precision == "auto" and _half_is_faster(bundle))
    )
    if not wants_torch and bundle.graph is not None and has_openvino():
        return "openvino"
    if has_torch():
        return "torch"
    raise DependencyError(_no_torch(bundle, engine, device, precision))


def _no_torch(bundle: Bundle, engine: str, device: str, precision: str) -> str:
    asked = {"--engine": engine, "--device": device, "--precision": precision}
    names = [f"{k} {v}" for k, v in asked.items() if v not in ("auto", "cpu", "fp32")]
    if names:
        return f"{' '.join(names)} needs torch, which is not installed: {TORCH}"
    if bundle.graph is None:
        return f"{bundle.path} has no graph, so it needs torch, which is not installed: {TORCH}"
    return f"there is no engine to run the model: {OPENVINO}"


def has_torch() -> bool:
    """Whether torch is installed; it is not imported, which takes a second or two."""
    return find_spec("torch") is not None


def has_openvino() -> bool:
    """Whether OpenVINO is installed and loads."""
    try:
        from geounet.engine import runtime  # noqa: F401
    except ImportError:
        return False
    return True


def _has_gpu() -> bool:
    """Whether torch has a GPU; torch is asked only where there may be one."""
    if not has_torch() or not _may_have_gpu():
        return False
    from geounet.engine.device import resolve_device

    return resolve_device("auto").type != "cpu"


def _may_have_gpu() -> bool:
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:  # torch from source, or a namesake
        return True
    if sys.platform != "linux":
        return True
    return any(any(Path("/dev").glob(name)) for name in _GPUS)


def _half_is_faster(bundle: Bundle) -> bool:
    """Whether torch is to compute in bfloat16: at several times the speed, with the same labels."""
    agreement = bundle.spec.bf16_agreement
    if agreement is None or agreement < AGREEMENT or not has_torch():
        return False
    return not has_openvino() or _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    from geounet.engine.runtime import ov

    # OpenVINO can tell in no time, where torch would have to be imported
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
