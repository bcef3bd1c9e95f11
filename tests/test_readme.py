"""Every command and every piece of Python in the README runs as it stands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely.geometry
from affine import Affine

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL)
CLASSES = json.dumps(
    [
        {"code": 0, "name": "land", "color": "#d9d2c3"},
        {"code": 1, "name": "water", "color": "#1f78b4"},
    ]
)
MADE = ("make demo", "make test")
"""Run by ``.ci/run`` itself: a test that ran the tests would never end."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README takes for granted: a scene, its bands as files, and labels."""
    folder = tmp_path_factory.mktemp("readme")
    samples = ROOT / "sample_tiles"
    shutil.copy(samples / "river_ms_water.tif", folder / "truth.tif")
    with rasterio.open(samples / "river_ms.tif") as scene:
        window = rasterio.windows.Window(0, 0, 256, 256)
        data, profile = scene.read(window=window), scene.profile
        names, scales = scene.descriptions, scene.scales
    with rasterio.open(samples / "river_ms_water.tif") as truth:
        labels, label_profile = truth.read(1, window=window), truth.profile
    profile.update(height=256, width=256)
    label_profile.update(height=256, width=256)
    with rasterio.open(folder / "truth.tif", "w", **label_profile) as out:
        out.write(labels, 1)
    with rasterio.open(folder / "scene.tif", "w", **profile) as out:
        out.write(data)
        out.descriptions, out.scales = names, scales
    (folder / "scenes").mkdir()
    shutil.copy(folder / "scene.tif", folder / "scenes")
    with rasterio.open(folder / "unnamed.tif", "w", **profile) as out:
        out.write(data)
    item = stac_item(names)
    (folder / "items.json").write_text(json.dumps(item), encoding="utf-8")
    for name, west in (("west", 0), ("east", 100)):
        corner = profile["transform"] @ Affine.translation(west, 0)
        label_profile.update(width=156, transform=corner)
        with rasterio.open(folder / f"{name}.tif", "w", **label_profile) as out:
            out.write(labels[:, west : west + 156], 1)
            out.update_tags(GEOUNET_CLASSES=CLASSES)
    profile.update(count=1)
    for band, values in enumerate(data, start=1):
        with rasterio.open(folder / f"LC08_B{band}.TIF", "w", **profile) as out:
            out.write(values, 1)
    return folder


def stac_item(names) -> dict[str, object]:
    """An ItemCollection of one scene."""
    image = {"href": "scene.tif", "bands": [{"name": name} for name in names]}
    feature = {"type": "Feature", "id": "river", "assets": {"image": image}}
    return {"type": "FeatureCollection", "features": [feature]}


@pytest.fixture(scope="module")
def drawn(folder: Path) -> Path:
    """The same folder, with polygons of its truth, another scene, photos and masks."""
    import geopandas
    from PIL import Image
    from rasterio.features import shapes

    with rasterio.open(folder / "truth.tif") as truth:
        labels, grid, crs = truth.read(1), truth.transform, truth.crs
    found = [(shape, value) for shape, value in shapes(labels, labels != 255, transform=grid)]
    names = {0: "land", 1: "water"}
    geopandas.GeoDataFrame(
        {"kind": [names[int(value)] for _, value in found]},
        geometry=[shapely.geometry.shape(shape) for shape, _ in found],
        crs=crs,
    ).to_file(folder / "drawn.gpkg")
    shutil.copy(folder / "scene.tif", folder / "other.tif")
    rng = np.random.default_rng(2)
    for kind in ("photos", "masks"):
        (folder / kind).mkdir()
    for i in range(5):
        crack = np.abs(np.arange(64)[:, None] - np.arange(64) + 8 * i - 16) < 3
        photo = rng.normal(150, 15, (64, 64)) - 80 * crack
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(folder / f"photos/{i}.jpg")
        Image.fromarray((crack * 255).astype(np.uint8)).save(folder / f"masks/{i}.png")
    return folder


def commands() -> list[str]:
    lines = [
        line.split("  #")[0].strip()
        for language, text in BLOCKS
        if language == "sh"
        for line in text.splitlines()
    ]
    return [line for line in lines if line]


def trains(command: str) -> bool:
    """Whether a command needs what training needs, or what it made."""
    return bool(re.search("geounet (train|compare)|lake|crack", command))


def run(command: str, folder: Path) -> None:
    assert command.startswith("geounet ")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", [c for c in commands() if not trains(c)])
def test_command(command: str, folder: Path) -> None:
    if command in MADE:
        assert command in (ROOT / ".ci" / "run").read_text()
        assert f"\n{command.split()[1]}: " in (ROOT / "Makefile").read_text()
        return
    run(command, folder)


def inline() -> list[str]:
    """Commands within sentences; a lone verb is a name."""
    found = re.findall(r"`(geounet [^`]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    return [command for command in found if len(command.split()) > 2]


@pytest.mark.parametrize("command", inline())
def test_command_in_a_sentence(command: str, folder: Path) -> None:
    """Runs where all that it needs is here; the others are complete, with options that exist."""
    from geounet_cli.main import _parser

    if any(text in command for text in ("quantize", "small.geounet", "file.yaml", "s3://")):
        _parser().parse_args(command.split()[1:])
    else:
        run(command, folder)


@pytest.mark.train
def test_commands_that_train(drawn: Path) -> None:
    """In their order, as they stand but for a budget."""
    budget = " --epochs 1 --steps 2 --width 4 --depth 2 --patch 32"
    those = [c for c in commands() if trains(c)]
    assert len(those) >= 5
    for command in those:
        run(command + (budget if command.split()[1] in ("train", "compare") else ""), drawn)


@pytest.mark.parametrize(
    "code",
    [text for language, text in BLOCKS if language == "python"],
    ids=["stac", "files", "xarray", "dask"],
)
def test_python(code: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_options_named_in_the_text_exist() -> None:
    from geounet_cli.main import _parser

    verbs = next(a for a in _parser()._actions if a.dest == "==SUPPRESS==" or a.choices)
    known = {
        option
        for verb in verbs.choices.values()
        for action in verb._actions
        for option in action.option_strings
    }
    named = set(re.findall(r"`(--[a-z-]+)", README))
    assert named
    assert named <= known


def test_files_named_in_the_text_exist() -> None:
    for path in re.findall(r"\((docs/[^)]+)\)|`((?:sample_tiles|notebooks|benchmarks)/)`", README):
        assert (ROOT / (path[0] or path[1])).exists()


@pytest.mark.parametrize(
    ("model", "baseline", "metric"),
    [
        ("flood-s1", "vh_median5_threshold", "water_iou"),
        ("water-ms", "mndwi_threshold", "water_iou"),
        ("landcover-ms", "pixel_forest", "accuracy"),
        ("landcover-ms", "pixel_forest", "mean_iou_of_7"),
    ],
)
def test_scores_are_those_of_the_card(model: str, baseline: str, metric: str) -> None:
    from geounet.models import load_model

    (row,) = re.findall(rf"^\| `{model}` .*$", README, re.MULTILINE)
    metrics = load_model(model).spec.card.metrics
    for contender in ("model", baseline):
        assert f"{metrics[contender][metric]['mean']:.3f}" in row
