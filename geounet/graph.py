"""A network as a graph, for engines other than torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from geounet.errors import ModelError

IMAGE, LOGITS = "image", "logits"
"""The ends of a bundle's graph: float32 (batch, bands, height, width), normalised; float32 (batch,
classes, height, width). Every other input is a weight, in float32, by its name in the
``state_dict``."""

Layout = Literal["NCHW", "NHWC"]
Output = Literal["logits", "probabilities", "labels"]
Stored = Literal["fp32", "int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """How a graph that is not of our making takes an image and gives classes."""

    layout: Layout | None = None
    """Order of the axes of image and result; None: as their sizes tell."""
    output: Output | None = None
    """What it gives: scores before or after softmax (or, of one channel, sigmoid), or class codes;
    None: as its type and its last node tell."""
    output_name: str | None = None
    """Which of its outputs is meant; None: the only one."""
    threshold: float = 0.5
    """Probability from which a pixel is of the second class, where there is one channel."""
    side: int | None = None
    """Height and width of the only image that it takes; None: any multiple of its stride."""
    normalizes: bool = False
    """Whether it wants values in the unit of the model, and normalises them itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """An ONNX model, and how its tiles are to be cut.

    Raises:
        ModelError: A stride, a halo or a precision that cannot be.
    """

    onnx: bytes
    """The model. In a bundle its inputs are the image and the weights, see
    :mod:`geounet.nn.graph`; where it has ``ends`` or is of INT8, the weights are in it."""
    stride: int | None
    """What height and width of the input must be multiples of; None: to be found by trying."""
    halo: int
    """Pixels of context around a core, a multiple of the stride."""
    ends: Ends | None = None
    """None: a graph of a bundle, from normalised float32 in NCHW to logits."""
    precision: Stored = "fp32"
    """What it computes in; int8: :mod:`geounet.quantize` has made it."""

    def __post_init__(self) -> None:
        if self.precision not in get_args(Stored):
            raise ModelError(
                f"a graph of precision {self.precision!r:.40} cannot be: get the model again"
            )
        stride = 1 if self.stride is None else self.stride
        whole = type(stride) is type(self.halo) is int
        if not (whole and stride >= 1 and self.halo >= 0 and self.halo % stride == 0):
            raise ModelError(
                f"a graph of stride {self.stride!r} and halo {self.halo!r} cannot be: get the"
                " model again"
            )
