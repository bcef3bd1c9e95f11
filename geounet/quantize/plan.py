"""Which layers stay in float32, where INT8 everywhere loses too much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

_LAYERS = ("Conv", "ConvTranspose")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution of a graph."""

    name: str
    """Of its node."""
    reduction: float
    """How many pixels of the image, along one side, one of its input has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What stays in float32."""

    what: str
    """For people."""
    floats: tuple[str, ...]
    """Names of nodes."""


def plans(graph: Any) -> Iterator[Plan]:
    """From all of INT8 to less of it, the fastest first.

    With the U-Nets that ship, what is lost is lost where images are largest: last in the decoder,
    whose sums of few, wide channels decide between the classes.

    Args:
        graph: ``onnx.GraphProto`` of a bundle.
    """
    layers = layers_of(graph)
    names = [layer.name for layer in layers]
    ends = (names[0], names[-1])
    found: dict[tuple[str, ...], str] = {
        (): "every layer in INT8",
        ends: "first and last layer in float32",
        _finer(layers, 1): "layers at full resolution in float32",
        _finer(layers, 2): "layers at full and half resolution in float32",
    }
    for floats, what in found.items():
        if len(floats) < len(layers):
            yield Plan(what=what, floats=floats)


def layers_of(graph: Any) -> list[Layer]:
    """The convolutions in their order, with the resolution of what they take."""
    reductions = {graph.input[0].name: 1.0}
    layers = []
    for node in graph.node:
        known = [reductions[name] for name in node.input if name in reductions]
        if not known:
            continue
        if node.op_type in _LAYERS:
            layers.append(Layer(name=node.name, reduction=known[0]))
        for name in node.output:
            reductions[name] = known[0] * _reduces(node)
    return layers


def _finer(layers: list[Layer], most: float) -> tuple[str, ...]:
    return tuple(layer.name for layer in layers if layer.reduction <= most)


def _reduces(node: Any) -> float:
    """By how much a node makes images smaller; below 1 where it makes them larger."""
    import onnx

    told = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type in ("Conv", "MaxPool", "AveragePool"):
        return float(np.max(told.get("strides", [1])))
    if node.op_type == "ConvTranspose":
        return 1 / float(np.max(told.get("strides", [1])))
    if node.op_type == "DepthToSpace":
        return 1 / float(told["blocksize"])
    # the only slices of our graphs take every other pixel, see geounet.nn.graph
    return 2.0 if node.op_type == "Slice" else 1.0
