"""Killed at any moment and started again: the bytes of a run that was never killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasters
from odc.geo.geobox import GeoBox

import geounet
from geounet.scene import MemoryScene
from geounet.stitch import segment_strip
from geounet.stripfile import read_strip
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec

HEIGHT, WIDTH, TILE = 900, 500, 64
NAMES = ("red", "nir")


def noise(seed: int = 1, height: int = HEIGHT) -> np.ndarray:
    coarse = np.random.default_rng(seed).normal(size=(2, -(-height // 8), -(-WIDTH // 8)))
    return np.kron(coarse, np.ones((8, 8)))[:, :height, :WIDTH].astype(np.float32)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    return rasters.write(tmp_path_factory.mktemp("scene") / "valley.tif", noise(), names=NAMES)


@pytest.fixture(scope="module", params=["exact", "blend"])
def model(request, tmp_path_factory) -> Path:
    spec = replace(random_spec(NAMES, classes=4, width=4, depth=2), seam=request.param)
    return random_bundle(
        tmp_path_factory.mktemp("model") / f"{request.param}.geounet", spec, seed=3
    )


def command(scene, model, out, *options) -> list[str]:
    argv = ["segment", scene, "-m", model, "-o", out, "--tile", TILE, "--confidence", *options]
    return [sys.executable, "-m", "geounet_cli", *map(str, argv)]


def run(scene, model, out, *options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(scene, model, out, *options), capture_output=True, text=True, check=True
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def expected(scene, model, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("expected")
    run(scene, model, folder / "a.tif")
    found = content(folder)
    assert sorted(found) == ["a.confidence.tif", "a.gpkg", "a.qml", "a.tif", "a.tif.aux.xml"]
    return found


def strips(folder: Path) -> int:
    return len(list(folder.glob(".a.tif.parts/*.strip")))


def killed(argv: list[str], folder: Path, number: int, *, after: int) -> None:
    """Start a run, and end it when there are so many strips, or something has its final name."""
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while strips(folder) < after and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(number)
        process.wait()


def test_killed_and_resumed(scene, model, expected, tmp_path) -> None:
    argv = command(scene, model, tmp_path / "a.tif")
    for after, number in ((1, signal.SIGKILL), (6, signal.SIGTERM)):
        killed(argv, tmp_path, number, after=after)
        assert strips(tmp_path) >= after
        assert not (tmp_path / "a.tif").exists()
    said = run(scene, model, tmp_path / "a.tif").stderr
    assert "an earlier run of" in said
    assert "was interrupted: going on with " in said
    assert content(tmp_path) == expected


class KilledError(BaseException):
    """Stands for the end of the process."""


def stopped(scene, model, out, **options) -> None:
    """Half of a run, in this process."""

    def progress(done, total) -> None:
        if done > total / 2:
            raise KilledError

    with pytest.raises(KilledError):
        geounet.segment(scene, model=model, out=out, progress=progress, **options)
    assert strips(out.parent) > 3


@pytest.mark.slow
def test_twenty_kills_at_any_moment(scene, model, expected, tmp_path) -> None:
    rng = np.random.default_rng(5)
    start = time.monotonic()
    run(scene, model, tmp_path / "a.tif")
    whole = time.monotonic() - start
    for kill in range(20):
        folder = tmp_path / str(kill)
        folder.mkdir()
        argv = command(scene, model, folder / "a.tif")
        with subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(rng.uniform(0, 1.1 * whole))
            process.kill()
        if not (folder / "a.tif").exists():  # else it was complete
            run(scene, model, folder / "a.tif")
        assert content(folder) == expected, kill


def test_what_was_finished_is_not_read_nor_computed_again(
    scene, model, expected, tmp_path, monkeypatch
) -> None:
    stopped(scene, model, tmp_path / "a.tif", tile=TILE, confidence=True)
    done, asked, before = strips(tmp_path), [], geounet.stitch.cut
    monkeypatch.setattr("geounet.stitch.cut", lambda *a: asked.append(len(a[1])) or before(*a))
    monkeypatch.setattr("geounet.blend.cut", lambda *a: asked.append(len(a[1])) or before(*a))
    seen = []
    geounet.segment(
        scene,
        model=model,
        out=tmp_path / "a.tif",
        tile=TILE,
        confidence=True,
        progress=lambda done, _total: seen.append(done),
    )
    assert content(tmp_path) == expected
    rows, cols = -(-HEIGHT // TILE), -(-WIDTH // TILE)
    again = 2 if model.stem == "blend" else 0
    assert sum(asked) <= (rows - done + again) * cols
    assert seen[0] > 0
    assert seen[-1] == HEIGHT * WIDTH
    assert seen == sorted(seen)


@pytest.mark.parametrize("lost", [{0}, {1, 2}, {0, 2}])
def test_strips_that_are_lost_are_made_anew_between_the_others(
    scene, model, expected, tmp_path, monkeypatch, lost
) -> None:
    """As workers leave them that do not go from top to bottom."""
    stopped(scene, model, tmp_path / "a.tif", tile=TILE, confidence=True)
    paths = sorted(tmp_path.glob(".a.tif.parts/*.strip"))
    for index in lost:
        paths[index].unlink()
    kept = []
    monkeypatch.setattr("geounet.parts.read_strip", lambda p: kept.append(p) or read_strip(p))
    geounet.segment(scene, model=model, out=tmp_path / "a.tif", tile=TILE, confidence=True)
    assert content(tmp_path) == expected
    assert kept == [path for index, path in enumerate(paths) if index not in lost]


@pytest.mark.parametrize("change", ["the scene", "--confidence", "the tiles", "the model", "--aoi"])
def test_what_changed_is_said_and_all_is_done_anew(tmp_path, change) -> None:
    scene = rasters.write(tmp_path / "valley.tif", noise(), names=NAMES)
    spec = random_spec(NAMES, classes=4, width=4, depth=2)
    model = random_bundle(tmp_path / "m.geounet", spec, seed=3)
    folder = tmp_path / "out"
    folder.mkdir()
    stopped(scene, model, folder / "a.tif", tile=TILE, confidence=True)
    options: dict[str, object] = {"tile": TILE, "confidence": True}
    if change == "the scene":
        rasters.write(scene, noise(seed=2), names=NAMES)
    elif change == "the model":
        random_bundle(model, spec, seed=4)
    elif change == "--aoi":
        options["aoi"] = _left_half(tmp_path / "left.geojson")
    else:
        options |= {"confidence": False} if change == "--confidence" else {"tile": 128}
    said: list[str] = []
    _segment(scene, model, folder / "a.tif", said, **options)
    (line,) = said
    assert line == (
        f"an earlier run of {folder / 'a.tif'} was interrupted, and {change} changed since then:"
        " starting anew"
    )
    other = tmp_path / "other"
    other.mkdir()
    _segment(scene, model, other / "a.tif", said, **options)
    assert content(folder) == content(other)


def _segment(scene, model, out, said, **options) -> None:
    from geounet.options import SegmentOptions
    from geounet.segmentation import run_segment

    run_segment(scene, SegmentOptions.of(model, out, options), say=said.append, warn=print)


def _left_half(path: Path) -> Path:
    west, north = rasters.WEST, rasters.NORTH
    east, south = west + 10 * WIDTH // 2, north - 10 * HEIGHT
    ring = [[west, north], [east, north], [east, south], [west, south], [west, north]]
    crs = '{"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}'
    path.write_text(
        f'{{"type": "FeatureCollection", "crs": {crs}, "features": [{{"type": "Feature",'
        f' "properties": {{}}, "geometry": {{"type": "Polygon", "coordinates": [{ring}]}}}}]}}'
    )
    return path


def test_killed_while_files_get_their_names(scene, model, expected, tmp_path, monkeypatch) -> None:
    """Some have theirs then; the same command replaces them without being told to."""
    names = []
    rename = Path.replace

    def until_third(path, target):
        if Path(target).name in expected:
            names.append(Path(target).name)
        if len(names) == 3:
            raise KilledError
        return rename(path, target)

    options = {"tile": TILE, "confidence": True}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", until_third)
        with pytest.raises(KilledError):
            geounet.segment(scene, model=model, out=tmp_path / "a.tif", **options)
    assert len([name for name in expected if (tmp_path / name).exists()]) == 2
    geounet.segment(scene, model=model, out=tmp_path / "a.tif", **options)
    assert content(tmp_path) == expected


def test_a_scene_in_memory_leaves_no_parts(model, tmp_path, monkeypatch) -> None:
    """It cannot be known again."""

    def interrupted(*args, **options):
        if any(tmp_path.glob(".*parts")):
            raise AssertionError
        return segment_strip(*args, **options)

    monkeypatch.setattr("geounet.stitch.segment_strip", interrupted)
    grid = GeoBox((300, WIDTH), rasters.UTM["transform"], rasters.UTM["crs"])
    held = MemoryScene.of(noise(height=300), geobox=grid, names=NAMES)
    geounet.segment(held, model=model, out=tmp_path / "a.tif", tile=TILE)
    assert not list(tmp_path.glob(".*"))


def test_temporary_files_of_a_dead_process_are_removed(tmp_path) -> None:
    from geounet.staging import Staging

    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    kinds = ("partial.tif", "scratch.tif-journal", "partial.gpkg-wal")
    for name in (*(f".a.{dead.pid}.{kind}" for kind in kinds), f".a.b.{dead.pid}.scratch.tif"):
        (tmp_path / name).write_text("of a dead process")
    others = (f".a.{os.getppid()}.partial.tif", f".b.{dead.pid}.partial.tif", ".a.x.partial.tif")
    for name in others:
        (tmp_path / name).write_text("not of one")
    with Staging() as staging:
        staging.stage(tmp_path / "a.tif")
        staging.scratch(tmp_path / "a.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
