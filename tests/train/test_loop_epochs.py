"""Epochs, validation, the best weights, early stopping, logs."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from geounet.errors import DataError, DeviceError, OptionError
from geounet.metrics import Confusion
from geounet.spec import ArchSpec
from geounet.train.fit import fit
from geounet.train.loss import SegmentationLoss
from geounet.train.predict import predict_labels
from geounet.train.run import EpochRecord, Run

pytestmark = pytest.mark.train

TRAINING, HELD_OUT = ("0", "1", "2", "3", "4", "5"), ("6", "7")
CPU = Run(device="cpu")


def scores(trained, source, names):
    counts = Confusion()
    for chip in source.chips(names):
        labels = predict_labels(trained.network, trained.normalize, chip)
        counts.add(labels, chip.label, chip.scored)
    return counts.score(0), counts.score(1)


@pytest.fixture
def several(recipe):
    return replace(recipe, steps=4, epochs=4, batch=2, ema=0.8)


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_the_best_epochs_weights_are_kept_as_they_were_validated(made_up, several, ema):
    several = replace(several, ema=ema)
    trained = fit(several, made_up, TRAINING, 0, validate=HELD_OUT, run=CPU)
    records = trained.history
    assert [r.epoch for r in records] == [0, 1, 2, 3]
    assert trained.best_epoch == max(records, key=lambda r: r.mean_iou).epoch
    found = scores(trained, made_up, HELD_OUT)
    best = records[trained.best_epoch]
    assert best.val_iou == pytest.approx([s.iou for s in found], abs=1e-3)
    assert best.val_f1 == pytest.approx([s.f1 for s in found], abs=1e-3)


def test_before_there_is_an_average_the_weights_are_validated(made_up, several):
    with_average, without = (
        fit(replace(several, ema=e), made_up, TRAINING, 0, validate=HELD_OUT, run=CPU).history
        for e in (0.8, 0.0)
    )
    same = [a.val_loss == b.val_loss for a, b in zip(with_average, without, strict=True)]
    assert same == [True, True, False, False]


def test_validating_changes_nothing(made_up, several):
    one, other = (fit(several, made_up, TRAINING, 0, validate=v, run=CPU) for v in ((), HELD_OUT))
    assert [r.loss for r in one.history] == [r.loss for r in other.history]
    assert one.best_epoch is None
    assert one.history[0].val_loss is None
    assert math.isnan(one.history[0].mean_iou)


def test_epochs_have_patches_of_their_own(made_up, several):
    seeds = []
    batches = made_up.batches

    def noted(names, *, size, batch, steps, seed):
        seeds.append(seed)
        return batches(names, size=size, batch=batch, steps=steps, seed=seed)

    made_up.batches = noted
    fit(several, made_up, TRAINING, 5, run=CPU)
    assert seeds[0] == 5
    assert len(set(seeds)) == several.epochs == len(seeds)


def test_patience(made_up, several, tmp_path):
    slow = replace(several, learning_rate=1e-12, epochs=9, ema=0.0, freeze_norms=True)
    run = replace(CPU, patience=2, folder=tmp_path)
    trained = fit(slow, made_up, TRAINING, 0, validate=HELD_OUT, run=run)
    assert len(trained.history) == 3  # the first is the best, and two more are waited for
    assert trained.best_epoch == 0
    again = fit(slow, made_up, TRAINING, 0, validate=HELD_OUT, run=replace(run, resume=True))
    assert len(again.history) == 3


def test_the_log_and_the_progress_have_every_epoch(made_up, several, tmp_path):
    told = []
    run = replace(CPU, folder=tmp_path, progress=told.append)
    trained = fit(several, made_up, TRAINING, 0, validate=HELD_OUT, run=run)
    with (tmp_path / "metrics.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [float(r["val_iou"]) for r in rows] == pytest.approx(
        [r.mean_iou for r in trained.history]
    )
    assert [float(r["loss"]) for r in rows] == pytest.approx([r.loss for r in trained.history])
    assert [p.record for p in told if p.record] == list(trained.history)
    assert trained.history[0].pixels == 4 * 2 * 64 * 64
    assert all(r.seconds > 0 and r.val_seconds > 0 for r in trained.history)


@pytest.mark.parametrize(
    "changes",
    [
        {"arch": ArchSpec(name="fcn", width=4, depth=4)},
        {"arch": ArchSpec(name="segnet", width=4, depth=2)},
        {"arch": ArchSpec(name="unet-resnet18"), "batch": 2},
        {"arch": ArchSpec(name="unet-resnet18"), "whiten": False, "fit_threshold": True},
        {"optimizer": "adam", "schedule": "cosine"},
        {"loss": "0.5*ce+lovasz", "balance": 0.5},
    ],
)
def test_any_network_and_choice_trains(made_up, recipe, changes):
    recipe = replace(recipe, **{"steps": 2, "epochs": 2, **changes})
    trained = fit(recipe, made_up, TRAINING, 0, validate=HELD_OUT, run=CPU)
    assert all(math.isfinite(r.loss) and math.isfinite(r.val_loss) for r in trained.history)
    rates = [r.learning_rate for r in trained.history]
    assert rates[1] < rates[0] <= recipe.learning_rate


def test_half_precision_learns_too(made_up, recipe):
    recipe = replace(recipe, steps=20, epochs=2)
    run = replace(CPU, precision="bf16")
    trained = fit(recipe, made_up, TRAINING, 0, validate=HELD_OUT, run=run)
    assert trained.history[-1].mean_iou > 0.9
    assert {p.dtype for p in trained.network.parameters()} == {torch.float32}


def test_a_loss_that_is_no_number_ends_the_run(made_up, recipe, monkeypatch):
    monkeypatch.setattr(SegmentationLoss, "forward", lambda _self, x, _label: x.sum() * math.nan)
    with pytest.raises(OptionError, match=r"epoch 0: the loss is nan: lower the learning rate"):
        fit(replace(recipe, steps=1), made_up, TRAINING, 0, run=CPU)


def test_no_valid_pixel_is_said_at_once(made_up, recipe):
    chips = made_up.chips
    made_up.chips = lambda names: (replace(c, image=c.image * np.nan) for c in chips(names))
    with pytest.raises(DataError, match="6 chips to train on have no valid pixel"):
        fit(recipe, made_up, TRAINING, 0, run=CPU)


def test_what_cannot_be(made_up, recipe):
    with pytest.raises(OptionError, match="5 is both trained on and validated on"):
        fit(recipe, made_up, TRAINING, 0, validate=("5",))
    with pytest.raises(DeviceError, match="fp16: CPUs have no fast float16"):
        fit(recipe, made_up, TRAINING, 0, run=replace(CPU, precision="fp16"))
    with pytest.raises(OptionError, match="batch of 4 cannot be shared by 3"):
        fit(recipe, made_up, TRAINING, 0, run=replace(CPU, devices=3))
    for wrong, message in (
        ({"resume": True}, "which folder"),
        ({"patience": 0}, "patience 0"),
        ({"devices": 0}, "devices 0"),
        ({"limit_memory": 0}, "memory limit 0"),
    ):
        with pytest.raises(OptionError, match=message):
            Run(**wrong)


def test_a_record_without_a_labelled_class():
    record = EpochRecord(
        epoch=0, loss=1.0, val_iou=(0.5, math.nan), learning_rate=0.1, seconds=1.0, pixels=1
    )
    assert record.mean_iou == 0.5
    assert record.val_f1[0] == pytest.approx(2 / 3)


TWO = """
import sys
sys.path.insert(0, sys.argv[1])
from conftest import MadeUp
from test_loop_resume import HELD_OUT, TRAINING, several
from geounet.train.fit import fit
from geounet.train.run import Run

run = Run(device="cpu", devices=2)
trained = fit(several(epochs=1, batch=4), MadeUp(), TRAINING, 3, validate=HELD_OUT, run=run)
(record,) = trained.history
print("after training", record.pixels, record.mean_iou > 0)
"""


def test_two_processes_share_a_batch_and_one_goes_on(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    command = [sys.executable, str(script), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("after training")]
    assert told == [f"after training {3 * 4 * 64 * 64} True"]
