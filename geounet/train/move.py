"""Flips, quarter turns, rotation and zoom of a patch in one resampling."""

from __future__ import annotations

import kornia.augmentation as ka
import torch
from torch import Tensor

from geounet.train.recipe import Augmentation


class RandomMove(ka.RandomAffine):  # type: ignore[misc]
    """kornia's random affine map, whose angle also takes quarter turns and its scale mirrors.

    One resampling instead of four (two flips, :class:`kornia.augmentation.RandomRotation90`, the
    rotation and zoom), and every quarter turn is as likely as another, where kornia's own takes
    none and three half as often as one and two. A patch that is neither rotated nor zoomed keeps
    its pixels, up to the rounding of coordinates.
    """

    def __init__(self, how: Augmentation) -> None:
        super().__init__(degrees=how.degrees, scale=how.scale, p=1.0)
        self.how = how

    @staticmethod
    def is_asked(how: Augmentation) -> bool:
        """Whether anything is to move."""
        turned = how.flip_horizontal or how.flip_vertical or how.quarter_turns
        return turned or bool(how.degrees) or how.scale != (1.0, 1.0)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Kornia's parameters: ``angle`` (batch,) in degrees, ``scale`` (batch, 2) in x and y."""
        how, n = self.how, batch_shape[0]
        params: dict[str, Tensor] = super().generate_parameters(batch_shape)
        device = params["angle"].device
        warped = torch.rand(n, device=device) < how.warp_share
        angle = torch.where(warped, params["angle"], 0.0)
        scale = torch.where(warped[:, None], params["scale"], 1.0)
        if how.quarter_turns:
            angle = angle + 90 * torch.randint(4, (n,), device=device)
        mirrored = torch.rand(n, 2, device=device) < 0.5
        mirrored &= torch.tensor([how.flip_horizontal, how.flip_vertical], device=device)
        return {**params, "angle": angle, "scale": torch.where(mirrored, -scale, scale)}
