from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geounet.bands import BandSpec, Normalizer
from geounet.errors import OptionError
from geounet.train.augment import Augment, Normalize
from geounet.train.recipe import SWITCHES, Augmentation
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


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_is_one(switch):
    usual = replace(Augmentation.usual(), gain=0.1, band_gain=0.1, offset=1.0, band_offset=1.0)
    off = usual.without(switch)
    assert off != usual
    assert off.without(switch) == off
    with pytest.raises(OptionError, match="choose from flip, rotate, zoom, radiometry, noise"):
        usual.without("colour")


def test_all_switched_off_changes_nothing():
    image, mask = batch()
    how = replace(ALL, drop_band=0.0, rough_water=0.0, holes=0.0).without(*SWITCHES)
    x, label = plain(how)(image, mask)
    assert torch.equal(label, mask)
    assert torch.equal(x, Normalize(BANDS, CLIP)(image))


def test_a_photo_keeps_its_up():
    image, mask = batch(n=32)
    mask[:] = torch.arange(48)[:, None] // 24  # the lower half
    _, label = plain(Augmentation().without("flip"))(image, mask)
    assert torch.equal(label, mask)
    mirrored = replace(Augmentation(), flip_vertical=False, quarter_turns=False)
    image[:] = torch.arange(48.0) / 10 - 20  # rising to the right
    x, label = plain(mirrored)(image, mask)
    assert torch.equal(label, mask)
    rising = (x[:, 0, 0, -1] > x[:, 0, 0, 0]).float().mean()
    assert 0.2 < rising < 0.8


def test_brightness_and_contrast_are_around_the_mean_of_the_training_part():
    image, mask = batch(n=64)
    still = Normalize(BANDS, CLIP)(image)
    off = {"flip_horizontal": False, "flip_vertical": False, "quarter_turns": False}
    x, _ = plain(Augmentation(brightness=0.3, **off))(image, mask)
    moved = (x - still).flatten(1)
    assert moved.std(dim=1).max() < 1e-5
    assert 0.1 < moved.abs().max() <= 0.3 + 1e-5
    assert 0.2 < (moved[:, 0] == 0).float().mean() < 0.8
    x, _ = plain(Augmentation(contrast=0.3, **off))(image, mask)
    factor = (x / still).flatten(1)
    assert factor.std(dim=1).max() < 1e-5
    assert 0.7 - 1e-5 <= factor.min() < 1 < factor.max() <= 1.3 + 1e-5
    with pytest.raises(OptionError, match=r"contrast 1\.5"):
        Augmentation(contrast=1.5)
    with pytest.raises(OptionError, match="zoom"):
        Augmentation(scale=(1.2, 0.8))


def positions(image, mask):
    """The image and its label in each of the eight positions of a square."""
    for k in range(4):
        turned = torch.rot90(image, k, (1, 2)), torch.rot90(mask, k, (0, 1))
        yield turned
        yield turned[0].flip(2), turned[1].flip(1)


@pytest.mark.parametrize(
    ("how", "reached"),
    [
        (Augmentation(), 8),
        (Augmentation(flip_horizontal=False, flip_vertical=False), 4),
        (Augmentation(quarter_turns=False), 4),
        (Augmentation(quarter_turns=False, flip_vertical=False), 2),
    ],
)
@pytest.mark.parametrize("size", [32, 33])
def test_positions_of_a_square_are_equally_likely_and_exact(how, reached, size):
    torch.manual_seed(3)
    image, mask = torch.randn(2, size, size) - 14, torch.randint(IGNORE, 3, (size, size))
    n = 400
    x, label = plain(how)(image.expand(n, -1, -1, -1), mask.expand(n, -1, -1))
    still = Normalize(BANDS, CLIP)(image[None])[0]
    found = []
    for moved, its_label in positions(still, mask):
        same = (x - moved).abs().flatten(1).amax(1) < 1e-4
        assert (label[same] == its_label).all()
        found.append(int(same.sum()))
    assert sum(found) == n
    counts = [count for count in found if count]
    assert len(counts) == reached
    assert max(abs(count - n / reached) for count in counts) < 4 * (n / reached) ** 0.5


def test_only_the_asked_share_is_warped():
    torch.manual_seed(3)
    image = torch.full((400, 2, 32, 32), -14.0)
    mask = torch.zeros(400, 32, 32, dtype=torch.long)
    _, label = plain(Augmentation(degrees=15, scale=(0.8, 0.8), warp_share=0.25))(image, mask)
    warped = (label == IGNORE).flatten(1).any(1)  # smaller, so something comes from outside
    assert 0.15 < warped.float().mean() < 0.35
