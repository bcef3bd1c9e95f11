"""Engines that need no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.engine import Prediction
from geounet.engine.port import Batch, one_by_one


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoEngine:
    """Returns its first band as labels: whatever comes out of a run must equal the scene.

    As a :class:`~geounet.engine.BlendEngine` it is as sure of them as can be.
    """

    halo: int = 0
    """Context that is cut off."""
    minibatch: int = 1
    """Tiles at once."""
    stride: int = 1
    """Total stride that is claimed."""
    device: str = "cpu"
    """Never used."""
    precision: str = "fp32"
    """Never used."""
    classes: int = 4
    """Labels that it can be sure of: 0 to one less."""

    @property
    def codes(self) -> NDArray[np.uint8]:
        """(classes,): each channel is its code."""
        return np.arange(self.classes, dtype=np.uint8)

    def probabilities(self, tiles: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """1 for the class that the first band says, where valid, and 0 for the others."""
        says = tiles[:, 0, None] == self.codes[:, None, None]
        return np.asarray(says & valid[:, None], np.float32)

    def predict(
        self, tiles: NDArray[Any], valid: NDArray[np.bool_], *, confidence: bool
    ) -> Prediction:
        """The first band, without the halo; confidence is 100 where valid and 0 elsewhere."""
        inner = slice(self.halo, -self.halo or None)
        labels = tiles[:, 0, inner, inner].astype(np.uint8)
        percent = valid[:, inner, inner].astype(np.uint8) * np.uint8(100)
        return Prediction(labels=labels, confidence=percent if confidence else None)

    def predict_each(self, batches: Iterable[Batch], *, confidence: bool) -> Iterator[Prediction]:
        """See :meth:`geounet.engine.port.Engine.predict_each`."""
        return one_by_one(self, batches, confidence=confidence)
