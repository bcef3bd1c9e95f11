"""The terms of the losses, beside what they are in the papers."""

from __future__ import annotations

import pytest
import torch

from geounet.spec import ArchSpec
from geounet.train.loss import SegmentationLoss
from geounet.train.recipe import Augmentation, Recipe
from geounet.train.source import IGNORE
from geounet.train.terms import LOSSES, parse_loss

pytestmark = pytest.mark.train


def loss_of(text, balance=0.0, shares=(0.5, 0.3, 0.2)):
    recipe = Recipe(
        name="x",
        arch=ArchSpec(name="unet", width=4, depth=2),
        clip=(0.0, 1.0),
        augmentation=Augmentation(),
        steps=1,
        loss=text,
        balance=balance,
    )
    return SegmentationLoss(recipe, shares)


def sample():
    torch.manual_seed(0)
    return torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))


def test_a_sum_is_read_as_it_is_written():
    assert parse_loss("ce+dice") == ((1.0, "ce"), (1.0, "dice"))
    assert parse_loss("0.7 * ce + .3*lovasz") == ((0.7, "ce"), (0.3, "lovasz"))
    assert parse_loss("1e1*focal") == ((10.0, "focal"),)


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_count_in_no_term(name):
    loss, (logits, label) = loss_of(name), sample()
    label[:, :3] = IGNORE
    other = logits.clone()
    other[:, :, :3] = 7.0
    assert float(loss(logits, label)) == pytest.approx(float(loss(other, label)), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_labelled_is_no_loss_and_no_gradient(name):
    loss, (logits, label) = loss_of(name), sample()
    logits.requires_grad_()
    found = loss(logits, torch.full_like(label, IGNORE))
    found.backward()
    assert found.shape == ()
    assert float(found.detach()) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_right_is_better_than_wrong(name):
    loss, (_, label) = loss_of(name), sample()
    right = 18.0 * torch.nn.functional.one_hot(label, 3).permute(0, 3, 1, 2) - 9  # focal: sigmoids
    assert float(loss(right, label)) < 0.05
    assert float(loss(right.roll(1, dims=1), label)) > 0.5


def test_a_sum_is_a_sum():
    logits, label = sample()
    parts = {name: float(loss_of(name)(logits, label)) for name in LOSSES}
    both = loss_of("2*ce+0.5*tversky+lovasz")(logits, label)
    expected = 2 * parts["ce"] + 0.5 * parts["tversky"] + parts["lovasz"]
    assert float(both) == pytest.approx(expected, rel=1e-5)


def test_dice_and_jaccard_are_those_of_the_probabilities():
    logits, label = sample()
    p = logits.softmax(1)
    t = torch.nn.functional.one_hot(label, 3).permute(0, 3, 1, 2).float()
    both, either = (p * t).sum((0, 2, 3)), (p + t).sum((0, 2, 3))
    dice, jaccard = 1 - 2 * both / either, 1 - both / (either - both)
    assert float(loss_of("dice")(logits, label)) == pytest.approx(float(dice.mean()), rel=1e-4)
    found = float(loss_of("jaccard")(logits, label))
    assert found == pytest.approx(float(jaccard.mean()), rel=1e-4)


def test_tversky_minds_missed_pixels_more():
    label = torch.zeros(1, 8, 8, dtype=torch.long)
    label[:, :, :4] = 1
    missed, false = label.clone(), label.clone()
    missed[:, :, 3] = 0
    false[:, :, 4] = 1
    loss = loss_of("tversky", shares=(0.5, 0.5))
    loss.others["tversky"].classes = torch.tensor([1])
    a, b = (
        float(loss(9.0 * torch.nn.functional.one_hot(x, 2).permute(0, 3, 1, 2), label))
        for x in (missed, false)
    )
    assert a > b > 0


@pytest.mark.parametrize("name", ["ce", "focal"])
def test_a_rare_class_weighs_more(name):
    logits, label = sample()
    rare = logits.clone()
    rare[:, 2] -= 5  # the third class is never found
    weighed = loss_of(name, balance=1.0, shares=(0.49, 0.49, 0.02))
    plain = loss_of(name, shares=(0.49, 0.49, 0.02))
    gain = [float(x(rare, label) / x(logits, label)) for x in (weighed, plain)]
    assert gain[0] > gain[1] > 1
