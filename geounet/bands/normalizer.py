"""How stored values become network input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class BandSpec:
    """One input band of a model, with the statistics it was trained with."""

    name: str
    """Canonical where there is such a name, see :data:`~geounet.bands.COMMON_NAMES`; ``gray`` or
    ``band1``, ``band2`` ... by its place where it had none in training."""
    mean: float
    """Mean of the training pixels, in the model's unit."""
    std: float
    """Standard deviation, > 0, in the model's unit."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.std) and self.std > 0):
            raise OptionError(
                f"band {self.name!r}: mean {self.mean} and std {self.std} must be finite, std > 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalizer:
    """Turns stored values into network input: ``(clip(v * scale + offset, lo, hi) - mean) / std``.

    ``scale`` and ``offset`` come from the scene (stored value -> physical unit), the rest from the
    model. All arrays are float32 of shape (bands,).
    """

    scale: NDArray[np.float32]
    """Multiplies the stored value; first axis is the band."""
    offset: NDArray[np.float32]
    """Added after the scale."""
    low: float
    """Lower clip, in the model's unit."""
    high: float
    """Upper clip, in the model's unit."""
    mean: NDArray[np.float32]
    """Training mean, in the model's unit."""
    std: NDArray[np.float32]
    """Training standard deviation, in the model's unit."""

    @classmethod
    def of(
        cls,
        bands: Sequence[BandSpec],
        clip: tuple[float, float],
        scale: Sequence[float] | None = None,
        offset: Sequence[float] | None = None,
    ) -> Normalizer:
        """From a model's bands and a scene's scale and offset (default: values are in the unit)."""
        count = len(bands)
        return cls(
            scale=np.asarray([1.0] * count if scale is None else scale, np.float32),
            offset=np.asarray([0.0] * count if offset is None else offset, np.float32),
            low=clip[0],
            high=clip[1],
            mean=np.asarray([b.mean for b in bands], np.float32),
            std=np.asarray([b.std for b in bands], np.float32),
        )

    def physical(self, data: NDArray[np.generic]) -> NDArray[np.float32]:
        """Stored values (bands, ...) in the model's unit, not clipped."""
        shape = (-1,) + (1,) * (data.ndim - 1)
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and clipped by the model
            scaled = data.astype(np.float32) * self.scale.reshape(shape)
            return scaled + self.offset.reshape(shape)

    def __call__(
        self, data: NDArray[np.generic], valid: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Network input (bands, height, width); pixels that are not valid become 0, the mean."""
        shape = (-1,) + (1,) * (data.ndim - 1)
        clipped = np.clip(self.physical(data), self.low, self.high)
        out = (clipped - self.mean.reshape(shape)) / self.std.reshape(shape)
        return out if valid is None else np.where(valid, out, np.float32(0))
