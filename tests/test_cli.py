"""The command line: what it prints where, and with which exit code it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import termios
import time
from functools import partial

import numpy as np
import pytest
import rasters
from affine import Affine

import geounet
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet_cli.main import main

FIELDS = {
    "raster",
    "polygons",
    "model",
    "pixels",
    "valid_pixels",
    "seconds",
    "mpx_per_s",
    "engine",
    "device",
    "precision",
    "tile",
    "halo",
    "classes",
}
"""Of ``--json``, as promised to programs; more are fine."""

VERBS = ("segment", "info", "models", "evaluate", "quicklook")


@pytest.fixture(autouse=True)
def signals():
    """``main`` turns SIGTERM into an interruption; give pytest its own back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small scene, a model that reads it, and labels."""
    folder = tmp_path_factory.mktemp("cli")
    random_bundle(folder / "random.geounet", random_spec(("red", "nir"), classes=3), seed=2)
    data = np.random.default_rng(1).normal(size=(2, 150, 140)).astype(np.float32)
    data[:, :20, :30] = np.nan
    write = partial(rasters.write, nodata=np.nan, transform=rasters.at(10, 5e5))
    write(folder / "valley.tif", data, names=("red", "nir"))
    write(folder / "plain.tif", data, crs=None, names=("red", "nir"))
    write(folder / "unnamed.tif", data, names=(None, None))
    return folder


def segment(folder, out, *options: str, scene: str = "valley.tif") -> list[str]:
    model = str(folder / "random.geounet")
    return ["segment", str(folder / scene), "-m", model, "-o", str(out), *options]


def start(arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "geounet_cli", *arguments],
        check=False,
        capture_output=True,
        text=True,
        **options,
    )


@pytest.mark.parametrize(
    "verb", [(), *((v,) for v in VERBS), ("models", "list"), ("models", "show")]
)
def test_help(verb, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*verb, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: {' '.join(['geounet', *verb])}")
    if not verb:
        assert all(re.search(rf"^    {name}\b", text, re.MULTILINE) for name in VERBS)


def test_help_of_segment_names_every_option(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    text = capsys.readouterr().out
    for option in (
        "-m",
        "-o",
        "--polygons",
        "--no-polygons",
        "--confidence",
        "--bands",
        "--scale",
        "--offset",
        "--aoi",
        "--tile",
        "--engine",
        "--device",
        "--precision",
        "--overwrite",
        "--quiet",
        "--json",
    ):
        assert option in text


def test_each_command_has_a_line_in_the_help(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    for verb in ("segment", "polygonize", "info", "models", "evaluate", "quicklook", "train"):
        assert re.search(rf"^    {verb} +[a-z]+ ", out, re.MULTILINE)


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"geounet {geounet.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["segment"], ["segment", "a.tif", "--tile", "x"]]
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("geounet: ")
    assert err.rstrip().endswith(" --help")
    assert err.count("\n") == 1


def test_the_result_for_a_person(folder, tmp_path, capsys) -> None:
    assert main(segment(folder, tmp_path / "a.tif", "--confidence")) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[:3] == [str(tmp_path / n) for n in ("a.tif", "a.gpkg", "a.confidence.tif")]
    assert [line.split()[:2] for line in lines[3:6]] == [["class", str(i)] for i in range(3)]
    assert all(line.endswith(" km2") and "%" in line for line in lines[3:6])
    assert lines[6].startswith("0.02 Mpx in ")
    assert len(lines) == 7
    assert err == ""  # not a terminal: no progress bar


def test_json_is_the_last_line(folder, tmp_path, capsys) -> None:
    assert main(segment(folder, tmp_path / "a.tif", "--json", "--tile", "64")) == 0
    out = capsys.readouterr().out
    told = json.loads(out.splitlines()[-1])
    assert set(told) >= FIELDS
    assert told["raster"] == str(tmp_path / "a.tif")
    assert told["polygons"] == str(tmp_path / "a.gpkg")
    assert told["model"] == "random"
    assert told["pixels"] == 150 * 140
    assert told["valid_pixels"] == 150 * 140 - 20 * 30
    assert told["tile"] == 64
    assert set(told["classes"]) == {"class 0", "class 1", "class 2"}
    assert all(set(entry) == {"pixels", "area_m2"} for entry in told["classes"].values())
    assert sum(e["pixels"] for e in told["classes"].values()) == told["valid_pixels"]
    area = sum(e["area_m2"] for e in told["classes"].values())
    assert area == pytest.approx(100 * told["valid_pixels"], rel=2e-3)


def test_json_without_polygons_and_crs(folder, tmp_path, capsys) -> None:
    command = segment(folder, tmp_path / "a.tif", "--json", "--no-polygons", scene="plain.tif")
    assert main(command) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["polygons"] is None
    assert {entry["area_m2"] for entry in told["classes"].values()} == {None}
    assert err == f"geounet: {folder / 'plain.tif'} has no CRS, so the outputs have none either\n"
    assert not (tmp_path / "a.gpkg").exists()


def test_quiet(folder, tmp_path, capsys) -> None:
    assert main(segment(folder, tmp_path / "a.tif", "--quiet", scene="plain.tif")) == 0
    assert capsys.readouterr() == ("", "")
    assert main(segment(folder, tmp_path / "b.tif", "-q", "--json")) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["raster"] == str(tmp_path / "b.tif")
    assert err == ""


REFUSED = {
    "a scene that is not there": (["segment", "no.tif"], "no.tif"),
    "a model that is not there": (["segment", "valley.tif", "-m", "no"], "there is no model 'no'"),
    "bands without names": (
        ["segment", "unnamed.tif", "-m", "random.geounet"],
        "--bands red=1,nir=2",
    ),
    "no bundled model fits": (["segment", "valley.tif"], "no bundled model reads its bands"),
    "a tile of nothing": (["segment", "valley.tif", "--tile", "0"], "--tile 0"),
    "a PNG": (["segment", "valley.tif", "-o", "a.png"], "end it in .tif"),
    "the scene as output": (
        ["segment", "valley.tif", "-m", "random.geounet", "-o", "valley.tif", "--overwrite"],
        "is the scene itself",
    ),
    "a folder that is not there": (
        ["segment", "valley.tif", "-m", "random.geounet", "-o", "no/a.tif"],
        "the folder no does not exist",
    ),
    "a device": (
        ["segment", "valley.tif", "-m", "random.geounet", "--device", "tpu"],
        "--device tpu: choose",
    ),
    "an area that is not there": (
        ["segment", "valley.tif", "-m", "random.geounet", "--aoi", "no.gpkg"],
        "--aoi no.gpkg",
    ),
    "info": (["info", "no.tif"], "no.tif"),
    "models show": (["models", "show", "no"], "there is no model 'no'"),
    "evaluate": (["evaluate", "no.tif", "valley.tif"], "no.tif"),
    "quicklook": (["quicklook", "no.tif", "valley.tif", "a.png"], "no.tif"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_one_line_and_exit_code_2(case, folder, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    before = sorted(p.name for p in folder.iterdir())
    command, message = REFUSED[case]
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("geounet: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(p.name for p in folder.iterdir()) == before


def test_existing_outputs_are_refused_without_overwrite(folder, tmp_path, capsys) -> None:
    command = segment(folder, tmp_path / "a.tif", "-q")
    assert main(command) == 0
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert main(command) == 2
    assert "exists: pass --overwrite" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert main([*command, "--overwrite"]) == 0


def test_a_bug_shows_its_traceback(folder, tmp_path, monkeypatch) -> None:
    def bug(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("geounet.segmentation.run_segment", bug)
    with pytest.raises(ZeroDivisionError):
        main(segment(folder, tmp_path / "a.tif"))


def test_an_interruption_leaves_nothing(folder, tmp_path, monkeypatch, capsys) -> None:
    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("geounet.engine.torch.TorchEngine.predict", interrupted)
    assert main(segment(folder, tmp_path / "a.tif", "--engine", "torch")) == 130
    assert capsys.readouterr().err == "geounet: interrupted; nothing was left behind\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_finished_strips_or_nothing(number, folder, tmp_path) -> None:
    big = np.random.default_rng(1).normal(size=(2, 2000, 1000)).astype(np.float32)
    rasters.write(folder / "big.tif", big, names=("red", "nir"))
    command = segment(folder, tmp_path / "a.tif", "--tile", "64", scene="big.tif")
    process = subprocess.Popen(
        [sys.executable, "-m", "geounet_cli", *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob(".*scratch*")) and time.monotonic() < deadline:
        time.sleep(0.02)  # it has begun to write
    process.send_signal(number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    left = [path.name for path in tmp_path.iterdir()]
    if left:
        assert left == [".a.tif.parts"]
        goes_on = f"the same command goes on with what is finished of {tmp_path / 'a.tif'}"
        assert err == f"geounet: interrupted; {goes_on}\n"
    else:
        assert err == "geounet: interrupted; nothing was left behind\n"


def test_python_dash_m_and_the_progress_bar_on_a_terminal(folder, tmp_path) -> None:
    """A pseudo-terminal is where a person watches."""
    pty = pytest.importorskip("pty")
    watched, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", "geounet_cli", *segment(folder, tmp_path / "a.tif", "--tile", "32")],
        stderr=terminal,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # the terminal is closed when the process ends
        while chunk := os.read(watched, 4096):
            seen += chunk
    out, _ = process.communicate(timeout=100)
    os.close(watched)
    assert process.returncode == 0
    bar = seen.decode()
    assert re.search(r"% \|.*\| 0\.0\d/0\.0\d Mpx, +0\.\d\d Mpx/s, \d\d:\d\d left", bar)
    assert "s/Mpx" not in bar  # as tqdm has it for what is slow
    assert " left" in bar
    assert out.startswith(str(tmp_path / "a.tif"))


def test_a_full_disk_is_one_line(folder, tmp_path) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    # the compiled polygoniser must be on disk before
    assert main(segment(folder, tmp_path / "warm.tif", "-q")) == 0
    target = tmp_path / "full"
    target.mkdir()
    done = start(segment(folder, target / "a.tif"), preexec_fn=no_room)
    assert done.returncode == 2
    assert done.stderr.startswith(f"geounet: {target}: the polygons cannot be written (")
    assert done.stderr.count("\n") == 1
    assert list(target.iterdir()) == []


def test_a_reader_that_has_gone(folder) -> None:
    """``geounet models list | head -1`` ends quietly."""
    read, write_ = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "geounet_cli", "models", "list"],
        stdout=write_,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
        cwd=folder,
    )
    os.close(write_)
    assert process.stderr == ""
    assert process.returncode == 1


def test_info_of_the_samples(samples, capsys) -> None:
    assert main(["info", str(samples / "flood_s1.tif")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:7] == [
        f"scene: {samples / 'flood_s1.tif'}",
        "size:  1024 x 1024 px, blocks of 256 x 256",
        "CRS:   EPSG:32634 WGS 84 / UTM zone 34N",
        "pixel: 10 x 10 metre, corner at 405000, 5012000",
        "bands:",
        "  1  VV: float32, nodata nan",
        "  2  VH: float32, nodata nan",
    ]
    assert lines[7] == "models:"
    assert "  flood-s1: fits" in lines
    assert any(line.startswith("  water-ms: no: ") for line in lines)
    assert main(["info", str(samples / "river_ms.tif")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  5  nir: int16, scale 0.0001 offset 0, nodata -9999" in lines
    assert "  water-ms: fits" in lines


def test_info_of_a_scene_without_a_place(tmp_path, capsys) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "photo.png")
    assert main(["info", str(tmp_path / "photo.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("size:  30 x 20 px")
    assert lines[2:5] == ["CRS:   none", "place: none: the outputs have none either", "bands:"]
    assert len(lines) == 5 + 3 + 1 + 3
    assert sum(": no: " in line for line in lines) == 3


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        ("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 50), "0.0001 x 0.0001 degree (about 8.93 m)"),
        ("EPSG:4326", Affine(0.5, 0, 10, 0, -0.5, 50), "0.5 x 0.5 degree (about 45.7 km)"),
        (
            "EPSG:2263",
            Affine(3, 0, 980_000, 0, -3, 210_000),
            "3 x 3 US survey foot (about 0.914 m)",
        ),
        ("EPSG:32633", Affine(3, 4, 5e5, 4, -3, 5e6), "5 x 5 metre (rotated)"),
        (None, Affine(3, 0, 5, 0, -3, 9), "3 x 3"),
    ],
)
def test_info_tells_the_size_of_a_pixel(tmp_path, capsys, crs, transform, expected) -> None:
    path = tmp_path / "a.tif"
    rasters.write(path, np.zeros((9, 8), np.uint8), offset=-0.1, crs=crs, transform=transform)
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert f"\npixel: {expected}, corner at " in text
    assert "  1  a: uint8, scale 1 offset -0.1\n" in text


def test_evaluate_and_quicklook_of_a_run(folder, tmp_path, capsys) -> None:
    assert main(segment(folder, tmp_path / "a.tif", "-q")) == 0
    assert main(["evaluate", str(tmp_path / "a.tif"), str(tmp_path / "a.tif"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["overall_accuracy"] == 1
    picture = tmp_path / "a.png"
    assert (
        main(["quicklook", str(folder / "valley.tif"), str(tmp_path / "a.tif"), str(picture)]) == 0
    )
    assert picture.stat().st_size > 1000
