"""A network as an ONNX graph without its weights, which a bundle has already."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from geounet.errors import DependencyError, ModelError
from geounet.graph import IMAGE as INPUT
from geounet.graph import LOGITS as OUTPUT
from geounet.nn.network import SegmentationNetwork

_OPSET, _IR = 17, 8  # of 2022: whatever reads ONNX reads these


def export(network: SegmentationNetwork) -> bytes:
    """The network in evaluation mode as an ONNX model; the same network gives the same bytes.

    Weights are inputs: so the graph holds no data, names no file, and is a few kilobytes whatever
    the network's width. Height and width are free, but multiples of the network's stride.

    Args:
        network: Of the layers that U-Net, FCN and SegNet are made of.

    Raises:
        ModelError: It has a layer of another kind.
        DependencyError: The package onnx is not installed.
    """
    writer = _Writer(_library(), network)
    try:
        traced = fx.Tracer().trace(network)
    except Exception as error:  # it decides by the values of tensors, or asks what they are
        raise ModelError(f"a {type(network).__name__} cannot be written as ONNX") from error
    for node in traced.nodes:
        writer.add(node)
    return writer.finish()


def _library() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise DependencyError(
            'saving a model needs the package onnx: pip install "geounet[torch]"'
        ) from error
    return onnx


class _Writer:
    """Writes one node of a traced network after the other."""

    def __init__(self, onnx: Any, network: SegmentationNetwork) -> None:
        self._onnx, self._network = onnx, network
        self._modules, self._state = dict(network.named_modules()), network.state_dict()
        self._nodes: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self._constants: dict[str, Any] = {}
        self._names: dict[fx.Node, Any] = {}
        self._calls: Mapping[Any, Callable[..., Any]] = {
            torch.cat: self._concat,
            operator.add: self._sum,
            operator.getitem: lambda _, pair, index: pair[index],
            functional.max_pool2d: self._max_pool,
            functional.max_pool2d_with_indices: self._max_pool_with_places,
            functional.max_unpool2d: self._max_unpool,
        }
        self._layers: Mapping[type[nn.Module], Callable[..., str]] = {
            nn.Conv2d: self._convolution,
            nn.ConvTranspose2d: self._transposed,
            nn.BatchNorm2d: self._norm,
            nn.ReLU: lambda name, x, _: self._node("Relu", name, x),
            nn.Identity: lambda _name, x, _: x,
        }

    def add(self, node: fx.Node) -> None:
        """The next node of the trace."""
        args: Any = fx.map_arg(node.args, self._names.__getitem__)
        if node.op == "placeholder":
            self._names[node] = INPUT
        elif node.op == "output":
            self._node("Identity", OUTPUT, args[0])
        elif node.op == "call_module":
            layer = self._modules[str(node.target)]
            if type(layer) not in self._layers:
                raise ModelError(f"{type(layer).__name__} cannot be written as ONNX")
            self._names[node] = self._layers[type(layer)](str(node.target), args[0], layer)
        elif node.op == "call_function" and node.target in self._calls:
            self._names[node] = self._calls[node.target](node.name, *args)
        else:
            what = getattr(node.target, "__name__", node.target)
            raise ModelError(f"{what} cannot be written as ONNX")

    def finish(self) -> bytes:
        """The model."""
        make = self._onnx.helper
        bands, classes = self._network.stem.in_channels, self._network.head.out_channels
        graph = make.make_graph(
            self._nodes,
            type(self._network).__name__,
            [self._value(INPUT, ["batch", bands, "height", "width"]), *self._inputs.values()],
            [self._value(OUTPUT, ["batch", classes, "height", "width"])],
            list(self._constants.values()),
        )
        model = make.make_model(
            graph,
            producer_name="geounet",
            ir_version=_IR,
            opset_imports=[make.make_opsetid("", _OPSET)],
        )
        return bytes(model.SerializeToString(deterministic=True))

    def _value(self, name: str, shape: Sequence[int | str]) -> Any:
        return self._onnx.helper.make_tensor_value_info(
            name, self._onnx.TensorProto.FLOAT, list(shape)
        )

    def _node(self, kind: str, output: str, *inputs: str, **attributes: Any) -> str:
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _weight(self, name: str) -> str:
        self._inputs[name] = self._value(name, self._state[name].shape)
        return name

    def _constant(self, name: str, value: float | list[int]) -> str:
        """A number, or a list of whole ones, that is part of the graph."""
        array = np.array(value, np.int64 if isinstance(value, list) else np.float32)
        self._constants[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def _convolution(self, name: str, x: str, layer: nn.Conv2d) -> str:
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise ModelError(f"padding {layer.padding!r} cannot be written as ONNX")
        return self._node("Conv", name, x, *self._parameters(name, layer), **_geometry(layer))

    def _transposed(self, name: str, x: str, layer: nn.ConvTranspose2d) -> str:
        return self._node(
            "ConvTranspose",
            name,
            x,
            *self._parameters(name, layer),
            output_padding=list(layer.output_padding),
            **_geometry(layer),
        )

    def _parameters(self, name: str, layer: nn.Module) -> list[str]:
        bias = [] if layer.bias is None else [self._weight(f"{name}.bias")]
        return [self._weight(f"{name}.weight"), *bias]

    def _norm(self, name: str, x: str, layer: nn.BatchNorm2d) -> str:
        parts = ("weight", "bias", "running_mean", "running_var")
        weights = [self._weight(f"{name}.{part}") for part in parts]
        return self._node("BatchNormalization", name, x, *weights, epsilon=layer.eps)

    def _concat(self, name: str, parts: Sequence[str]) -> str:
        return self._node("Concat", name, *parts, axis=1)

    def _sum(self, name: str, one: str, other: str) -> str:
        return self._node("Add", name, one, other)

    def _max_pool(self, name: str, x: str, side: int) -> str:
        return self._node("MaxPool", name, x, kernel_shape=[side] * 2, strides=[side] * 2)

    def _max_pool_with_places(self, name: str, x: str, side: int) -> tuple[str, list[str]]:
        """The maxima of blocks of 2 x 2, and for each of the four places where the maximum is it.

        Which place is the first that holds the maximum is found later, where it is used.
        """
        if side != 2:
            raise ModelError(f"max-pooling of {side} with its indices cannot be written as ONNX")
        maxima = self._max_pool(name, x, side)
        axes, steps = self._constant("axes", [2, 3]), self._constant("steps", [2, 2])
        ends = self._constant("ends", [2**31 - 1] * 2)
        found = []
        for row, col in ((0, 0), (0, 1), (1, 0), (1, 1)):
            starts = self._constant(f"starts.{row}{col}", [row, col])
            place = f"{name}.{row}{col}"
            values = self._node("Slice", f"{place}.values", x, starts, ends, axes, steps)
            found.append(self._node("Equal", place, values, maxima))
        return maxima, found

    def _max_unpool(self, name: str, x: str, places: Sequence[str], _size: Any) -> str:
        """Values at the first place of their block that held the maximum, 0 elsewhere.

        ReLU makes blocks of equal zeros, of which torch takes the first, row by row.
        """
        zero = self._constant("zero", 0.0)
        before = places[0]
        parts = [self._node("Where", f"{name}.0", before, x, zero)]
        for i, place in enumerate(places[1:], 1):
            here = self._node("Where", f"{name}.{i}.any", place, x, zero)
            parts.append(self._node("Where", f"{name}.{i}", before, zero, here))
            if i < 3:
                before = self._node("Or", f"{name}.{i}.before", before, place)
        together = self._node("Concat", f"{name}.parts", *parts, axis=1)
        return self._node("DepthToSpace", name, together, blocksize=2, mode="DCR")


def _geometry(layer: nn.Conv2d | nn.ConvTranspose2d) -> dict[str, Any]:
    return {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.stride),
        "pads": [int(p) for p in layer.padding] * 2,
        "dilations": list(layer.dilation),
        "group": layer.groups,
    }
