"""What the loop needs to know about a data set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from geounet.classes import ClassScheme
from geounet.errors import SceneError

IGNORE = -1
"""Label of a pixel that is neither trained on nor scored."""


def data_folder() -> Path:
    """The folder of the real data: ``GEOUNET_DATA``, or ``../shared/data``.

    Raises:
        SceneError: It is not there.
    """
    folder = Path(os.environ.get("GEOUNET_DATA", "../shared/data"))
    if not folder.is_dir():
        raise SceneError(f"{folder}: no such folder: set GEOUNET_DATA to the training data")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One image with its label."""

    name: str
    """Unique in its source."""
    image: NDArray[np.float32]
    """(bands, height, width) in the model's unit; NaN in all bands where there are no data."""
    label: NDArray[np.int64]
    """(height, width): index into the class scheme, or :data:`IGNORE`."""

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(height, width), True = valid pixel."""
        return np.asarray(np.isfinite(self.image).all(axis=0))

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(height, width), True = valid and labelled."""
        return np.asarray(self.valid & (self.label != IGNORE))


class Source(Protocol):
    """Chips with labels, in groups that must not be split between training and scoring.

    Not shared between threads or processes. The same seed gives the same batches.
    """

    @property
    def bands(self) -> tuple[str, ...]:
        """Canonical names in channel order."""

    @property
    def classes(self) -> ClassScheme:
        """What the label's indices mean."""

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of the chips, by place."""

    def chips(self, names: Sequence[str]) -> Iterator[Chip]:
        """Whole chips, in the order of ``names``."""

    def batches(
        self, names: Sequence[str], *, size: int, batch: int, steps: int, seed: int
    ) -> torch.utils.data.DataLoader[dict[str, Any]]:
        """``steps`` batches of random patches.

        Each is ``image`` (batch, bands, height, width) float32 with NaN where there are no data,
        and ``mask`` (batch, height, width) int64 as in :attr:`Chip.label`. Patches are of ``size``
        pixels where chips are larger.
        """


def blank_invalid(image: torch.Tensor) -> torch.Tensor:
    """NaN in all bands (first axis) where one of them is not finite."""
    valid = torch.isfinite(image).all(dim=0)
    return torch.where(valid, image, torch.full((), float("nan")))
