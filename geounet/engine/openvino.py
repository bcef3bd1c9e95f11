"""The OpenVINO engine: CPUs, without torch, from the graph that a bundle carries."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from numpy.typing import NDArray

from geounet.bands import Normalizer
from geounet.bundle import Bundle, Graph
from geounet.engine.port import CONFIDENCE_MAX, Prediction
from geounet.engine.stored import plain
from geounet.errors import DeviceError, ModelError
from geounet.spec import Seam

Wanted = Literal["labels", "confidence", "probabilities", "logits"]
"""What a compiled model gives: labels; labels and confidence; all classes, halo included."""

_FILE = b"location"
"""In every ONNX tensor whose data lie elsewhere; a graph of ours has none."""


class OpenVinoEngine:
    """The OpenVINO adapter of :class:`~geounet.engine.port.ModelEngine`, in float32.

    Normalising, the network, softmax, crop and argmax are one compiled model, which takes tiles of
    any size; it is compiled when it is first used, in about 0.2 s. Threads are those of the CPU, or
    ``OMP_NUM_THREADS`` where that is set, as for torch.

    Raises:
        ModelError: The bundle has no graph, or one that does not fit the spec.
    """

    name = "openvino"
    device = "cpu"
    precision = "fp32"
    minibatch = 1

    def __init__(self, bundle: Bundle, normalizer: Normalizer) -> None:
        graph = bundle.graph
        if graph is None:
            raise ModelError(
                f"{bundle.path} has no graph, which OpenVINO needs: pass --engine torch"
            )
        self._core = ov.Core()
        self._network = _read(self._core, bundle, graph)
        self._halo, self._stride = graph.halo, graph.stride
        self._spec = bundle.spec
        self._normalizer = normalizer
        self._compiled: dict[tuple[Wanted, np.dtype[Any]], ov.CompiledModel] = {}

    @property
    def seam(self) -> Seam:
        """How its tiles are to be joined: ``exact`` or ``blend``."""
        return self._spec.seam

    @property
    def stride(self) -> int:
        """Total stride of the network."""
        return self._stride

    @property
    def halo(self) -> int:
        """The network's receptive radius, rounded up to its stride; or what blending asks for."""
        return self._halo

    @property
    def codes(self) -> NDArray[np.uint8]:
        """(classes,), the class code of each channel."""
        return np.array(self._spec.classes.codes, np.uint8)

    def predict(
        self, tiles: NDArray[Any], valid: NDArray[np.bool_], *, confidence: bool
    ) -> Prediction:
        """See :meth:`geounet.engine.port.Engine.predict`."""
        if not confidence:
            return Prediction(labels=self._run("labels", tiles, valid)[0], confidence=None)
        labels, percent = self._run("confidence", tiles, valid)
        return Prediction(labels=labels, confidence=percent)

    def probabilities(self, tiles: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See :meth:`geounet.engine.port.BlendEngine.probabilities`."""
        return self._run("probabilities", tiles, valid)[0]

    def logits(self, tiles: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See :meth:`geounet.engine.port.ModelEngine.logits`."""
        return self._run("logits", tiles, valid)[0]

    def _run(
        self, wanted: Wanted, tiles: NDArray[Any], valid: NDArray[np.bool_]
    ) -> list[NDArray[Any]]:
        """One tile after the other: a CPU gains nothing from several at once."""
        tiles = plain(tiles)
        model = self._model(wanted, tiles.dtype)
        done = []
        for tile, mask in zip(tiles, valid, strict=True):
            inputs = np.ascontiguousarray(tile[None]), np.ascontiguousarray(mask[None, None])
            try:
                found = model(inputs, share_inputs=True)
            except RuntimeError as error:
                raise DeviceError(
                    f"OpenVINO cannot compute a tile of {mask.shape[0]} x {mask.shape[1]} pixels"
                    f" ({_line(error)}): pass a smaller --tile, or --engine torch"
                ) from error
            done.append([found[output] for output in model.outputs])
        if len(done) == 1:
            return done[0]
        return [np.concatenate(parts) for parts in zip(*done, strict=True)]

    def _model(self, wanted: Wanted, dtype: np.dtype[Any]) -> ov.CompiledModel:
        key = wanted, dtype
        if key not in self._compiled:
            whole = self._assembled(wanted, dtype)
            self._compiled[key] = self._core.compile_model(whole, "CPU", _settings())
        return self._compiled[key]

    def _assembled(self, wanted: Wanted, dtype: np.dtype[Any]) -> ov.Model:
        """The network between normalising and what is wanted of its logits."""
        network = self._network.clone()
        image = network.get_parameters()[0]
        bands = len(self._spec.bands)
        tiles = ops.parameter([1, bands, -1, -1], ov.Type(dtype))
        valid = ops.parameter([1, 1, -1, -1], ov.Type.boolean)
        image.output(0).replace(_normalized(tiles, valid, self._normalizer).output(0))
        logits = network.get_results()[0].input_value(0)
        if wanted == "logits":
            outputs = [logits]
        elif wanted == "probabilities":
            outputs = [ops.softmax(logits, axis=1)]
        else:
            inner = _crop(logits, self._halo)
            outputs = [_labels(inner, self.codes)]
            if wanted == "confidence":
                outputs.append(_percent(inner))
        return ov.Model([ops.result(output) for output in outputs], [tiles, valid])


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads):
        settings["INFERENCE_NUM_THREADS"] = int(threads)
    return settings


def _read(core: ov.Core, bundle: Bundle, graph: Graph) -> ov.Model:
    """The graph of a bundle with its weights: from the image to the logits.

    Raises:
        ModelError: They cannot be read, or are not those of the spec.
    """
    bands, classes = len(bundle.spec.bands), len(bundle.spec.classes)
    if _FILE in graph.onnx:  # or a place in memory: OpenVINO would read there
        raise ModelError(f"{bundle.path}: its graph refers to other data: get the model again")
    try:
        model = core.read_model(graph.onnx)
        image, *weights = model.get_parameters()
        _fill(model, weights, bundle.tensors())
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
    try:
        _try_stride(model, bands, graph.stride)
    except (RuntimeError, ValueError) as error:
        raise ModelError(_unreadable(bundle, error)) from error
    return model


def _unreadable(bundle: Bundle, error: Exception) -> str:
    return f"{bundle.path}: its graph cannot be read ({_line(error)}): get the model again"


def _fill(model: ov.Model, inputs: list[Any], weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Make constants of those inputs of a graph that are weights."""
    for node in inputs:
        name = node.get_friendly_name()
        if list(weights[name].shape) != list(node.output(0).shape):
            raise ValueError(f"{name} has the shape {weights[name].shape}")
        node.output(0).replace(ops.constant(weights[name]).output(0))
        model.remove_parameter(node)
    model.validate_nodes_and_infer_types()


def _try_stride(model: ov.Model, bands: int, stride: int) -> None:
    """See that tiles of this stride go through; the compiled model would not look.

    Raises:
        ValueError, RuntimeError: They do not, or come out in another size.
    """
    trial = model.clone()
    shape = [1, bands, 3 * stride, 5 * stride]
    trial.reshape(shape)
    found = trial.outputs[0].partial_shape
    if not found.compatible(ov.PartialShape([1, -1, *shape[2:]])):
        raise ValueError(f"it makes {found} of {shape}")


def _fits(end: tuple[Any, Any], wanted: tuple[Any, Any]) -> bool:
    return bool(end[0] == wanted[0] and end[1].compatible(wanted[1]))


def _normalized(tiles: Any, valid: Any, n: Normalizer) -> Any:
    """As :class:`~geounet.bands.Normalizer`: pixels that are not valid become 0, the mean."""
    scale, offset, mean, std = (
        ops.constant(values.reshape(1, -1, 1, 1)) for values in (n.scale, n.offset, n.mean, n.std)
    )
    x = ops.add(ops.multiply(ops.convert(tiles, "f32"), scale), offset)
    x = ops.divide(ops.subtract(ops.clamp(x, n.low, n.high), mean), std)
    return ops.select(valid, x, ops.constant(np.float32(0)))


def _crop(logits: Any, halo: int) -> Any:
    start, stop = ([halo] * 2, [-halo] * 2) if halo else ([0] * 2, [2**31 - 1] * 2)
    return ops.slice(logits, *(np.array(v, np.int64) for v in (start, stop, [1, 1], [2, 3])))


def _labels(logits: Any, codes: NDArray[np.uint8]) -> Any:
    """(batch, height, width): the code of the largest; of equal ones the first, as in torch."""
    best, label = _channel(logits, 0), ops.constant(codes[0])
    for index, code in enumerate(codes[1:], start=1):
        other = _channel(logits, index)
        label = ops.select(ops.greater(other, best), ops.constant(code), label)
        best = ops.maximum(best, other)
    return label


def _channel(logits: Any, index: int) -> Any:
    return ops.gather(logits, np.int64(index), np.int64(1))


def _percent(logits: Any) -> Any:
    """(batch, height, width): the largest probability, ``1 / sum(exp(logits - best))``."""
    axis = np.array([1], np.int64)
    best = ops.reduce_max(logits, axis, keep_dims=True)
    total = ops.reduce_sum(ops.exp(ops.subtract(logits, best)), axis, keep_dims=False)
    percent = ops.divide(ops.constant(np.float32(CONFIDENCE_MAX)), total)
    return ops.convert(ops.round(percent, "half_to_even"), "u8")


def _line(error: Exception) -> str:
    text = re.sub(r"Exception from \S+:\s", "", str(error))  # where in OpenVINO's own source
    return " ".join(text.split())[:120] or type(error).__name__
