"""The graph of a bundle, with its weights, as OpenVINO takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.bundle import Bundle
from geounet.engine.ready import Ready, line, try_size
from geounet.engine.runtime import ops, ov
from geounet.errors import ModelError
from geounet.graph import Graph

_FILE = b"location"
"""In every ONNX tensor whose data lie elsewhere; a graph of ours has none."""


def read_bundled(core: ov.Core, bundle: Bundle, graph: Graph) -> Ready:
    """The graph of a bundle with its weights, which are inside already where it is of INT8.

    Raises:
        ModelError: They cannot be read, or are not those of the spec.
    """
    bands, classes = len(bundle.spec.bands), len(bundle.spec.classes)
    if _FILE in graph.onnx:  # or a place in memory: OpenVINO would read there
        raise ModelError(f"{bundle.path}: its graph refers to other data: get the model again")
    try:
        model = core.read_model(graph.onnx)
        image, *weights = model.get_parameters()
        _fill(model, weights, bundle.tensors() if weights else {})
        ends = [(e.element_type, e.partial_shape) for e in (image.output(0), *model.outputs)]
    except (RuntimeError, KeyError, ValueError) as error:
        raise ModelError(_unreadable(bundle, error)) from error
    wanted = [(ov.Type.f32, ov.PartialShape([-1, count, -1, -1])) for count in (bands, classes)]
    if len(ends) != 2 or not all(map(_fits, ends, wanted)):
        told = ", ".join(f"{kind.get_type_name()} {shape}" for kind, shape in ends)
        raise ModelError(
            f"{bundle.path}: its graph ({told[:120]}) does not turn {bands} bands into {classes}"
            " classes: get the model again"
        )
    stride = graph.stride or 1
    try:
        try_size(model, [1, bands, 3 * stride, 5 * stride])
    except (RuntimeError, ValueError) as error:
        raise ModelError(_unreadable(bundle, error)) from error
    return Ready(model=model, scores="logits", stride=stride)


def _unreadable(bundle: Bundle, error: Exception) -> str:
    return f"{bundle.path}: its graph cannot be read ({line(error)}): get the model again"


def _fill(model: ov.Model, inputs: list[Any], weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Make constants of those inputs of a graph that are weights."""
    for node in inputs:
        name = node.get_friendly_name()
        if list(weights[name].shape) != list(node.output(0).shape):
            raise ValueError(f"{name} has the shape {weights[name].shape}")
        node.output(0).replace(ops.constant(weights[name]).output(0))
        model.remove_parameter(node)
    model.validate_nodes_and_infer_types()


def _fits(end: tuple[Any, Any], wanted: tuple[Any, Any]) -> bool:
    return bool(end[0] == wanted[0] and end[1].compatible(wanted[1]))
