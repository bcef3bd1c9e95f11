from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from geounet.bands import BandSpec
from geounet.nn import build
from geounet.spec import ArchSpec
from geounet.train.augment import Normalize
from geounet.train.predict import predict_labels, predict_logits, predictor
from geounet.train.source import Chip

pytestmark = pytest.mark.train

NORMALIZE = Normalize((BandSpec(name="grey", mean=0.0, std=1.0),), (-9.0, 9.0))


def chip(height=70, width=53):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, height, width)).astype(np.float32)
    image[:, 20:30, 5:9] = np.nan
    return Chip(name="x", image=image, label=np.zeros((height, width), np.int64))


@pytest.mark.parametrize("name", ["unet", "fcn", "segnet"])
def test_tiles_of_an_exact_network_give_what_one_pass_gives(name):
    torch.manual_seed(0)
    network = build(ArchSpec(name=name, width=4, depth=2), 1, 3).eval()
    whole = predict_logits(network, NORMALIZE, chip())
    assert whole.shape == (3, 70, 53)
    np.testing.assert_allclose(
        predict_logits(network, NORMALIZE, chip(), tile=16), whole, atol=1e-4
    )
    assert whole.std() > 0.01
    same = predictor(network, NORMALIZE, tile=32)(chip()).argmax(0)
    assert np.mean(same == predict_labels(network, NORMALIZE, chip())) > 0.999


class Blended(nn.Module):
    """Logits that tell where in its tile a pixel lies: a network whose tiles never agree."""

    seam, stride, halo = "blend", 4, 8

    def __init__(self, tilt):
        super().__init__()
        self.tilt = nn.Parameter(torch.tensor(tilt))

    def forward(self, x):
        row = torch.arange(x.shape[2])[:, None] - x.shape[2] / 2
        return torch.cat([-x, x + self.tilt * row], dim=1)


def test_tiles_of_a_blended_network_are_probabilities_without_a_step():
    level = predict_logits(Blended(0.0), NORMALIZE, chip(), tile=16)
    expected = Blended(0.0)(NORMALIZE(torch.from_numpy(chip().image)[None]))[0].log_softmax(0)
    np.testing.assert_allclose(level, expected.detach().numpy(), atol=1e-3)
    flat = Chip(name="flat", image=np.zeros((1, 70, 53), np.float32), label=chip().label)
    tilted = np.exp(predict_logits(Blended(0.1), NORMALIZE, flat, tile=16))
    np.testing.assert_allclose(tilted.sum(axis=0), 1, atol=1e-4)
    assert np.abs(np.diff(tilted[1], axis=0)).max() < 0.08  # 0.36 without blending
    assert tilted[1].std() > 0.01
