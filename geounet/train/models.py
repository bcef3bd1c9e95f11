"""Trains the models that ship: ``python -m geounet.train.models all`` (or names of some).

Reads the data in ``GEOUNET_DATA`` (default ``../shared/data``). Without ``--scores`` it trains on
all chips and writes ``geounet/models/NAME.geounet``; with it, it cross-validates and writes
``geounet/train/scores/NAME.json``, which the next training, or ``--card``, puts into the card.
``--card`` also writes the graph, and how far the engines agree, with the weights as they are.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import geounet.models
from geounet.bundle import SUFFIX, load_bundle, save_bundle
from geounet.engine.select import AGREEMENT
from geounet.errors import GeounetError, ModelError, OptionError
from geounet.metrics import Confusion
from geounet.spec import ArchSpec, ModelCard, ModelSpec, Unit
from geounet.train import baselines, cards
from geounet.train.chips12 import WaterLandcoverChips
from geounet.train.crossval import Contender, crossval, network_of, pooled, summary
from geounet.train.fit import Trained, fit
from geounet.train.precision import MOST, agreement_of, openvino_agreement
from geounet.train.recipe import Augmentation, Recipe
from geounet.train.sen1floods import Sen1Floods11
from geounet.train.source import Source, data_folder

SEED = 1
"""Of the models that ship."""
SEEDS = (1, 2, 3)
"""Of the scores."""

SCORES = Path(__file__).parent / "scores"
LARGER = (10, 20, 30, 40, 50, 60, 80)
"""Land-cover classes with enough pixels for a mean IoU that means something."""

_LOG = logging.getLogger(__name__)
_PAKISTAN = ("Pakistan_849790",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """One model that ships."""

    recipe: Recipe
    """How it is trained."""
    source: Callable[[Path], Source]
    """Its data, from the data folder."""
    baselines: Mapping[str, Contender]
    """What it must beat."""
    score: Callable[[Mapping[str, Confusion], Source], dict[str, float]]
    """Numbers from the confusion of each held-out chip."""
    unit: Unit
    """Unit of the input."""
    plausible: tuple[float, float]
    """Range of the median of a band."""
    folds: int = 3
    """Of the scores."""
    pixel_size: tuple[float, float]
    """Metres."""
    card: ModelCard
    """Texts; scores and provenance are added."""


def water_scores(counts: Mapping[str, Confusion], source: Source) -> dict[str, float]:
    """IoU and F1 of water, pooled over all chips."""
    del source
    score = pooled(counts).score(1)
    return {"water_iou": score.iou, "water_f1": score.f1}


def flood_scores(counts: Mapping[str, Confusion], source: Source) -> dict[str, float]:
    """The same, with and without the chip whose label is of another day."""
    clean = pooled(counts, leave_out=_PAKISTAN).score(1)
    return {
        "water_iou": clean.iou,
        "water_f1": clean.f1,
        "water_iou_with_pakistan": water_scores(counts, source)["water_iou"],
    }


def landcover_scores(counts: Mapping[str, Confusion], source: Source) -> dict[str, float]:
    """Overall accuracy, mean IoU over the larger classes, and the IoU of each of them."""
    total = pooled(counts)
    index = {c.code: i for i, c in enumerate(source.classes)}
    ious = {
        f"iou_{c.name.replace(' ', '_')}": total.score(index[c.code]).iou
        for c in source.classes
        if c.code in LARGER
    }
    return {
        "accuracy": total.accuracy,
        "mean_iou_of_7": float(np.mean(list(ious.values()))),
        **ious,
    }


_CHIP_FOLDER = "water_landcover_12band"

SHIPPED: Mapping[str, Shipped] = {
    "flood-s1": Shipped(
        recipe=Recipe(
            name="flood-s1",
            arch=ArchSpec(name="unet", width=8, depth=4),
            clip=(-35.0, 5.0),
            augmentation=Augmentation(
                degrees=15.0,
                scale=(0.8, 1.25),
                offset=0.7,
                band_offset=0.5,
                noise=0.1,
                drop_band=0.15,
                rough_water=0.4,
                holes=0.2,
            ),
            pixel_steps=300,
            steps=220,
            batch=8,
            loss="0.7*ce+0.3*dice",
            loss_classes=(1,),
            leave_out=_PAKISTAN,
        ),
        source=lambda folder: Sen1Floods11(folder / "sen1floods11"),
        baselines={
            "otsu_of_scene_vh_median5": baselines.otsu_of_scene,
            "vh_median5_threshold": baselines.vh_threshold,
        },
        score=flood_scores,
        unit="dB",
        folds=4,
        plausible=(-45.0, 3.0),
        pixel_size=(8.0, 25.0),
        card=ModelCard(
            summary="Open water from one Sentinel-1 scene (VV, VH in decibels).",
            data=cards.SEN1FLOODS,
            terms=cards.TERMS_S1,
            limits=cards.LIMITS_S1,
        ),
    ),
    "water-ms": Shipped(
        recipe=Recipe(
            name="water-ms",
            arch=ArchSpec(name="unet", width=8, depth=4),
            clip=(-0.05, 0.8),
            augmentation=Augmentation(gain=0.05, band_gain=0.02, band_offset=0.002, holes=0.1),
            pixel_steps=600,
            patch_steps=300,
            freeze_norms=True,
            steps=150,
            batch=64,
            crop=32,
            margin=8,
            learning_rate=1e-3,
            loss_classes=(1,),
            fit_threshold=True,
        ),
        source=lambda folder: WaterLandcoverChips(folder / _CHIP_FOLDER, "water"),
        baselines={"mndwi_threshold": baselines.mndwi_threshold},
        score=water_scores,
        unit="reflectance",
        plausible=(-0.05, 1.2),
        pixel_size=(10.0, 60.0),
        card=ModelCard(
            summary="Open water from surface reflectance in seven bands.",
            data=cards.CHIPS12.format(label=cards.WATER_LABEL),
            terms=cards.TERMS_WATER,
            limits=cards.LIMITS_WATER,
        ),
    ),
    "landcover-ms": Shipped(
        recipe=Recipe(
            name="landcover-ms",
            arch=ArchSpec(name="unet", width=24, depth=2),
            clip=(-0.05, 0.8),
            augmentation=Augmentation(gain=0.02, band_gain=0.01, band_offset=0.001, holes=0.1),
            pixel_steps=800,
            patch_steps=2000,
            freeze_norms=True,
            steps=60,
            batch=64,
            crop=32,
            margin=8,
            learning_rate=4e-4,
            loss="0.8*ce+0.2*dice",
        ),
        source=lambda folder: WaterLandcoverChips(folder / _CHIP_FOLDER, "landcover"),
        baselines={"pixel_forest": baselines.pixel_forest},
        score=landcover_scores,
        unit="reflectance",
        plausible=(-0.05, 1.2),
        pixel_size=(10.0, 60.0),
        card=ModelCard(
            summary="ESA WorldCover classes from surface reflectance in seven bands.",
            data=cards.CHIPS12.format(label=cards.COVER_LABEL),
            terms=cards.TERMS_COVER,
            limits=cards.LIMITS_COVER,
        ),
    ),
}
"""Name -> how it is made."""


def make(name: str, folder: Path, out: Path) -> Path:
    """Train a model on all its chips and write its bundle into ``out``."""
    shipped = SHIPPED[name]
    source = shipped.source(folder)
    names = [n for group in source.groups for n in group]
    trained = fit(shipped.recipe, source, names, SEED)
    _LOG.info("%s: loss %.3f in %.0f s", name, trained.loss, trained.seconds)
    spec = spec_of(shipped, source, trained)
    state = trained.network.state_dict()
    agreement = agreement_of(spec, state, source, names, half=True)
    share = agreement.share or 0.0
    _LOG.info("%s: %.4f %% of labels are the same in bfloat16", name, 100 * share)
    spec = replace(spec, bf16_agreement=_cautious(name, share))
    path = save_bundle(out / f"{name}{SUFFIX}", spec, state, half=True)
    return compare_engines(path, source, names)


def spec_of(shipped: Shipped, source: Source, trained: Trained) -> ModelSpec:
    """The spec of a trained model, with the scores that are on file."""
    name = shipped.recipe.name
    return ModelSpec(
        name=name,
        version="1",
        arch=shipped.recipe.arch,
        bands=trained.bands,
        unit=shipped.unit,
        clip=shipped.recipe.clip,
        plausible=shipped.plausible,
        classes=source.classes,
        pixel_size=shipped.pixel_size,
        card=replace(
            shipped.card,
            metrics=_scores_on_file(name),
            provenance={
                "command": f"python -m geounet.train.models {name}",
                "seed": SEED,
                "steps": shipped.recipe.steps,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        ),
    )


def write_scores(name: str, folder: Path, seeds: Sequence[int] = SEEDS) -> Path:
    """Cross-validate a model beside its baselines; the file is renewed after each seed."""
    shipped = SHIPPED[name]
    source = shipped.source(folder)
    halves = Confusion()
    contenders = {**shipped.baselines, "model": network_of(shipped.recipe, halves)}
    path = SCORES / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    runs = []
    for seed in seeds:
        runs.append(
            crossval(
                source,
                contenders,
                shipped.score,
                folds=shipped.folds,
                seed=seed,
                leave_out=shipped.recipe.leave_out,
            )
        )
        scores = summary(runs)
        scores["bf16_agreement_on_held_out"] = round(halves.accuracy, 6)
        scores["how"] = (
            f"{shipped.folds} folds of {len(source.groups)} whole groups, each with its network,"
            " pooled over all held-out pixels; mean, sample standard deviation and values of"
            f" {len(runs)} seeds, each with its own folds. All are fitted on the same training"
            f" parts. Command: python -m geounet.train.models {name} --scores"
        )
        path.write_text(json.dumps(scores, indent=1) + "\n")
    return path


def compare_engines(path: Path, source: Source, names: Sequence[str]) -> Path:
    """Measure how far OpenVINO gives what torch does, and write it into the card of a bundle.

    Raises:
        ModelError: They give different labels.
    """
    bundle = load_bundle(path)
    found = openvino_agreement(bundle, source, names, most=MOST)
    told = {
        "labels": found.share,
        "largest_logit_difference": float(f"{found.largest:.1e}"),
        "pixels": found.pixels,
    }
    _LOG.info("%s: OpenVINO beside torch, in float32: %s", path.name, told)
    if (found.share or 0) < AGREEMENT:
        raise ModelError(f"{path}: OpenVINO gives {found.share:%} of the labels that torch does")
    card = bundle.spec.card
    card = replace(card, metrics={**card.metrics, "openvino_beside_torch_in_fp32": told})
    spec = replace(bundle.spec, card=card)
    return save_bundle(path, spec, bundle.network.state_dict(), half=True)


def renew_card(name: str, folder: Path) -> Path:
    """Put texts, the scores that are on file, and the graph into a bundle as it is."""
    path = folder / f"{name}{SUFFIX}"
    bundle = load_bundle(path)
    card = replace(
        SHIPPED[name].card,
        metrics=_scores_on_file(name),
        provenance=bundle.spec.card.provenance,
    )
    agreement = _cautious(name, bundle.spec.bf16_agreement or 0.0)
    spec = replace(bundle.spec, card=card, bf16_agreement=agreement)
    save_bundle(path, spec, bundle.network.state_dict(), half=True)
    source = SHIPPED[name].source(data_folder())
    return compare_engines(path, source, [n for group in source.groups for n in group])


def _cautious(name: str, agreement: float) -> float:
    """The smaller of this agreement and the one on held-out chips, where that is on file."""
    held_out = _scores_on_file(name).get("bf16_agreement_on_held_out", agreement)
    return round(min(agreement, float(held_out)), 6)


def _scores_on_file(name: str) -> dict[str, Any]:
    path = SCORES / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m geounet.train.models", description=__doc__)
    parser.add_argument("models", nargs="+", help=f"all, or some of {', '.join(SHIPPED)}")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--scores", action="store_true", help="cross-validate instead of training")
    other.add_argument("--card", action="store_true", help="only renew cards and graphs")
    parser.add_argument("--out", type=Path, default=Path(geounet.models.__file__).parent)
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of torch (default %(default)s: networks this small gain little from a second)",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    torch.set_num_threads(options.threads)
    try:
        for name in _chosen(options.models):
            _LOG.info("wrote %s", _run(name, options))
    except GeounetError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _run(name: str, options: argparse.Namespace) -> Path:
    if options.card:
        return renew_card(name, options.out)
    if options.scores:
        return write_scores(name, data_folder())
    return make(name, data_folder(), options.out)


def _chosen(names: Sequence[str]) -> list[str]:
    if "all" in names:
        return list(SHIPPED)
    unknown = [name for name in names if name not in SHIPPED]
    if unknown:
        raise OptionError(f"{unknown[0]}: no such model: choose all, or some of {list(SHIPPED)}")
    return list(names)


if __name__ == "__main__":
    sys.exit(main())
