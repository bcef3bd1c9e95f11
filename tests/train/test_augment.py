from __future__ import annotations

import pytest
import torch

from geounet.bands import BandSpec, Normalizer
from geounet.train.augment import Augment, Normalize
from geounet.train.recipe import Augmentation
from geounet.train.source import IGNORE

pytestmark = pytest.mark.train

BANDS = (BandSpec(name="VV", mean=-11.0, std=4.0), BandSpec(name="VH", mean=-18.0, std=5.0))
CLIP = (-35.0, 5.0)
ALL = Augmentation(
    degrees=20,
    scale=(0.7, 1.4),
    warp_share=1.0,
    gain=0.1,
    band_gain=0.1,
    offset=1,
    band_offset=1,
    noise=0.1,
    drop_band=0.5,
    rough_water=0.5,
    holes=0.5,
)


def plain(how=None):
    return Augment(how or Augmentation(), Normalize(BANDS, CLIP))


def batch(n=6, size=48):
    torch.manual_seed(0)
    mask = (torch.rand(n, size // 8, size // 8) > 0.5).long()
    mask = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)
    image = torch.stack([-8.0 - 12 * mask, -15.0 - 12 * mask], dim=1)
    return image, mask


def test_normalises_as_inference_does():
    image = torch.randn(1, 2, 9, 9) * 20 - 15
    image[:, :, 2, 3] = float("nan")
    ours = Normalize(BANDS, CLIP)(image)[0].numpy()
    valid = torch.isfinite(image[0]).all(0).numpy()
    theirs = Normalizer.of(BANDS, CLIP)(image[0].numpy(), valid)
    assert abs(ours - theirs).max() < 1e-5


def test_flips_and_turns_move_image_and_label_together():
    image, mask = batch()
    x, label = plain()(image, mask)
    assert not torch.equal(label, mask)
    water = x[:, 0] < (-14.0 + 11.0) / 4.0
    assert torch.equal(water, label == 1)


def test_warps_keep_image_and_label_aligned_but_for_the_borders():
    image, mask = batch()
    x, label = plain(Augmentation(degrees=20, scale=(0.7, 1.4), warp_share=1.0))(image, mask)
    known = label != IGNORE
    water = x[:, 0] < (-14.0 + 11.0) / 4.0
    assert 0.5 < known.float().mean() < 1
    assert (water == (label == 1))[known].float().mean() > 0.9  # borders are interpolated


def test_no_data_is_ignored_and_neutral():
    image, mask = batch()
    image[:, :, :10, :20] = float("nan")
    x, label = plain()(image, mask)
    assert (label == IGNORE).sum() == len(image) * 200
    assert (x.permute(0, 2, 3, 1)[label == IGNORE] == 0).all()
    assert torch.isfinite(x).all()


def test_everything_at_once_stays_finite_and_in_range():
    image, mask = batch()
    image[:, :, :10, :20] = float("nan")
    x, label = plain(ALL)(image, mask)
    assert torch.isfinite(x).all()
    assert set(label.unique().tolist()) <= {IGNORE, 0, 1}
    assert x.shape == image.shape
    assert label.shape == mask.shape


def test_ignored_labels_stay_ignored():
    image, mask = batch()
    mask[:, :, :] = IGNORE
    _, label = plain(ALL)(image, mask)
    assert (label == IGNORE).all()


def test_wind_lifts_the_water_of_the_first_band_only():
    image, mask = batch()
    x, label = plain(Augmentation(rough_water=1.0, rough_most=8.0))(image, mask)
    still = Normalize(BANDS, CLIP)(image)
    assert (x[:, 0][label == 1] > still[:, 0][mask == 1].max()).float().mean() > 0.9
    assert torch.allclose(x[:, 0][label == 0], still[:, 0].max(), atol=1e-3)
    assert torch.allclose(x[:, 1][label == 1], still[:, 1].min(), atol=1e-3)


def test_a_dropped_band_is_at_its_mean():
    image, mask = batch(n=32)
    x, _ = plain(Augmentation(drop_band=1.0))(image, mask)
    silent = (x.flatten(2) == 0).all(2)
    assert (silent.sum(1) == 1).all()
    assert silent.any(0).all()


def test_holes_are_ignored():
    image, mask = batch()
    x, label = plain(Augmentation(holes=1.0))(image, mask)
    hole = label == IGNORE
    assert hole.flatten(1).any(1).all()
    assert (x.permute(0, 2, 3, 1)[hole] == 0).all()
