"""Normalising and augmenting a batch, on the device, with nodata and labels kept in step."""

from __future__ import annotations

from typing import Any

import kornia.augmentation as ka
import torch
from kornia.constants import DataKey, Resample
from torch import Tensor, nn

from geounet.bands import BandSpec
from geounet.train.move import RandomMove
from geounet.train.recipe import Augmentation
from geounet.train.source import IGNORE

_WATER = 1  # index of water where rough water is asked for


class Normalize(nn.Module):
    """Physical values to network input, as :class:`geounet.bands.Normalizer` does it in use.

    (batch, bands, height, width) with NaN where there are no data -> the same shape, 0 there.
    """

    def __init__(self, bands: tuple[BandSpec, ...], clip: tuple[float, float]) -> None:
        super().__init__()
        self.low, self.high = clip
        shape = (1, len(bands), 1, 1)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([b.mean for b in bands]).reshape(shape))
        self.register_buffer("std", torch.tensor([b.std for b in bands]).reshape(shape))

    def forward(self, image: Tensor) -> Tensor:
        """Network input of an image in the model's unit."""
        return ((image.clamp(self.low, self.high) - self.mean) / self.std).nan_to_num(0.0)


class Augment(nn.Module):
    """Random changes of a batch of raw patches, then :class:`Normalize`.

    Law: an image pixel and its label move together; a pixel without data, or brought in from
    outside of the patch, is :data:`~geounet.train.source.IGNORE` in the label and 0 in the image.
    """

    def __init__(self, how: Augmentation, normalize: Normalize) -> None:
        super().__init__()
        self.how = how
        self.normalize = normalize
        self.moves = (
            ka.AugmentationSequential(
                *moves,
                data_keys=[DataKey.INPUT, DataKey.MASK],
                extra_args={DataKey.MASK: {"resample": Resample.NEAREST, "align_corners": False}},
            )
            if (moves := _moves(how))
            else None  # kornia refuses an empty sequence
        )
        self.tints = nn.Sequential(*_tints(how))

    @torch.no_grad()
    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Network input and the label that belongs to it.

        Args:
            image: (batch, bands, height, width) in the model's unit, NaN where there are no data.
            mask: (batch, height, width) class index or IGNORE.

        Returns:
            The same shapes; the image is normalised.
        """
        valid = torch.isfinite(image).all(dim=1, keepdim=True)
        x = self.normalize(self.radiometry(image, mask))
        # 0 is what kornia fills with, so the label moves as index - IGNORE, at least 0
        label = torch.where(valid, mask[:, None] - IGNORE, 0)
        carried = torch.cat([label.float(), valid.float()], dim=1)
        if self.moves is not None:
            x, carried = self.moves(x, carried)
        x = self.tints(x)
        label, valid = carried[:, 0].round().long(), carried[:, 1:2] > 0.5
        x = self._silence(x) * valid
        return x, label + IGNORE

    @torch.no_grad()
    def colours(self, image: Tensor, mask: Tensor) -> Tensor:
        """Network input, changed in its values only; shapes as in :meth:`forward`."""
        return self._silence(self.normalize(self.radiometry(image, mask)))

    def radiometry(self, image: Tensor, mask: Tensor) -> Tensor:
        """The raw image under another sun, haze and calibration; nothing moves."""
        how, (n, bands) = self.how, image.shape[:2]
        if how.gain or how.band_gain:
            log = how.gain * _normal(image, n, 1) + how.band_gain * _normal(image, n, bands)
            image = image * log.exp()
        if how.offset or how.band_offset:
            common = how.offset * _normal(image, n, 1)
            image = image + common + how.band_offset * _normal(image, n, bands)
        return self._roughen(image, mask) if how.rough_water else image

    def _roughen(self, image: Tensor, mask: Tensor) -> Tensor:
        """Wind: the first band of water rises, in gusts, and the cross-polarised band hardly."""
        n, _, height, width = image.shape
        chosen = torch.rand(n, 1, 1, device=image.device) < self.how.rough_water
        most = torch.rand(n, 1, 1, device=image.device) * self.how.rough_most
        gusts = nn.functional.interpolate(
            torch.rand(n, 1, 4, 4, device=image.device), (height, width), mode="bilinear"
        )[:, 0]
        lift = torch.where(chosen & (mask == _WATER), most * gusts, 0.0)
        return torch.cat([image[:, :1] + lift[:, None], image[:, 1:]], dim=1)

    def _silence(self, x: Tensor) -> Tensor:
        if not self.how.drop_band:
            return x
        n, bands = x.shape[:2]
        chosen = torch.rand(n, device=x.device) < self.how.drop_band
        which = torch.randint(bands, (n,), device=x.device)
        kept = ~(chosen[:, None] & (torch.arange(bands, device=x.device) == which[:, None]))
        return x * kept[:, :, None, None]


def _moves(how: Augmentation) -> list[Any]:
    """What changes the label, too."""
    moves: list[Any] = [RandomMove(how)] if RandomMove.is_asked(how) else []
    if how.holes:
        moves.append(ka.RandomErasing(scale=(0.02, 0.2), p=how.holes))
    return moves


def _tints(how: Augmentation) -> list[Any]:
    """What changes values only."""
    tints: list[Any] = []
    if how.brightness:
        span = (1 - how.brightness, 1 + how.brightness)
        tints.append(ka.RandomBrightness(span, clip_output=False, p=0.5))
    if how.contrast:
        span = (1 - how.contrast, 1 + how.contrast)
        tints.append(ka.RandomContrast(span, clip_output=False, p=0.5))
    if how.noise:
        tints.append(ka.RandomGaussianNoise(std=how.noise, p=0.5))
    return tints


def _normal(like: Tensor, batch: int, bands: int) -> Tensor:
    return torch.randn(batch, bands, 1, 1, device=like.device)
