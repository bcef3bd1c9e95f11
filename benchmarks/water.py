"""Scores of ``geounet train`` on water in seven bands, beside MNDWI and U-Net/ResNet-34.

    python benchmarks/water.py [--seeds 1,2,3] [--folds 3] [--out water.json] [--settings k=v ...]

Every chip is scored once, by a model that has seen no chip of its group. All contenders learn from
the same chips; U-Net/ResNet-34 gets as many steps as take the minutes of the U-Net. ``--only`` also
takes ``MNDWI-told``, whose threshold is fitted to the labels of the chip itself.
Prints Markdown; see ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geounet.metrics import Confusion
from geounet.train.baselines import Classify, mndwi, mndwi_threshold
from geounet.train.config import arch_of, recipe_of, request_of
from geounet.train.crossval import Contender, crossval, network_of, pooled
from geounet.train.data import PairSource, open_data
from geounet.train.fit import fit
from geounet.train.keys import read_settings
from geounet.train.recipe import Recipe
from geounet.train.run import Run
from geounet.train.scheme import read_classes
from geounet.train.settings import LearningKeys, TrainSettings
from geounet.train.source import Chip, Source, data_folder
from geounet.train.statistics import clip_of
from geounet.train.threshold import best_threshold

OURS, PEER, INDEX, TOLD = "unet", "unet-resnet34", "MNDWI", "MNDWI-told"
PROBE = 12
"""Steps of a training that tells how long a step takes."""


def keys_of(said: Sequence[str]) -> LearningKeys:
    """The settings of the data set, and those that are said."""
    folder = data_folder() / "water_landcover_12band"
    return read_settings(
        TrainSettings,
        None,
        {
            "images": str(folder / "images"),
            "labels": str(folder / "labels"),
            "groups": str(folder / "location_groups.json"),
            "bands": "coastal=1,blue=2,green=3,red=4,nir=5,swir1=6,swir2=7",
            "scale": 0.0001,
            "unit": "reflectance",
            "classes": "land=0,water=1",
            "out": "water.geounet",
            **dict(pair.split("=", 1) for pair in said),
        },
    )


def recipes(keys: LearningKeys, source: PairSource, names: Sequence[str]) -> dict[str, Recipe]:
    """Both networks, with the steps that take the same time."""
    clip = clip_of(keys.unit, source, names)
    pixels = sum(source.size(name) for name in names)
    made = {name: recipe_of(keys, name, arch_of(keys, name), clip, pixels) for name in (OURS, PEER)}
    took = {name: step_seconds(recipe, source, names) for name, recipe in made.items()}
    total = made[OURS].total_steps
    steps = max(1, round(total * took[OURS] / took[PEER] / keys.epochs))
    made[PEER] = replace(made[PEER], steps=steps)
    print(
        f"a step takes {took[OURS]:.3f} s, with {PEER} {took[PEER]:.3f} s: {total} and"
        f" {made[PEER].total_steps} steps",
        flush=True,
    )
    return made


def step_seconds(recipe: Recipe, source: Source, names: Sequence[str]) -> float:
    """Of the second epoch of a short training."""
    short = replace(recipe, epochs=2, steps=PROBE, fit_threshold=False)
    record = fit(short, source, names, 1, run=Run(device="cpu")).history[1]
    return record.seconds / PROBE


def timed(contender: Contender, spent: list[float]) -> Contender:
    """The same, with the time that fitting takes put down."""

    def fitted(source: Source, names: Sequence[str], seed: int) -> Classify:
        start = time.perf_counter()
        classify = contender(source, names, seed)
        spent.append(time.perf_counter() - start)
        return classify

    return fitted


def told_threshold(source: Source, names: Sequence[str], seed: int) -> Classify:
    """For each chip the threshold of MNDWI that fits its own labels best."""
    del source, names, seed

    def classify(chip: Chip) -> NDArray[np.int64]:
        index, water = mndwi(chip), chip.label == 1
        if not water[chip.scored].any():
            return np.zeros(water.shape, np.int64)
        threshold = best_threshold(index[chip.scored], water[chip.scored], above=True)
        return np.asarray(index > threshold, np.int64)

    return classify


def score(counts: Mapping[str, Confusion], source: Source) -> dict[str, float]:
    """IoU of water over all pixels."""
    del source
    return {"iou": pooled(counts).score(1).iou}


THRESHOLDS: Mapping[str, Contender] = {INDEX: mndwi_threshold, TOLD: told_threshold}


def main() -> None:
    """Cross-validate all three with each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("water.json"))
    parser.add_argument("--only", default=f"{INDEX},{OURS},{PEER}", help="contenders")
    parser.add_argument("--settings", nargs="*", default=[], help="of geounet train: key=value")
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    keys = keys_of(args.settings)
    source = open_data(request_of(keys, read_classes(keys.classes), keys.unit, keys.patch))
    names = [name for group in source.groups for name in group]
    spent: dict[str, list[float]] = {name: [] for name in args.only.split(",")}
    made = recipes(keys, source, names) if PEER in spent else None
    contenders: dict[str, Contender] = {}
    for name, seconds in spent.items():
        if name in THRESHOLDS:
            contenders[name] = timed(THRESHOLDS[name], seconds)
            continue
        clip = clip_of(keys.unit, source, names)
        pixels = sum(source.size(chip) for chip in names)
        recipe = made[name] if made else recipe_of(keys, name, arch_of(keys, name), clip, pixels)
        contenders[name] = timed(network_of(recipe), seconds)
    runs: dict[str, list[float]] = {name: [] for name in contenders}
    for seed in map(int, args.seeds.split(",")):
        found = crossval(source, contenders, score, folds=args.folds, seed=seed)
        for name, scores in found.items():
            runs[name].append(scores["iou"])
        args.out.write_text(json.dumps(_kept(keys, args, runs, spent), indent=1) + "\n")
        print(f"seed {seed}: " + ", ".join(f"{n} {v[-1]:.4f}" for n, v in runs.items()), flush=True)
    print(f"\n{args.folds} folds of whole groups; {torch.get_num_threads()} threads\n")
    print("| contender | IoU of water, mean ± sd | each seed | minutes a training |")
    print("|---|---|---|---|")
    for name, values in runs.items():
        sd = statistics.stdev(values) if len(values) > 1 else float("nan")
        each = ", ".join(f"{v:.3f}" for v in values)
        minutes = statistics.fmean(spent[name]) / 60
        print(f"| {name} | {statistics.fmean(values):.3f} ± {sd:.3f} | {each} | {minutes:.1f} |")


def _kept(
    keys: LearningKeys, args: argparse.Namespace, runs: Mapping[str, Any], spent: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "settings": args.settings,
        "folds": args.folds,
        "seeds": args.seeds,
        "threads": torch.get_num_threads(),
        "iou": runs,
        "seconds": spent,
        "epochs": keys.epochs,
    }


if __name__ == "__main__":
    main()
