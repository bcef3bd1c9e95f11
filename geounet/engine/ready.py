"""A network as OpenVINO runs it, whoever made it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from geounet.engine.runtime import ov

Scores = Literal["logits", "probabilities", "one-hot"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ready:
    """A network from a normalised image to scores."""

    model: ov.Model
    """float32 (batch, bands, height, width) to float32 (batch, classes, height, width)."""
    scores: Scores
    """What the scores are; one-hot: 1 for the class, and 0 for all where there is no such class."""
    stride: int
    """What height and width must be multiples of."""
    batch: int = 1
    """The only size of a minibatch."""
    side: int | None = None
    """The only height and width; None: any."""


def try_size(model: ov.Model, shape: list[int]) -> None:
    """See that an image of this shape goes through; the compiled model would not look.

    Raises:
        ValueError, RuntimeError: It does not, or comes out in another size.
    """
    trial = model.clone()
    trial.reshape(shape)
    found = trial.outputs[0].partial_shape
    if not found.compatible(ov.PartialShape([shape[0], -1, *shape[2:]])):
        raise ValueError(f"it makes {found} of {shape}")


def line(error: Exception) -> str:
    """What OpenVINO says, in short."""
    # where in OpenVINO's own source
    text = re.sub(r"Exception from \S+:\s|Check '.*' failed at \S+:\s", "", str(error))
    return " ".join(text.split())[:120] or type(error).__name__
