"""``pip install geounet`` brings no torch: what is promised works without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio
from test_architecture import DEPENDENCIES, EXTRAS

ABSENT = ["onnx", "torch", "lightning", "torchgeo", "xarray", "segmentation_models_pytorch"]
"""What a plain installation lacks."""

WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))
"""


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", WITHOUT + code],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path))),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def command(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return python(f"from geounet_cli.main import main; sys.exit(main({list(argv)}))", folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, samples) -> Path:
    folder = tmp_path_factory.mktemp("light")
    for name in ("flood_s1", "flood_s1_truth"):
        with rasterio.open(samples / f"{name}.tif") as whole:
            window = rasterio.windows.Window(300, 300, 200, 180)
            data, names, profile = whole.read(window=window), whole.descriptions, whole.profile
        profile.update(width=200, height=180)
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as out:
            out.write(data)
            out.descriptions = names
    return folder


@pytest.fixture(scope="module")
def segmented(folder) -> dict[str, object]:
    """The report of a run."""
    done = command(folder, "segment", "flood_s1.tif", "-o", "flood.tif", "--confidence", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_torch_is_no_dependency() -> None:
    assert "torch" not in DEPENDENCIES
    assert {"openvino", "safetensors"} <= set(DEPENDENCIES)
    assert {"onnx", "torch"} == set(EXTRAS["torch"])


def test_a_scene_is_segmented(folder, segmented) -> None:
    assert segmented["engine"] == "openvino"
    assert segmented["model"] == "flood-s1"
    assert segmented["valid_pixels"] > 0
    assert {"flood.tif", "flood.gpkg", "flood.confidence.tif"} <= {p.name for p in folder.iterdir()}


@pytest.mark.parametrize(
    "argv",
    [
        ("info", "flood_s1.tif"),
        ("models", "list"),
        ("models", "show", "water-ms"),
        ("models", "export", "flood-s1", "--onnx", "-o", "own.onnx"),
        ("segment", "flood_s1.tif", "-m", "own.onnx", "-o", "again.tif", "--no-polygons"),
        ("models", "show", "own.onnx"),
        ("quicklook", "flood_s1.tif", "flood.tif", "flood.png"),
        ("evaluate", "flood.tif", "flood_s1_truth.tif"),
        ("polygonize", "flood.tif", "again.gpkg"),
    ],
    ids=" ".join,
)
def test_the_other_verbs(folder, segmented, argv) -> None:
    assert segmented["engine"] == "openvino"
    done = command(folder, *argv)
    assert done.returncode == 0, done.stderr


def test_from_python(folder) -> None:
    code = (
        "import geounet\n"
        "report = geounet.segment('flood_s1.tif', model='flood-s1', out='b.tif', polygons=False)\n"
        "print(report.engine)"
    )
    done = python(code, folder)
    assert done.stdout == "openvino\n", done.stderr


@pytest.mark.parametrize(
    ("option", "value"), [("--engine", "torch"), ("--device", "cuda"), ("--precision", "bf16")]
)
def test_what_needs_torch_says_how_to_get_it(folder, option, value) -> None:
    done = command(folder, "segment", "flood_s1.tif", "-o", "c.tif", option, value)
    assert done.returncode == 2
    told = f'{option} {value} needs torch, which is not installed: pip install "geounet[torch]"\n'
    assert done.stderr.endswith(told)
    assert not (folder / "c.tif").exists()


def test_training_says_how_to_get_it(folder) -> None:
    data = ("--images", "flood_s1.tif", "--labels", "flood_s1_truth.tif")
    done = command(folder, "train", *data, "-o", "m.geounet")
    assert done.returncode == 2
    assert "pip install 'geounet[train]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_is_reported_to_anybody_and_nothing_slow_is_waited_for(folder) -> None:
    """OpenVINO's package tells a web service of its import; pandas and numba take seconds."""
    code = """
import threading
from geounet_cli.main import main
main(["segment", "flood_s1.tif", "-o", "silent.tif", "--engine", "openvino", "--quiet"])
print(*sorted({"openvino_telemetry", "numba", "pandas", "pyogrio", "pyarrow"} & set(sys.modules)))
print(*(t.name for t in threading.enumerate() if t is not threading.main_thread()))
"""
    done = python(code, folder)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
