"""The ladder down to less memory."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from geounet.errors import OptionError
from geounet.nn import build
from geounet.spec import ArchSpec
from geounet.train.augment import Augment, Normalize
from geounet.train.fit import fit
from geounet.train.loss import SegmentationLoss
from geounet.train.memory import (
    LiveBytes,
    Plan,
    free_memory,
    ladder,
    size_text,
    step_memory,
)
from geounet.train.module import SegmentationModule
from geounet.train.norms import batch_norms
from geounet.train.recompute import blocks, recomputed
from geounet.train.run import Run
from geounet.train.statistics import statistics_of
from geounet.train.whiten import Whitened

pytestmark = pytest.mark.train

TRAINING = ("0", "1", "2", "3", "4", "5")
CPU = torch.device("cpu")
ARCHS = [
    ArchSpec(name="unet", width=4, depth=2),
    ArchSpec(name="fcn", width=4, depth=4),
    ArchSpec(name="segnet", width=4, depth=2),
    ArchSpec(name="unet-resnet18"),
]


def module_of(recipe, source):
    normalize = Normalize(statistics_of(source, TRAINING, recipe.clip).bands, recipe.clip)
    network = build(recipe.arch, 2, 2).to(memory_format=torch.channels_last)
    return SegmentationModule(
        recipe,
        Whitened(network, None),
        Augment(recipe.augmentation, normalize),
        SegmentationLoss(recipe, [0.5, 0.5]),
    )


def test_the_order_of_the_ladder():
    steps = [str(plan) for plan in ladder(Plan(), 8, CPU)]
    assert steps == [
        "fp32",
        "bf16",
        "bf16, gradient checkpointing",
        "bf16, gradient checkpointing, 2 minibatches a step",
        "bf16, gradient checkpointing, 4 minibatches a step",
    ]
    assert [str(plan) for plan in ladder(Plan(precision="bf16"), 3, CPU)] == steps[1:3]


@pytest.mark.parametrize("arch", ARCHS, ids=str)
def test_recomputing_changes_nothing(arch):
    torch.manual_seed(0)
    plain = build(arch, 2, 2).train()
    other = copy.deepcopy(plain)
    x = torch.randn(2, 2, 64, 64)
    plain(x).square().mean().backward()
    with recomputed(other) as count:
        other(x).square().mean().backward()
    assert count == len(blocks(other)) > 2
    assert "forward" not in vars(blocks(other)[0])
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None)
        assert one.grad is None or torch.equal(one.grad, two.grad)
    for one, two in zip(plain.buffers(), other.buffers(), strict=True):
        assert torch.equal(one, two)
    assert all(norm.momentum == 0.1 for norm in batch_norms(other))


def test_live_bytes_are_counted_as_they_come_and_go():
    layer = nn.Linear(256, 256, bias=False)
    x = torch.ones(64, 256)
    with LiveBytes() as live:
        y = layer(x)
        assert live.now == 64 * 256 * 4
        z = y + 1
        del y
        assert live.now == 64 * 256 * 4
        z.sum().backward()
        del z
    assert live.peak >= 2 * 64 * 256 * 4
    assert live.now == 256 * 256 * 4  # the gradient


@pytest.mark.parametrize("arch", ARCHS[:3], ids=str)
def test_each_step_of_the_ladder_takes_less(made_up, recipe, arch):
    recipe = replace(recipe, arch=arch, batch=8, crop=64)
    module = module_of(recipe, made_up)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    taken = [step_memory(module, plan, 8, CPU) for plan in ladder(Plan(), 8, CPU)]
    assert taken == sorted(taken, reverse=True)
    assert taken[2] < 0.75 * taken[0]
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_the_trial_foretells_a_larger_batch(made_up, recipe):
    module = module_of(replace(recipe, batch=4), made_up)
    foretold = step_memory(module, Plan(), 16, CPU)
    doubled = step_memory(module, Plan(), 8, CPU)
    measured = step_memory(module, Plan(), 4, CPU)
    assert foretold - doubled == pytest.approx(2 * (doubled - measured), rel=1e-3)


def test_a_limit_is_kept_and_what_was_done_is_said(made_up, recipe):
    recipe = replace(recipe, steps=2, batch=4)
    full = step_memory(module_of(recipe, made_up), Plan(), 4, CPU)
    told = []
    run = Run(device="cpu", limit_memory=int(0.7 * full), say=told.append)
    trained = fit(recipe, made_up, TRAINING, 0, run=run)
    assert list(trained.notes) == told
    assert told[0].startswith("a step in fp32 takes ")
    assert told[-1].startswith("a step in bf16")
    enough = fit(recipe, made_up, TRAINING, 0, run=replace(run, limit_memory=2 * full))
    assert len(enough.notes) == 1


def test_a_limit_that_nothing_keeps(made_up, recipe):
    run = Run(device="cpu", limit_memory=1000)
    match = r"2 minibatches a step takes [\d.]+ MiB .* no less will do"
    with pytest.raises(OptionError, match=match):
        fit(recipe, made_up, TRAINING, 0, run=run)


@pytest.mark.parametrize(
    ("count", "told"),
    [(1 << 19, "0.5 MiB"), ((1 << 30) - 1, "1024 MiB"), (3 << 29, "1.50 GiB")],
)
def test_sizes_as_text(count, told):
    assert size_text(count) == told


def test_out_of_memory_goes_down_the_ladder(made_up, recipe, monkeypatch):
    taken, failures = SegmentationModule.training_step, [2, 1]

    def step(self, batch, index):
        if failures and index == failures[-1]:
            failures.pop()
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return taken(self, batch, index)

    recipe, told = replace(recipe, steps=4), []
    monkeypatch.setattr(SegmentationModule, "training_step", step)
    trained = fit(recipe, made_up, TRAINING, 0, run=Run(device="cpu", say=told.append))
    assert told == [
        "out of memory in fp32: going on in bf16",
        "out of memory in bf16: going on in bf16, gradient checkpointing",
    ]
    assert trained.notes == tuple(told)
    assert len(trained.history) == 1
    straight = fit(recipe, made_up, TRAINING, 0, run=Run(device="cpu", precision="bf16"))
    assert trained.loss == pytest.approx(straight.loss, rel=1e-3)


def test_free_memory_is_some_of_what_there_is():
    assert 1 << 20 < free_memory(CPU) < 1 << 50


def test_other_errors_are_not_taken_for_it(made_up, recipe, monkeypatch):
    def step(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(SegmentationModule, "training_step", step)
    with pytest.raises(RuntimeError, match="shapes differ"):
        fit(recipe, made_up, TRAINING, 0, run=Run(device="cpu"))
