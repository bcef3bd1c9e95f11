"""A run that is stopped, or killed, and resumed ends as one that never was."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geounet.errors import OptionError
from geounet.train.checkpoint import checkpoint_path
from geounet.train.fit import fit
from geounet.train.run import Run

pytestmark = pytest.mark.train

TRAINING, HELD_OUT = ("0", "1", "2", "3", "4", "5"), ("6", "7")

STOPPED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from conftest import MadeUp
from test_loop_resume import HELD_OUT, TRAINING, several
from geounet.train.fit import fit
from geounet.train.module import SegmentationModule
from geounet.train.run import Run

taken, last, signal = SegmentationModule.training_step, int(sys.argv[3]), int(sys.argv[4])

def step(self, batch, index):
    if self.global_step == last:
        os.kill(os.getpid(), signal)
    return taken(self, batch, index)

SegmentationModule.training_step = step
run = Run(folder=Path(sys.argv[2]), device="cpu", resume=True, say=print)
fit(several(), MadeUp(), TRAINING, 3, validate=HELD_OUT, run=run)
print("never stopped")
"""


def several(**changes):
    from geounet.spec import ArchSpec
    from geounet.train.recipe import Augmentation, Recipe

    return Recipe(
        **{
            "name": "several",
            "arch": ArchSpec(name="unet", width=4, depth=2),
            "clip": (-35.0, 5.0),
            "augmentation": Augmentation(degrees=10, scale=(0.9, 1.1), noise=0.1, holes=0.2),
            "steps": 3,
            "epochs": 6,
            "batch": 2,
            "crop": 64,
            "learning_rate": 1e-2,
            "ema": 0.8,
            "pixel_steps": 3,
            **changes,
        }
    )


def weights(trained):
    return b"".join(v.numpy().tobytes() for v in trained.network.state_dict().values())


def stopped(folder: Path, step: int, number: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", STOPPED, str(Path(__file__).parent), str(folder)]
    return subprocess.run(
        [*command, str(step), str(number)], capture_output=True, text=True, check=False, timeout=300
    )


def test_stopped_and_killed_and_resumed_gives_the_same_bytes(made_up, tmp_path):
    once = stopped(tmp_path, step=7, number=signal.SIGTERM)  # in the third epoch
    assert once.returncode == 128 + signal.SIGTERM, once.stderr
    assert "goes on after the last complete epoch" in once.stdout
    assert "Traceback" not in once.stderr
    again = stopped(tmp_path, step=13, number=signal.SIGKILL)  # in the fifth: an average has begun
    assert again.returncode == -signal.SIGKILL, again.stderr
    run = Run(folder=tmp_path, device="cpu", resume=True)
    end = fit(several(), made_up, TRAINING, 3, validate=HELD_OUT, run=run)
    whole = fit(several(), made_up, TRAINING, 3, validate=HELD_OUT, run=Run(device="cpu"))
    assert weights(end) == weights(whole)
    assert end.best_epoch == whole.best_epoch
    assert [(r.epoch, r.loss, r.val_loss, r.val_iou) for r in end.history] == [
        (r.epoch, r.loss, r.val_loss, r.val_iou) for r in whole.history
    ]
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + several().epochs


@pytest.mark.parametrize("validate", [(), HELD_OUT])
def test_a_finished_run_that_is_resumed_gives_the_same_bytes(made_up, tmp_path, validate):
    recipe = several(steps=2, epochs=2)
    run = Run(folder=tmp_path, device="cpu")
    one = fit(recipe, made_up, TRAINING, 0, validate=validate, run=run)
    other = fit(recipe, made_up, TRAINING, 0, validate=validate, run=replace(run, resume=True))
    assert weights(one) == weights(other)
    assert len(other.history) == 2


def test_another_run_is_not_resumed(made_up, tmp_path):
    recipe, run = several(steps=1, epochs=1), Run(folder=tmp_path, device="cpu")
    fit(recipe, made_up, TRAINING, 0, run=run)
    with pytest.raises(OptionError, match=r"another run \(batch was 2 and is 4; seed was 0 and"):
        fit(replace(recipe, batch=4), made_up, TRAINING, 1, run=replace(run, resume=True))


def test_nothing_to_resume_is_a_beginning(made_up, tmp_path):
    told = []
    run = Run(folder=tmp_path, device="cpu", resume=True, say=told.append)
    one = fit(several(steps=1, epochs=1), made_up, TRAINING, 0, run=run)
    assert told == [f"no checkpoint in {tmp_path} yet: training begins at the beginning"]
    other = fit(several(steps=1, epochs=1), made_up, TRAINING, 0, run=Run(device="cpu"))
    assert weights(one) == weights(other)


def test_a_checkpoint_needs_no_pickle(made_up, tmp_path):
    run = Run(folder=tmp_path, device="cpu", patience=3)
    fit(several(steps=1, epochs=2), made_up, TRAINING, 0, validate=HELD_OUT, run=run)
    kept = torch.load(checkpoint_path(tmp_path), weights_only=True)
    assert kept["epoch"] == 1


def test_ctrl_c_stays_ctrl_c(made_up, tmp_path):
    told, before = [], signal.getsignal(signal.SIGINT)

    def interrupt(_):
        raise KeyboardInterrupt

    run = Run(folder=tmp_path, device="cpu", progress=interrupt, say=told.append)
    with pytest.raises(KeyboardInterrupt):
        fit(several(), made_up, TRAINING, 0, run=run)
    assert signal.getsignal(signal.SIGINT) is before
    assert told == ["stopped: no epoch was complete, so there is nothing to go on from"]
