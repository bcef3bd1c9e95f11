"""``geounet compare``: what is trained with what, what is written, how it stops and goes on."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from geounet.nn import build
from geounet.spec import ArchSpec
from geounet.train.augment import Normalize
from geounet.train.compare import command as verb
from geounet.train.compare.about import shown_command
from geounet.train.compare.contest import compare
from geounet.train.compare.cost import Cost
from geounet.train.compare.memory import Peak
from geounet.train.fit import Trained
from geounet.train.run import Run
from geounet.train.settings import CompareSettings
from geounet.train.statistics import statistics_of
from geounet_cli import compare as cli
from geounet_cli.main import main

pytestmark = pytest.mark.train

FILES = ["compare.json", "compare.md", "compare.svg", "trainings.jsonl"]


@pytest.fixture(autouse=True)
def signals():
    """``main`` turns SIGTERM into an interruption; give pytest its own back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six pictures in which a square is brighter, and where it is."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    for i in range(6):
        label = np.zeros((64, 96), np.uint8)
        row, col = rng.integers(0, 32, 2)
        label[row : row + 32, col : col + 48] = 255
        image = rng.normal(np.where(label, 170, 90), 15).clip(0, 255).astype(np.uint8)
        for kind, array in (("images", image), ("labels", label)):
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{i}.png")
    return folder


@pytest.fixture
def keys(pictures, tmp_path):
    """Settings of a tiny comparison."""
    return {
        "archs": "unet,fcn",
        "images": f"{pictures}/images",
        "labels": f"{pictures}/labels",
        "classes": "ground=0,square=1",
        "val": 0.3,
        "width": 4,
        "depth": 2,
        "patch": 32,
        "batch_size": 2,
        "epochs": 1,
        "steps": 3,
        "seeds": "1,2",
        "tile": 64,
        "out": tmp_path / "out",
    }


def flags(keys, *more):
    pairs = [(f"--{key.replace('_', '-')}", str(value)) for key, value in keys.items()]
    return ["compare", *(text for pair in pairs for text in pair), *more]


def settings(keys, **more):
    return CompareSettings(**{**keys, **more})


class Fit:
    """Trains nothing: random weights of that seed; writes down what it was asked for."""

    def __init__(self, stop_at=None, how=None):
        self.calls, self.recipes = [], []
        self.stop_at, self.how = stop_at, how

    def __call__(self, recipe, source, names, seed, *, run):
        assert isinstance(run, Run)
        if self.how and len(self.calls) == self.stop_at:
            self.how()
        self.calls.append((recipe.arch.name, seed))
        self.recipes.append(recipe)
        torch.manual_seed(seed)
        bands = statistics_of(source, names, recipe.clip).bands
        return Trained(
            network=build(recipe.arch, len(bands), len(source.classes)).eval(),
            normalize=Normalize(bands, recipe.clip),
            bands=bands,
            loss=0.5,
            seconds=1.0,
            history=(),
            best_epoch=None,
            notes=(),
        )


@pytest.fixture
def quick(monkeypatch):
    """Costs are not measured; what trains is chosen by calling it."""
    peak = Peak(inference=1 << 20, training=2 << 20)
    cost = Cost(
        parameters=1, flops_per_pixel=1.0, mpx_per_s=(1.0,), peak=peak, halo=8, seam="exact"
    )
    free = partial(compare, cost=lambda archs, _load: dict.fromkeys(archs, cost))
    monkeypatch.setattr(verb, "compare", free)

    def use(fit):
        monkeypatch.setattr(verb, "fit", fit)
        return fit

    return use


def test_a_comparison_end_to_end(keys, pictures, tmp_path, monkeypatch, capsys):
    """Real trainings, real costs, through the command line."""
    monkeypatch.setenv("GEOUNET_DATA", str(pictures))
    arguments = flags({**keys, "steps": 60, "lr": 0.02})
    monkeypatch.setattr("sys.argv", ["geounet", *arguments])
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert sorted(p.name for p in keys["out"].iterdir()) == FILES
    told = json.loads((keys["out"] / "compare.json").read_text())
    unet, fcn = told["architectures"]
    assert (unet["label"], fcn["label"]) == ("unet", "fcn")
    assert min(unet["scores"]["iou"]["seeds"]) > 0.6
    assert unet["scores"]["iou"]["spread"] > 0
    assert unet["cost"]["parameters"] != fcn["cost"]["parameters"]
    assert unet["cost"]["peak"]["training"] > 0
    assert told["test_chips"]
    assert not set(told["test_chips"]) & set(told["train_chips"])

    text = (keys["out"] / "compare.md").read_text()
    assert "no epoch is chosen by it" in text
    assert "--images $GEOUNET_DATA/images --labels $GEOUNET_DATA/labels" in text
    assert "--out out" in text
    for name in FILES:
        assert str(tmp_path.parent) not in (keys["out"] / name).read_text(), name
        assert str(pictures) not in (keys["out"] / name).read_text(), name

    done = re.findall(r"^geounet: (\d of 4: \w+, seed \d): iou 0\.\d+", err, re.MULTILINE)
    assert done == [
        "1 of 4: unet, seed 1",
        "2 of 4: fcn, seed 1",
        "3 of 4: unet, seed 2",
        "4 of 4: fcn, seed 2",
    ]
    assert "warning: --seeds 1,2: a spread takes 3 seeds or more" in err
    assert "unet  0." in out
    assert "IoU: " in out


def interrupt():
    raise KeyboardInterrupt


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("how", [interrupt, terminate])
def test_a_comparison_that_was_stopped_goes_on(keys, quick, capsys, how):
    first = quick(Fit(stop_at=3, how=how))
    assert main(flags(keys)) == 130
    assert first.calls == [("unet", 1), ("fcn", 1), ("unet", 2)]
    err = capsys.readouterr().err
    assert "trainings.jsonl; the same command goes on with the rest" in err
    assert "nothing was left behind" not in err
    assert [p.name for p in keys["out"].iterdir()] == ["trainings.jsonl"]

    second = quick(Fit())
    assert main(flags(keys)) == 0
    assert second.calls == [("fcn", 2)]
    assert sorted(p.name for p in keys["out"].iterdir()) == FILES
    before = (keys["out"] / "compare.json").read_bytes()

    third = quick(Fit())
    assert main(flags(keys, "--overwrite")) == 0
    assert third.calls == []
    whole = quick(Fit())
    assert main(flags({**keys, "out": keys["out"].with_name("other")})) == 0
    assert len(whole.calls) == 4
    scores = [
        [entry["scores"] for entry in json.loads(text)["architectures"]]
        for text in (
            before,
            (keys["out"] / "compare.json").read_bytes(),
            (keys["out"].with_name("other") / "compare.json").read_bytes(),
        )
    ]
    assert scores[0] == scores[1] == scores[2]


def test_lightnings_own_exit_says_how_to_go_on_too(keys, quick):
    told = []
    quick(Fit(stop_at=0, how=partial(exit_with, 143)))
    with pytest.raises(SystemExit, match="143"):
        verb.run_compare(settings(keys), say=told.append)
    assert told[-1] == "stopped: no training was done yet; the same command goes on with the rest"


def exit_with(code):
    raise SystemExit(code)


def test_what_changes_scores_is_trained_again(keys, quick, pictures, tmp_path):
    fit = quick(Fit())
    verb.run_compare(settings(keys))
    again = partial(settings, keys, overwrite=True)
    verb.run_compare(again())
    assert len(fit.calls) == 4
    verb.run_compare(again(precision="bf16"))
    assert len(fit.calls) == 8
    (tmp_path / "mask").mkdir()
    for path in (pictures / "images").iterdir():
        Image.fromarray(np.full((64, 96), 255, np.uint8)).save(tmp_path / "mask" / path.name)
    verb.run_compare(again(mask=str(tmp_path / "mask")))
    assert len(fit.calls) == 12
    verb.run_compare(again(archs="unet,fcn,segnet"))
    assert fit.calls[12:] == [("segnet", 1), ("segnet", 2)]


def test_the_learning_rate_suits_the_kind_of_architecture(keys, quick, tmp_path):
    weights = tmp_path / "resnet18.pth"
    encoder = build(ArchSpec(name="unet-resnet18"), 1, 2).encoder
    torch.save(encoder.state_dict(), weights)
    fit = quick(Fit())
    both = {**keys, "archs": "unet,unet-resnet18", "seeds": "1"}
    result = verb.run_compare(settings(both, encoder_weights=str(weights)))
    assert [recipe.learning_rate for recipe in fit.recipes] == [3e-3, 1e-3]
    assert [recipe.encoder_weights for recipe in fit.recipes] == [None, str(weights)]
    own, other = (replace(r, arch=None, name="", learning_rate=1.0) for r in fit.recipes)
    assert own == replace(other, encoder_weights=None)
    rows = result.paths[0].read_text().splitlines()[2:4]
    assert [row.split(" | ")[-1] for row in rows] == ["0.003 |", "0.001 |"]
    assert "* unet-resnet18: the encoder begins with resnet18.pth" in result.paths[0].read_text()
    fit.recipes.clear()
    verb.run_compare(settings(both, lr=0.01, overwrite=True))
    assert [recipe.learning_rate for recipe in fit.recipes] == [0.01, 0.01]


def test_progress_goes_through_each_training(keys, quick):
    from geounet.train.fit import fit

    quick(fit)
    told = []
    verb.run_compare(settings(keys, archs="fcn", epochs=2), progress=told.append)
    for seed in (1, 2):
        steps = [at.step for at in told if at.seed == seed]
        assert steps == sorted(steps)
        assert steps[-1] == 6
    assert {(at.recipe.arch.name, at.steps) for at in told} == {("fcn", 6)}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"archs": "unet,unett"}, "architecture 'unett' is not one of fcn, segnet, unet"),
        ({"archs": ""}, "at least one architecture"),
        ({"archs": "fcn,fcn"}, "architecture fcn, width 4, depth 2 is given twice"),
        ({"classes": "square=1"}, "needs at least 2 classes, got 1"),
        (
            {"archs": "unet,unet-resnet18", "patch": 48},
            "--patch 48: unet-resnet18 needs a multiple of 32, such as 64",
        ),
        ({"encoder_weights": "imagenet"}, "none of unet,fcn has an encoder"),
        ({"val": 0}, "--val 0: nothing is set aside to be scored"),
        ({"devices": 2}, "--devices 2: a comparison trains on one device"),
        ({"seeds": "1,b"}, "--seeds 1,b: give whole numbers"),
        ({"seeds": "1,1"}, "seed 1 is given twice"),
        ({"tile": 0}, "--tile 0: give at least 1 pixel"),
        ({"precision": "fp8"}, "--precision fp8: choose auto"),
        ({"limit_memory": "much"}, "--limit-memory much: write a size"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(keys, quick, capsys, more, message):
    fit = quick(Fit())
    assert main(flags({**keys, **more})) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last
    assert last.startswith("geounet: ")
    assert fit.calls == []
    assert not keys["out"].exists()


def test_a_folder_that_has_a_comparison_is_refused_before_the_data_are_read(keys, quick, capsys):
    quick(Fit())
    keys["out"].mkdir()
    (keys["out"] / "compare.md").write_text("mine")
    assert main(flags({**keys, "images": "nowhere"})) == 2
    assert "compare.md exists: pass --overwrite" in capsys.readouterr().err
    file = {**keys, "out": keys["out"] / "compare.md"}
    assert main(flags(file, "--overwrite")) == 2
    assert "is a file: give a folder" in capsys.readouterr().err
    assert (keys["out"] / "compare.md").read_text() == "mine"


def test_quiet_and_json(keys, quick, capsys):
    quick(Fit())
    assert main(flags(keys, "--quiet", "--json")) == 0
    out, err = capsys.readouterr()
    assert err == ""
    told = json.loads(out)
    assert told["table"] == str(keys["out"] / "compare.md")
    assert len(told["scores"]["fcn"]["iou"]) == 2


def test_costs_are_switched_off_by_a_flag_or_a_key(keys, quick, tmp_path, capsys):
    quick(Fit())
    assert main(flags(keys, "--no-cost")) == 0
    assert "measuring" not in capsys.readouterr().err
    assert "Mpx/s" not in (keys["out"] / "compare.md").read_text()
    (tmp_path / "c.yaml").write_text("cost: false\n")
    assert main(["compare", str(tmp_path / "c.yaml"), *flags(keys, "--overwrite")[1:]]) == 0
    assert "measuring" not in capsys.readouterr().err
    assert main(flags(keys, "--overwrite")) == 0
    said = capsys.readouterr().err
    assert said.count("kept from before") == 4  # trainings count whether costs are measured or not
    assert "measuring" in said
    assert "Mpx/s" in (keys["out"] / "compare.md").read_text()


def test_settings_from_a_file(keys, quick, tmp_path, capsys):
    assert main(flags(keys, "--print-config")) == 0
    text = capsys.readouterr().out.replace("archs: unet,fcn", "archs: [fcn]\n")
    (tmp_path / "compare.yaml").write_text(text.replace("seeds: 1,2", "seeds: [4]"))
    fit = quick(Fit())
    assert main(["compare", str(tmp_path / "compare.yaml")]) == 0
    assert fit.calls == [("fcn", 4)]


def test_the_command_is_shown_without_paths_of_this_machine():
    data = {"GEOUNET_DATA": "/my data/"}
    given = ["compare", "--images", "/my data/a b/*.tif", "--mask=/my data", "-o", "/home/me/out"]
    shown = shown_command([*given, "--classes", "a=0,b=1", "--labels", "here/there"], data)
    assert shown == (
        "geounet compare --images $GEOUNET_DATA'/a b/*.tif' --mask=$GEOUNET_DATA -o out"
        " --classes a=0,b=1 --labels here/there"
    )
    assert shown_command(["/my datas/x"], data) == "geounet x"
    assert shown_command(["/my data/x"], {}) == "geounet x"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_where_a_person_watches(monkeypatch, recipe):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    at = verb.CompareProgress(recipe=recipe, seed=7, step=3, steps=6)
    with cli.TrainingBar(quiet=False) as bar:
        bar(at)
        bar.say("something")
        bar(replace(at, step=6))
        bar(replace(at, seed=8, step=1))
    text = screen.getvalue()
    assert "unet, seed 7  50%" in text
    assert "unet, seed 8   0%" in text
    assert "geounet: something\n" in text
    quiet = Terminal()
    monkeypatch.setattr("sys.stderr", quiet)
    with cli.TrainingBar(quiet=True) as bar:
        bar(at)
        bar.say("something")
    assert quiet.getvalue() == ""
