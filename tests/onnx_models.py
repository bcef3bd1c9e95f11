"""Small segmentation networks as ONNX files, in every layout that people export."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper

KINDS = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
}


@dataclass(frozen=True, kw_only=True)
class Net:
    """A convolution of 1 x 1, or of 3 x 3 with a pooling around it, and what comes after."""

    bands: int = 3
    classes: int = 3
    layout: str = "NCHW"
    kind: str = "float32"
    size: tuple[int | str, int | str] = ("height", "width")
    batch: int | str = "batch"
    end: str = "logits"
    """logits, softmax, sigmoid, argmax, argmax-kept, argmax-float."""
    flat: bool = False
    """Whether a single channel has no axis."""
    deep: bool = False
    """Whether it has a radius of 3 and a stride of 2."""

    @property
    def weight(self) -> np.ndarray:
        side = 3 if self.deep else 1
        rng = np.random.default_rng(7)
        weight = rng.normal(size=(self.classes, self.bands, side, side)).astype(np.float32)
        return weight * 4 if self.classes == 1 else weight

    @property
    def bias(self) -> np.ndarray:
        return np.linspace(-0.1, 0.1, self.classes).astype(np.float32)

    def scores(self, image: np.ndarray) -> np.ndarray:
        """(classes, height, width) of an image (bands, height, width); not of a deep one."""
        x = image.astype(np.float64)
        return np.einsum("cb,bhw->chw", self.weight[..., 0, 0], x) + self.bias[:, None, None]

    def model(self, **metadata: object):
        """The ONNX model."""
        nodes = _Nodes()
        kind, shape = self._write(nodes)
        nodes.add("Identity")
        nodes.all[-1].output[0] = "classes"
        sizes = [self.bands, *self.size] if self.layout == "NCHW" else [*self.size, self.bands]
        weights = {
            "weight": self.weight,
            "bias": self.bias,
            "axis": np.array([1]),
            "scales": np.array([1, 1, 2, 2], np.float32),
        }
        used = {name for node in nodes.all for name in node.input}
        graph = helper.make_graph(
            nodes.all,
            "tiny",
            [helper.make_tensor_value_info("image", KINDS[self.kind], [self.batch, *sizes])],
            [helper.make_tensor_value_info("classes", kind, shape)],
            [numpy_helper.from_array(v, k) for k, v in weights.items() if k in used],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {k: json.dumps(v) for k, v in metadata.items()})
        return model

    def _write(self, nodes: _Nodes) -> tuple[int, list[int | str]]:
        """The network; type and shape of its result."""
        if self.layout == "NHWC":
            nodes.add("Transpose", perm=[0, 3, 1, 2])
        if self.kind != "float32":
            nodes.add("Cast", to=TensorProto.FLOAT)
        if self.deep:
            nodes.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        nodes.add("Conv", "weight", "bias", pads=[1] * 4 if self.deep else [0] * 4)
        if self.deep:
            nodes.add("Resize", "", "scales", mode="nearest")
        kind, shape = self._finish(nodes)
        if self.flat:
            nodes.add("Squeeze", "axis")
            shape = [self.batch, *self.size]
        if self.layout == "NHWC" and len(shape) == 4:
            nodes.add("Transpose", perm=[0, 2, 3, 1])
            shape = [shape[0], *shape[2:], shape[1]]
        return kind, shape

    def _finish(self, nodes: _Nodes) -> tuple[int, list[int | str]]:
        if self.end == "softmax":
            nodes.add("Softmax", axis=1)
        if self.end == "sigmoid":
            nodes.add("Sigmoid")
        if not self.end.startswith("argmax"):
            return TensorProto.FLOAT, [self.batch, self.classes, *self.size]
        kept = self.end != "argmax"
        nodes.add("ArgMax", axis=1, keepdims=int(kept))
        shape = [self.batch, *([1] if kept else []), *self.size]
        if self.end != "argmax-float":
            return TensorProto.INT64, shape
        nodes.add("Cast", to=TensorProto.FLOAT)
        return TensorProto.FLOAT, shape


class _Nodes:
    """A chain of nodes."""

    def __init__(self) -> None:
        self.all, self._at = [], "image"

    def add(self, op: str, *inputs: str, **attributes: object) -> None:
        name = f"{op.lower()}{len(self.all)}"
        self.all.append(helper.make_node(op, [self._at, *inputs], [name], **attributes))
        self._at = name


def write(path, net=None, described=None, **metadata):
    """Write a network, and what is said about it beside it; the path of the network."""
    model = (net or Net()).model(**metadata)
    path.write_bytes(model.SerializeToString())
    if described is not None:
        path.with_name(f"{path.name}.json").write_text(json.dumps(described))
    return path
