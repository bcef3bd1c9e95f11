"""``geounet train``: from images and labels to a model that ``geounet segment`` runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasters
from PIL import Image
from shapely.geometry import box

pytest.importorskip("lightning")

import geounet
from geounet.bundle import load_bundle
from geounet.evaluate import evaluate
from geounet_cli.main import main

pytestmark = pytest.mark.train

SMALL = ("--width", "4", "--depth", "2", "--patch", "32", "--batch-size", "4")


@pytest.fixture(autouse=True)
def signals():
    """``main`` turns SIGTERM into an interruption; give pytest its own back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Ten photos of reddish discs, and masks of 0 and 255."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(5)
    rows, cols = np.indices((72, 80))
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for i in range(10):
        middle, radius = rng.integers(20, 52, 2), rng.integers(10, 20)
        disc = np.hypot(rows - middle[0], cols - middle[1]) < radius
        picture = rng.normal(90, 12, (72, 80, 3)) + np.where(disc[..., None], (90, 10, -20), 0)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"images/p{i}.png")
        Image.fromarray(np.where(disc, 255, 0).astype(np.uint8)).save(folder / f"labels/p{i}.png")
    return folder


def flags(photos: Path, out: Path, *more: str) -> list[str]:
    where = ["--images", f"{photos}/images", "--labels", f"{photos}/labels"]
    return ["train", *where, "--classes", "back=0,disc=1", "-o", str(out), *SMALL, *more]


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """Folder of a model of discs, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "geounet_cli"]
    budget = ("--epochs", "6", "--steps", "20", "--lr", "0.01", "--json")
    done = subprocess.run(
        [*command, *flags(photos, Path("disc.geounet"), *budget)],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return folder, done


@pytest.mark.filterwarnings("ignore:.* has no CRS:UserWarning")
def test_photos_to_a_model_that_segments_photos(photos, trained, tmp_path):
    folder, done = trained
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["scored_on"] == "validation"
    assert told["epochs"] == 6
    assert told["scores"]["chips"] == 2
    disc = told["scores"]["classes"][1]
    assert disc["iou"][0] > 0.85
    photo = photos / "images" / "p3.png"
    report = geounet.segment(photo, model=folder / "disc.geounet", out=tmp_path / "p3.tif")
    assert set(report.classes) == {"back", "disc"}
    score = evaluate(tmp_path / "p3.tif", photos / "labels" / "p3.png", remap={255: 1})
    assert score.classes[1].score.iou > 0.85


def test_what_is_said_on_the_way(trained):
    _, done = trained
    lines = done.stderr.splitlines()
    assert all(line.startswith("geounet: ") for line in lines), done.stderr
    assert "geounet: 10 pairs of image and label: same stem" in lines
    assert any("255 is read as class 1" in line for line in lines)
    assert any("training 8 chips" in line and "validation 2 chips" in line for line in lines)
    epochs = [line for line in lines if line.startswith("geounet: epoch ")]
    assert len(epochs) == 6
    assert all("Mpx/s" in line and "IoU" in line for line in epochs)


def test_the_bundle_knows_what_it_is(trained):
    folder, done = trained
    told = json.loads(done.stdout.splitlines()[-1])
    bundle = load_bundle(folder / "disc.geounet")
    spec = bundle.spec
    assert bundle.sha256 == told["sha256"]
    assert (spec.name, spec.seam, spec.unit, spec.pixel_size) == ("disc", "exact", "any", None)
    assert spec.band_names == ("red", "green", "blue")
    assert all(20 < band.mean < 160 and band.std > 5 for band in spec.bands)
    assert spec.clip[0] < 60
    assert spec.clip[1] > 190
    assert spec.bf16_agreement is not None
    assert spec.bf16_agreement > 0.9
    metrics = spec.card.metrics
    assert metrics["bf16_agreement_pixels"] == 72 * 80  # of one chip, since the training was short
    assert metrics["classes"]["disc"]["iou"] == told["scores"]["classes"][1]["iou"]
    assert "chosen by them" in metrics["how"]
    settings = spec.card.provenance["settings"]
    assert settings["images"] == "images"
    assert settings["seed"] == 1
    assert str(folder.parent) not in spec.to_json()


def test_the_page_needs_nothing_beside_it(trained):
    folder, _ = trained
    page = (folder / "disc.html").read_text(encoding="utf-8")
    for words in ("disc", "Confusion", "Worst", "epoch", "data:image/", "--epochs 6"):
        assert words in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_the_folder_of_the_run(trained):
    folder, _ = trained
    run = folder / "disc.run"
    assert len((run / "metrics.csv").read_text().splitlines()) == 7
    assert not list(run.glob("*.ckpt"))
    assert "epochs: 6" in (run / "config.yaml").read_text()
    assert sorted(p.name for p in folder.iterdir()) == ["disc.geounet", "disc.html", "disc.run"]


def test_the_settings_that_were_kept_give_the_same_bytes(trained, tmp_path, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(folder / "disc.run" / "config.yaml"), "-q"]) == 0
    assert (tmp_path / "disc.geounet").read_bytes() == (folder / "disc.geounet").read_bytes()


def test_stopped_and_resumed_is_as_if_never_stopped(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole, other = tmp_path / "whole", tmp_path / "other"
    whole.mkdir()
    other.mkdir()
    budget = ("--epochs", "4", "--steps", "20")
    assert main([*flags(photos, whole / "m.geounet", *budget), "-q"]) == 0
    command = [sys.executable, "-m", "geounet_cli", *flags(photos, other / "m.geounet", *budget)]
    seen = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            seen.append(line)
            if "epoch 2/4" in line:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 130
    assert "go on with --resume" in seen[-1]
    assert "Traceback" not in "".join(seen)
    assert not (other / "m.geounet").exists()
    capsys.readouterr()
    assert main(flags(photos, other / "m.geounet", *budget)) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(flags(photos, other / "m.geounet", *budget, "--resume")) == 0
    told = capsys.readouterr().err
    assert "epoch 1/4" not in told
    assert "epoch 4/4" in told
    assert (other / "m.geounet").read_bytes() == (whole / "m.geounet").read_bytes()


def test_resuming_with_other_settings_is_refused(photos, tmp_path, capsys):
    out = tmp_path / "m.geounet"
    budget = ("--epochs", "2", "--steps", "2")
    assert main([*flags(photos, out, *budget), "-q"]) == 0
    kept = tmp_path / "m.run"
    assert main([*flags(photos, out, *budget, "--overwrite"), "-q"]) == 0
    assert kept.exists()
    assert main(flags(photos, out, *budget)) == 2
    assert f"{out} exists: pass --overwrite" in capsys.readouterr().err


def test_a_scene_and_polygons(tmp_path, monkeypatch):
    """In two commands: a model, and a map of another scene."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for name in ("one", "two"):
        truth = np.kron(rng.random((8, 8)) < 0.4, np.ones((24, 24), bool))
        data = rng.normal(-8, 1, (2, 192, 192)) - np.where(truth, 9, 0)
        rasters.write(tmp_path / f"{name}.tif", data.astype(np.float32), names=["VV", "VH"])
        rasters.write(tmp_path / f"{name}_truth.tif", truth.astype(np.uint8))
        if name == "one":
            cells = [
                (box(c * 240, -(r + 1) * 240, (c + 1) * 240, -r * 240), truth[r * 24, c * 24])
                for r in range(8)
                for c in range(8)
                if (r + c) % 3
            ]
    drawn = geopandas.GeoDataFrame(
        {"what": ["water" if wet else "land" for _, wet in cells]},
        geometry=[shape for shape, _ in cells],
        crs="EPSG:32633",
    )
    drawn["geometry"] = drawn.translate(rasters.WEST, rasters.NORTH)
    drawn.to_crs(4326).to_file(tmp_path / "drawn.gpkg")
    given = ["--images", "one.tif", "--labels", "drawn.gpkg", "--classes", "land=0,water=1"]
    budget = ["--epochs", "2", "--steps", "25", "--lr", "0.01", "--unit", "dB", "-q"]
    assert main(["train", *given, *SMALL, *budget, "-o", "water.geounet"]) == 0
    spec = load_bundle("water.geounet").spec
    assert spec.pixel_size == (pytest.approx(8, rel=0.01), pytest.approx(12.5, rel=0.01))
    assert spec.unit == "dB"
    assert main(["segment", "two.tif", "-m", "water.geounet", "-q"]) == 0
    assert evaluate("two.water.tif", "two_truth.tif").classes[1].score.iou > 0.9


def test_nothing_set_aside(photos, tmp_path, capsys):
    out = tmp_path / "m.geounet"
    assert main(flags(photos, out, "--epochs", "1", "--steps", "2", "--val", "0", "--json")) == 0
    printed = capsys.readouterr()
    assert "nobody knows how good the model is" in printed.err
    assert json.loads(printed.out.splitlines()[-1])["scored_on"] == "training"
    assert "trained on" in load_bundle(out).spec.card.metrics["how"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--arch", "unet3000"], "architecture 'unet3000'"),
        (["--arch", "unet-resnet9"], "resnet9"),
        (["--patch", "33"], "--patch 33: unet needs a multiple of 4"),
        (["--loss", "mse"], "'mse' is not one of"),
        (["--val", "nothing"], "--val nothing is no fraction"),
        (["--val", "1.5"], "--val 1.5"),
        (["--unit", "metres"], "--unit metres"),
        (["-o", "m.pth"], "end it in .geounet"),
        (["-o", "nowhere/m.geounet"], "nowhere/m.geounet: the folder nowhere does not exist"),
        (["--images", "nowhere"], "nowhere"),
        (["--device", "tpu"], "--device tpu"),
        (["--precision", "int8"], "--precision int8"),
        (["--limit-memory", "lots"], "--limit-memory lots"),
        (["--encoder-weights", "w.pth"], "has no encoder"),
        (["--schedule", "none"], "schedule 'none'"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    photos, tmp_path, monkeypatch, capsys, change, words
):
    monkeypatch.chdir(tmp_path)
    asked = [*flags(photos, Path("m.geounet"), "--epochs", "1", "--steps", "2"), "-q", *change]
    assert main(asked) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_wrong_with_the_data_is_said_at_once(photos, tmp_path, capsys):
    asked = flags(photos, tmp_path / "m.geounet", "--classes", "back=0,disc=7,ring=8")
    assert main(asked) == 2
    error = capsys.readouterr().err
    for words in ("label value 255", "disc", "ring", "2 problems"):
        assert words in error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_none_of_a_training_is_left_alone(photos, tmp_path, capsys):
    theirs = tmp_path / "m.run"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")
    budget = ("--epochs", "1", "--steps", "2", "--overwrite")
    assert main(flags(photos, tmp_path / "m.geounet", *budget)) == 2
    assert f"{theirs} is no folder of a training" in capsys.readouterr().err
    assert (theirs / "thesis.txt").read_text() == "years of work"


def test_print_config_does_nothing_else(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*flags(photos, Path("m.geounet")), "--print-config"]) == 0
    (tmp_path / "c.yaml").write_text(capsys.readouterr().out)
    assert main(["train", "c.yaml", "--epochs", "1", "--steps", "1", "-q"]) == 0
    assert load_bundle("m.geounet").spec.arch.width == 4


def test_a_disk_that_is_full_at_the_end_loses_nothing(photos, tmp_path, monkeypatch, capsys):
    """The training is still there, and what is resumed has only the writing to do."""
    monkeypatch.chdir(tmp_path)
    asked = flags(photos, Path("m.geounet"), "--epochs", "1", "--steps", "2")

    def full(*_args: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", _unless_page(Path.write_text, full))
        assert main([*asked, "-q"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.run"]
    began = time.monotonic()
    assert main([*asked, "--resume", "-q"]) == 0
    assert time.monotonic() - began < 60
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.geounet", "m.html", "m.run"]


def _unless_page(usual, full):
    def write(self: Path, *args: object, **more: object) -> object:
        return (full if self.suffix == ".html" else usual)(self, *args, **more)

    return write
