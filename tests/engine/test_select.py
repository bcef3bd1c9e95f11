"""Which engine runs: the faster one, or the one asked for, or one clear line."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

import geounet.engine.select as ours
from geounet.bands import Normalizer
from geounet.bundle import load_bundle
from geounet.engine.select import make_engine, make_engines
from geounet.errors import DependencyError, DeviceError, GeounetError, ModelError, OptionError
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(random_bundle(tmp_path_factory.mktemp("bundle") / "m.geounet"))


def normalizer_of(bundle) -> Normalizer:
    return Normalizer.of(bundle.spec.bands, bundle.spec.clip)


def picked(bundle, **asked) -> str:
    return make_engine(bundle, normalizer_of(bundle), **asked).name


@pytest.fixture
def machine(monkeypatch):
    """Says what is installed and what the CPU can do."""

    def has(*, torch=True, openvino=True, gpu=False, bf16=False):
        monkeypatch.setattr(ours, "has_torch", lambda: torch)
        monkeypatch.setattr(ours, "has_openvino", lambda: openvino)
        monkeypatch.setattr(ours, "_has_gpu", lambda: gpu)
        monkeypatch.setattr(ours, "_cpu_has_bf16", lambda: bf16)

    return has


def agreeing(bundle, share):
    return replace(bundle, spec=replace(bundle.spec, bf16_agreement=share))


def test_on_a_cpu_it_is_openvino(bundle, machine) -> None:
    machine()
    assert picked(bundle) == picked(bundle, device="cpu") == "openvino"
    assert picked(bundle, precision="fp32") == "openvino"
    machine(torch=False)
    assert picked(bundle) == "openvino"


def test_without_openvino_or_a_graph_it_is_torch(bundle, machine) -> None:
    machine(openvino=False)
    assert picked(bundle) == "torch"
    machine()
    assert picked(replace(bundle, graph=None)) == "torch"


def test_on_a_gpu_it_is_torch(bundle, machine) -> None:
    machine(gpu=True)
    assert picked(bundle, precision="fp32") == "torch"
    assert picked(bundle, device="cpu") == "openvino"


def test_where_the_cpu_and_the_model_do_bfloat16_it_is_torch(bundle, machine) -> None:
    machine(bf16=True)
    assert picked(agreeing(bundle, 0.9995)) == "torch"
    assert picked(agreeing(bundle, 0.9985)) == picked(bundle) == "openvino"
    assert picked(agreeing(bundle, 0.9995), precision="fp32") == "openvino"
    machine(bf16=True, torch=False)
    assert picked(agreeing(bundle, 0.9995)) == "openvino"
    machine(bf16=False)
    assert picked(agreeing(bundle, 0.9995)) == "openvino"


def test_what_is_asked_for_overrides(bundle, machine) -> None:
    machine(bf16=True)
    assert picked(agreeing(bundle, 1.0), engine="openvino") == "openvino"
    assert picked(bundle, engine="torch") == "torch"
    assert picked(bundle, precision="bf16") == "torch"


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"engine": "onnx"}, OptionError, "--engine onnx: choose auto, torch or openvino"),
        ({"device": "tpu"}, OptionError, "--device tpu: choose auto, cpu, cuda, cuda:N or mps"),
        ({"device": "cpu:1"}, OptionError, "--device cpu:1: choose"),
        ({"device": "cuda:x"}, OptionError, "--device cuda:x: choose"),
        (
            {"precision": "fp8"},
            OptionError,
            "--precision fp8: choose auto, fp32, bf16, fp16 or int8",
        ),
        (
            {"engine": "openvino", "device": "cuda"},
            OptionError,
            "--device cuda: OpenVINO runs on the CPU: pass --engine torch",
        ),
        (
            {"engine": "openvino", "precision": "bf16"},
            DeviceError,
            "--precision bf16: OpenVINO computes in fp32 here: pass --engine torch",
        ),
    ],
)
def test_what_does_not_go_together(bundle, asked, error, message) -> None:
    with pytest.raises(error, match=message):
        picked(bundle, **asked)


@pytest.mark.parametrize(
    "device", ["cuda:0,cuda:0", "cuda,cuda:1", "cpu,cpu", "cuda:0,", "mps,cpu"]
)
def test_several_devices_are_different_gpus(bundle, device) -> None:
    message = f"--device {device}: several devices are different CUDA GPUs, as in cuda:0,cuda:1"
    with pytest.raises(OptionError, match=message):
        make_engines(bundle, normalizer_of(bundle), device=device)


def test_each_device_gets_an_engine(bundle, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(
        "geounet.engine.select.make_engine",
        lambda *_, device, precision, engine: asked.append((device, precision, engine)),
    )
    make_engines(bundle, normalizer_of(bundle), device="cuda:2,cuda:0", precision="fp16")
    assert asked == [("cuda:2", "fp16", "auto"), ("cuda:0", "fp16", "auto")]


def test_what_is_not_installed_is_said_with_the_command(bundle, machine) -> None:
    machine(torch=False, openvino=False)
    with pytest.raises(DependencyError, match="no engine to run the model: pip install openvino"):
        picked(bundle)
    with pytest.raises(DependencyError, match=r"--engine openvino: .*: pip install openvino"):
        picked(bundle, engine="openvino")
    remedy = r"needs torch, which is not installed: pip install \"geounet\[torch\]\""
    with pytest.raises(DependencyError, match=rf"m\.geounet has no graph, so it {remedy}"):
        picked(replace(bundle, graph=None))
    machine(torch=False)
    for asked in ({"engine": "torch"}, {"device": "cuda:1"}, {"precision": "bf16"}):
        ((name, value),) = asked.items()
        with pytest.raises(DependencyError, match=rf"--{name} {value} {remedy}"):
            picked(bundle, **asked)


def test_openvino_without_a_graph(bundle) -> None:
    with pytest.raises(ModelError, match=r"m\.geounet has no graph, .*: pass --engine torch"):
        picked(replace(bundle, graph=None), engine="openvino")


def test_what_cannot_be_imported_is_not_installed(bundle, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "geounet.engine.runtime", raising=False)
    monkeypatch.delattr("geounet.engine.runtime", raising=False)  # where a test has imported it
    assert not ours.has_openvino()
    assert picked(bundle) == "torch"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not ours.has_torch()
    with pytest.raises(GeounetError):
        picked(bundle)


def test_torch_for_the_cpu_has_no_gpu_and_is_not_asked(monkeypatch) -> None:
    monkeypatch.setattr(ours, "version", lambda _: "2.13.0+cpu")
    assert not ours._may_have_gpu()
    monkeypatch.setattr(ours, "version", lambda _: "2.13.0")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert ours._may_have_gpu()


def test_the_threads_are_those_of_torch(monkeypatch) -> None:
    from geounet.engine.openvino import _settings

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert _settings()["INFERENCE_NUM_THREADS"] == 3
    for other in ("", "0", "4,2"):
        monkeypatch.setenv("OMP_NUM_THREADS", other)
        assert "INFERENCE_NUM_THREADS" not in _settings()


def test_half_precision_is_not_taken_for_random_weights() -> None:
    assert random_spec().bf16_agreement is None
