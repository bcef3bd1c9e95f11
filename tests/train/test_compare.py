from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch

from geounet.errors import DeviceError, OptionError, OutputError
from geounet.nn import build
from geounet.spec import ArchSpec
from geounet.train.augment import Normalize
from geounet.train.compare import contest as contests
from geounet.train.compare.command import CompareResult
from geounet.train.compare.contest import METRICS, Contest, Entrant, Trial, compare
from geounet.train.compare.cost import Cost, flops_per_pixel, inference_speed, measure
from geounet.train.compare.memory import Load, Peak, _ask, peak_memory
from geounet.train.compare.table import (
    NAMES,
    SKIPS,
    Comparison,
    skips,
    spread_text,
    write_comparison,
)
from geounet.train.fit import Trained
from geounet.train.recipe import Augmentation, Recipe
from geounet.train.statistics import statistics_of

pytestmark = pytest.mark.train

UNET, FCN, SEGNET = (ArchSpec(name=n, width=4, depth=2) for n in ("unet", "fcn", "segnet"))
TRAIN, TEST = ("0", "1", "2", "3"), ("4", "5", "6", "7")


def cost(**more):
    peak = Peak(inference=3 << 20, training=9 << 20)
    values = {"parameters": 1234, "flops_per_pixel": 5e4, "halo": 8, "seam": "exact"}
    return Cost(**{**values, "mpx_per_s": (1.0, 3.0, 2.0), "peak": peak, **more})


def budget(arch, **more):
    values = {"name": arch.name, "clip": (-35.0, 5.0), "steps": 40, "batch": 4, "crop": 64}
    return Recipe(**{**values, "arch": arch, "augmentation": Augmentation(), **more})


def entrant(arch, *iou, notes=(), rate=1e-2, weights=None, **more):
    scores = [{**dict.fromkeys(METRICS, 0.5), "iou": value} for value in iou]
    trials = tuple(
        Trial(seed=i, scores=s, loss=0.1, seconds=2, notes=notes) for i, s in enumerate(scores)
    )
    recipe = budget(arch, learning_rate=rate, encoder_weights=weights)
    return Entrant(label=arch.name, recipe=recipe, cost=cost(**more), trials=trials)


def untrained(calls):
    """Trains nothing: random weights of that seed, and the call written down."""

    def train(recipe, source, names, seed):
        calls.append((recipe.arch.name, tuple(names), seed))
        torch.manual_seed(seed)
        bands = statistics_of(source, names, recipe.clip).bands
        network = build(recipe.arch, len(bands), len(source.classes)).eval()
        return Trained(
            network=network,
            normalize=Normalize(bands, recipe.clip),
            bands=bands,
            loss=0.5,
            seconds=1.0,
            history=(),
            best_epoch=None,
            notes=(),
        )

    return train


def free(archs, _load):
    return {label: cost() for label in archs}


@pytest.fixture
def contest(recipe):
    return Contest(recipes=of(recipe, UNET, FCN), train=TRAIN, test=TEST, seeds=(1, 2))


def of(recipe, *archs):
    return tuple(replace(recipe, arch=arch) for arch in archs)


def test_everyone_gets_the_same_chips_budget_and_seeds(made_up, contest):
    calls, told = [], []
    found = compare(contest, made_up, train=untrained(calls), cost=free, say=told.append)
    assert calls == [(a, TRAIN, s) for s in (1, 2) for a in ("unet", "fcn")]
    assert [e.label for e in found] == ["unet", "fcn"]
    assert [[t.seed for t in e.trials] for e in found] == [[1, 2], [1, 2]]
    assert all(set(t.scores) == set(METRICS) for e in found for t in e.trials)
    assert len({t.scores["iou"] for e in found for t in e.trials}) > 1
    assert sum("seed" in line for line in told) == 4


def test_the_scores_are_those_of_the_second_of_two_classes(made_up, contest):
    from geounet.train.predict import predictor
    from geounet.train.scoring.scores import score

    train = untrained([])
    only = replace(contest, recipes=contest.recipes[:1], seeds=(3,))
    (found,) = compare(only, made_up, train=train, cost=free)
    trained = train(replace(contest.recipe, arch=UNET), made_up, TRAIN, 3)
    scores = score(predictor(trained.network, trained.normalize), made_up, TEST).classes[1]
    assert found.values("iou") == [scores.iou.value]
    assert found.values("dice") == [scores.f1.value]
    assert found.values("boundary_f1_3px") == [scores.boundary_f1[2].value]


def test_a_real_training_is_compared(made_up, contest):
    contest = replace(contest, recipes=of(contest.recipe, UNET, SEGNET), seeds=(1,))
    found = compare(contest, made_up, cost=free)
    assert all(e.values("iou")[0] > 0.6 for e in found)


def test_what_was_trained_is_not_trained_again(made_up, contest, tmp_path):
    keep, calls = tmp_path / "trials.jsonl", []
    first = compare(contest, made_up, train=untrained(calls), cost=free, keep=keep)
    assert len(keep.read_text().splitlines()) == len(calls) == 4
    told = []
    longer = replace(contest, seeds=(1, 2, 3))
    again = compare(longer, made_up, train=untrained(calls), cost=free, keep=keep, say=told.append)
    assert calls[4:] == [("unet", TRAIN, 3), ("fcn", TRAIN, 3)]
    assert again[0].trials[:2] == first[0].trials
    assert ["kept from before" in line for line in told[:6]] == [True] * 4 + [False] * 2
    assert told[4].startswith("5 of 6: unet, seed 3: iou ")
    faster = replace(contest.recipes[0], learning_rate=0.5)
    other = replace(contest, recipes=(faster, contest.recipes[1]))
    compare(other, made_up, train=untrained(calls), cost=free, keep=keep)
    assert calls[6:] == [("unet", TRAIN, 1), ("unet", TRAIN, 2)]
    compare(replace(contest, context="bf16"), made_up, train=untrained(calls), cost=free, keep=keep)
    assert len(calls) == len(keep.read_text().splitlines()) == 12
    assert [p.name for p in tmp_path.iterdir()] == [keep.name]
    keep.write_text("{}\n")
    with pytest.raises(OutputError, match=r"trials\.jsonl holds no trainings"):
        compare(contest, made_up, train=untrained(calls), cost=free, keep=keep)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"test": ("3", "4")}, "3 is both trained on and scored"),
        ({"recipes": (budget(UNET),) * 2}, "architecture unet, width 4, depth 2 is given twice"),
        ({"recipes": ()}, "at least one architecture and one seed"),
        (
            {"recipes": (budget(UNET), budget(FCN, steps=41))},
            "fcn has another steps than unet: give all the same",
        ),
        ({"seeds": (1, 1)}, "seed 1 is given twice"),
        ({"seeds": (1, -1)}, "seed -1 must be 0 to 4294967295"),
        ({"seeds": ()}, "at least one architecture and one seed"),
    ],
)
def test_a_contest_that_is_none(contest, wrong, message):
    with pytest.raises(OptionError, match=message):
        replace(contest, **wrong)


def test_sizes_are_told_apart(contest):
    wide = replace(UNET, width=8)
    assert list(replace(contest, recipes=of(contest.recipe, UNET, wide, FCN)).labels) == [
        "unet, width 4, depth 2",
        "unet, width 8, depth 2",
        "fcn",
    ]


def test_operations_are_counted_as_by_hand():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.MaxPool2d(2), torch.nn.Conv2d(8, 4, 1)
    )
    assert flops_per_pixel(network, 3, 32) == 2 * (3 * 9 * 8) + 2 * 8 * 4 / 4


def test_speeds_are_taken_in_turn(monkeypatch):
    order = []
    networks = {a.name: build(a, 1, 2).eval() for a in (UNET, FCN)}

    def timed(network, _x, least):
        if least:
            order.append(len(list(network.parameters())))
        return 0.5

    monkeypatch.setattr("geounet.train.compare.cost._seconds", timed)
    load = Load(bands=1, classes=2, tile=64)
    speeds = inference_speed(networks, load, rounds=3, seconds=1.0)
    assert order == order[:2] * 3
    assert order[0] != order[1]
    assert speeds == dict.fromkeys(networks, (64**2 / 0.5 / 1e6,) * 3)


def test_the_peak_grows_with_the_tile_and_training_takes_more():
    load = Load(bands=1, classes=2, tile=1024, batch=1, crop=1024)
    large = peak_memory(UNET, load)
    small = _ask(UNET, replace(load, tile=256), "inference")
    # two feature maps of 4 channels at least
    assert large.inference > 2 * 4 * 4 * 1024**2
    assert large.inference - small > 2 * 4 * 4 * (1024**2 - 256**2)
    assert large.training > 1.5 * large.inference


def test_a_process_that_dies_says_why():
    impossible = Load(bands=1, classes=2, tile=2, batch=1, crop=64)  # less than the stride
    with pytest.raises(DeviceError, match=r"segnet: the inference of .* take a smaller"):
        peak_memory(replace(SEGNET, depth=4), impossible)


def test_costs_of_real_networks(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "geounet.train.compare.cost.peak_memory",
        lambda arch, load: asked.append((arch.name, load.tile)) or Peak(inference=1, training=2),
    )
    found = measure(
        {"unet": UNET, "fcn": replace(FCN, depth=3)},
        Load(bands=2, classes=2, tile=60, batch=1, crop=32),
        rounds=2,
        seconds=0.0,
    )
    assert found["unet"].parameters == sum(p.numel() for p in build(UNET, 2, 2).parameters())
    assert asked == [("unet", 64), ("fcn", 64)]  # up to the larger stride
    assert found["unet"].halo == build(UNET, 2, 2).halo
    for values in found.values():
        assert len(values.mpx_per_s) == 2
        assert min(values.mpx_per_s) > 0
        assert values.flops_per_pixel > 1000
        assert values.seam == "exact"


def comparison(contest, *entrants):
    about = {"data": "eight *_chips", "command": "`geounet compare *`"}
    return Comparison(contest=contest, entrants=entrants, about=about)


def test_the_table_has_a_row_each_and_the_best_in_bold(contest):
    text = comparison(
        contest, entrant(UNET, 0.8, 0.9), entrant(FCN, 0.7, 0.85, mpx_per_s=(4.0,))
    ).markdown("p.svg")
    head, _, unet, fcn = (line.split(" | ") for line in text.splitlines()[:4])
    assert len(head) == len(unet) == len(fcn) == 13
    assert unet[1:3] == ["every level, concatenated", "**0.850 ± 0.071**"]
    assert fcn[2] == "0.775 ± 0.106"
    assert unet[7:] == ["1.23 k", "50 k", "2.00", "3 MiB", "9 MiB", "0.01 |"]
    assert "](p.svg)" in text
    assert r"* data: eight \*\_chips" in text
    assert "* command: `geounet compare *`" in text
    assert "4 chips to train on, 4 others to score" in text


def test_costs_are_measured_only_if_asked_for(made_up, contest, tmp_path):
    def asked(_archs, _load):
        raise AssertionError

    told = []
    without = replace(contest, cost=False)
    found = compare(without, made_up, train=untrained([]), cost=asked, say=told.append)
    assert [e.cost for e in found] == [None, None]
    assert not any("measuring" in line for line in told)
    paths = write_comparison(tmp_path, comparison(without, *found))
    text = paths[0].read_text(encoding="utf-8")
    assert text.splitlines()[0].split(" | ")[2:] == [*NAMES, "learning rate |"]
    assert "Mpx" not in text
    assert "float32" not in text
    assert [a["cost"] for a in json.loads(paths[1].read_text())["architectures"]] == [None, None]
    root = ET.parse(paths[2]).getroot()
    assert len(root.findall("{http://www.w3.org/2000/svg}g")) == len(METRICS)


def test_a_score_that_is_not_there_is_no_winner(contest):
    table = comparison(contest, entrant(UNET, math.nan), entrant(FCN, 0.7))
    assert "| - |" in table.markdown()
    assert "* IoU: too few values to compare." in table.findings()
    assert json.loads(table.to_json())["architectures"][0]["scores"]["iou"]["mean"] is None


def test_what_cannot_be_computed_is_a_dash_and_null(contest, tmp_path):
    unknown = entrant(UNET, math.nan)
    both = comparison(contest, unknown, entrant(FCN, 0.7))
    told = json.loads(CompareResult(comparison=both, paths=(tmp_path,) * 3).to_json())
    assert told["scores"]["unet"]["iou"] == [None]
    assert told["scores"]["fcn"]["iou"] == [0.7]
    assert contests._told(unknown.trials[0]).startswith("iou -, dice 0.500, ")
    assert both.text().splitlines()[1].split()[:2] == ["unet", "-"]


def test_what_is_not_the_same_for_all_is_said(contest):
    deep = entrant(ArchSpec(name="unet-resnet34"), 0.7, rate=1e-3, weights="/here/resnet34.pth")
    short = entrant(UNET, 0.8, notes=("out of memory in fp32: going on in bf16",))
    table = comparison(contest, deep, short)
    text = table.markdown()
    assert text.splitlines()[2].endswith("| 0.001 |")
    assert "* unet-resnet34: the encoder begins with resnet34.pth" in text
    assert "* unet, seed 0: out of memory in fp32: going on in bf16" in text
    told = json.loads(table.to_json())
    assert "/here" not in table.to_json() + text
    assert told["architectures"][0]["learning_rate"] == 1e-3
    assert not {"learning_rate", "encoder_weights", "arch"} & set(told["recipe"])


@pytest.mark.parametrize(
    ("unet", "fcn", "finding"),
    [
        ((0.8, 0.9), (0.7, 0.6), "unet is best, 0.200 above fcn; it is the better of the two with"),
        ((0.8, 0.7), (0.82, 0.72), "no telling fcn from unet: 0.020 between them, within their"),
        ((0.8, 0.8), (0.9, 0.8), "no telling fcn from unet: 0.050 between them, within their"),
        ((0.5, 0.7), (0.7, 0.5), "no telling unet from fcn: 0.000 between them, within their"),
        ((0.5,), (0.7,), "fcn is best, 0.200 above unet; it is the better of the two with 1 of 1"),
    ],
)
def test_a_lead_within_the_spread_is_none(contest, unet, fcn, finding):
    found = comparison(contest, entrant(UNET, *unet), entrant(FCN, *fcn)).findings()[0]
    assert found.startswith(f"* IoU: {finding}")


def test_the_scores_as_text(contest):
    lines = comparison(contest, entrant(UNET, 0.8, 0.9), entrant(FCN, 0.7)).text().splitlines()
    assert lines[1].split("  ")[:2] == ["unet", "0.850 ± 0.071"]
    assert len({len(line) for line in lines}) == 1


def test_spread_of_one_value_is_not_told():
    assert spread_text([0.5]) == "0.500"
    assert spread_text([0.5, 0.7]) == "0.600 ± 0.141"


def test_every_architecture_says_how_it_skips():
    from geounet.nn import ARCHITECTURES
    from geounet.nn.smp import DECODERS

    assert set(SKIPS) >= {*ARCHITECTURES, *DECODERS}
    assert skips(ArchSpec(name="unet-resnet34")) == skips(UNET)


def test_a_comparison_is_written_as_three_files(contest, tmp_path):
    both = comparison(contest, entrant(UNET, 0.8, 0.9), entrant(FCN, 0.7, math.nan))
    paths = write_comparison(tmp_path, both, name="vessels")
    assert [p.name for p in paths] == ["vessels.md", "vessels.json", "vessels.svg"]
    assert "](vessels.svg)" in paths[0].read_text(encoding="utf-8")
    told = json.loads(paths[1].read_text())
    assert told["architectures"][0]["scores"]["iou"]["seeds"] == [0.8, 0.9]
    assert told["architectures"][1]["cost"]["peak"]["training"] == 9 << 20
    assert told["recipe"]["steps"] == contest.recipe.steps
    with pytest.raises(OutputError, match=r"vessels\.md"):
        write_comparison(tmp_path, both, name="vessels")


def test_the_plot_has_a_dot_for_every_value(contest, tmp_path):
    both = comparison(contest, entrant(UNET, 0.8, 0.9), entrant(FCN, 0.7, math.nan))
    path = write_comparison(tmp_path, both)[2]
    root = ET.parse(path).getroot()
    ns = "{http://www.w3.org/2000/svg}"
    panels = root.findall(f"{ns}g")
    assert len(panels) == 8
    dots = panels[0].findall(f"{ns}circle")
    assert [d.get("r") for d in dots] == ["3", "3", "6", "6"]
    x = [float(d.get("cx")) for d in dots]
    assert x[3] < x[0] < x[2] < x[1]
    assert np.isclose(x[2], (x[0] + x[1]) / 2, atol=0.2)
    assert "nan" not in path.read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text())
