"""Batch norms become part of the convolutions before them, in an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[Any]]


def fold_batch_norms(graph: Any, weights: Mapping[str, NDArray[Any]]) -> Weights:
    """Take the batch norms out of a graph, and their scale and shift into its convolutions.

    Only then does every convolution have a bias, in which the calibration can mend what rounding
    shifts; and runtimes fold them anyway.

    Args:
        graph: ``onnx.GraphProto`` of a bundle, whose inputs are the image and the weights. It is
            changed: the convolutions give what the batch norms gave.
        weights: Of each input by name, float32.

    Returns:
        The weights of the new graph. A batch norm that does not follow a convolution stays.
    """
    out = dict(weights)
    makers = {node.output[0]: node for node in graph.node}
    uses = [name for node in graph.node for name in node.input]
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = makers.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or uses.count(norm.input[0]) > 1:
            continue
        _fold(conv, norm, out)
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    _declare(graph, out)
    used = {name for node in graph.node for name in node.input}
    return {name: value for name, value in out.items() if name in used}


def _fold(conv: Any, norm: Any, weights: Weights) -> None:
    gamma, beta, mean, variance = (weights[name].astype(np.float64) for name in norm.input[1:5])
    epsilon = next(a.f for a in norm.attribute if a.name == "epsilon")
    factor = gamma / np.sqrt(variance + epsilon)
    kernel = conv.input[1]
    bias = conv.input[2] if len(conv.input) > 2 else f"{kernel.removesuffix('.weight')}.bias"
    before = weights.get(bias, np.zeros_like(mean))
    weights[kernel] = (weights[kernel] * factor[:, None, None, None]).astype(np.float32)
    weights[bias] = ((before - mean) * factor + beta).astype(np.float32)
    if len(conv.input) < 3:
        conv.input.append(bias)


def _declare(graph: Any, weights: Weights) -> None:
    """Leave in the graph's inputs the image and the weights that are used."""
    import onnx

    used = {name for node in graph.node for name in node.input}
    known = {value.name for value in graph.input}
    for value in [v for v in graph.input if v.name not in used]:
        graph.input.remove(value)
    for name in sorted((used & weights.keys()) - known):
        shape = weights[name].shape
        graph.input.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape))
        )
