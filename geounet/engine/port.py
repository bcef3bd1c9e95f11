"""What an engine does: tiles in, a byte of label (and a byte of confidence) a pixel out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geounet.spec import Seam

CONFIDENCE_MAX = 100
"""Confidence is the largest class probability in whole percent, 0..100; 255 means nodata."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What comes back for a minibatch of tiles, without their halo."""

    labels: NDArray[np.uint8]
    """(batch, height, width), class codes."""
    confidence: NDArray[np.uint8] | None
    """(batch, height, width), percent; None where it was not asked for."""


Batch = tuple[NDArray[Any], NDArray[np.bool_]]
"""Stored values (batch, bands, height, width), and valid (batch, height, width)."""


class Engine(Protocol):
    """Runs one model on one device.

    Threads: one thread at a time. Pickle: not an engine but the bundle and the options travel;
    each process builds its own.
    """

    @property
    def device(self) -> str:
        """Where it runs, e.g. ``"cpu"`` or ``"cuda:0"``."""

    @property
    def precision(self) -> str:
        """``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``."""

    @property
    def halo(self) -> int:
        """Pixels of context that are cut off each side of a tile."""

    @property
    def minibatch(self) -> int:
        """Tiles that are worth handing over at once."""

    def predict(
        self, tiles: NDArray[Any], valid: NDArray[np.bool_], *, confidence: bool
    ) -> Prediction:
        """Labels of stored values (batch, bands, height, width), valid (batch, height, width).

        Height and width are multiples of the network's stride, halo included. Pixels that are not
        valid enter the network as the training mean; their labels mean nothing.

        Raises:
            DeviceError: Not even one tile fits into the device's memory.
        """

    def predict_each(self, batches: Iterable[Batch], *, confidence: bool) -> Iterator[Prediction]:
        """What :meth:`predict` gives for each of these, in order.

        The next may be taken, and begun, before the last is given.
        """


def one_by_one(
    engine: Engine, batches: Iterable[Batch], *, confidence: bool
) -> Iterator[Prediction]:
    """:meth:`Engine.predict_each` of engines that compute where they are called."""
    return (engine.predict(*batch, confidence=confidence) for batch in batches)


class BlendEngine(Protocol):
    """Runs one model whose tiles are blended: probabilities come back, context and all.

    Threads and pickle: as :class:`Engine`.
    """

    @property
    def halo(self) -> int:
        """Half of what neighbouring tiles share, in pixels."""

    @property
    def minibatch(self) -> int:
        """Tiles that are worth handing over at once."""

    @property
    def codes(self) -> NDArray[np.uint8]:
        """(classes,), the class code of each channel."""

    def probabilities(self, tiles: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Class probabilities (batch, classes, height, width), halo included.

        Arguments and errors are those of :meth:`Engine.predict`.
        """


class ModelEngine(Engine, BlendEngine, Protocol):
    """An engine for any bundle: which of the two ports is meant is what :attr:`seam` says."""

    @property
    def name(self) -> str:
        """``"torch"`` or ``"openvino"``."""

    @property
    def seam(self) -> Seam:
        """How its tiles are to be joined: ``exact`` or ``blend``."""

    @property
    def stride(self) -> int:
        """Total stride of the network."""

    @property
    def side(self) -> int | None:
        """Height and width of the only tile that the network takes, halo included; None: any."""

    def logits(self, tiles: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(batch, classes, height, width) in float32, halo included: for checks.

        Arguments and errors are those of :meth:`Engine.predict`.
        """
