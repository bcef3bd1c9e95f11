"""The OpenVINO engine: CPUs, without torch, from the graph that a model carries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geounet.bands import Normalizer
from geounet.bundle import Bundle
from geounet.engine.bundled import read_bundled
from geounet.engine.foreign import read_foreign
from geounet.engine.lean import cropped, cut_decoder
from geounet.engine.port import CONFIDENCE_MAX, Batch, Prediction, one_by_one
from geounet.engine.ready import line
from geounet.engine.runtime import ops, ov
from geounet.engine.stored import plain
from geounet.errors import DeviceError, ModelError
from geounet.spec import Seam
from geounet.tiling import round_up

Wanted = Literal["labels", "confidence", "probabilities", "logits"]
"""What a compiled model gives: labels; labels and confidence; all classes, halo included."""


class OpenVinoEngine:
    """The OpenVINO adapter of :class:`~geounet.engine.port.ModelEngine`, in float32 or INT8.

    Normalising, the network, softmax, crop and argmax are one compiled model, which takes tiles of
    any size; it is compiled when it is first used, in about 0.2 s. Threads are those of the CPU, or
    ``OMP_NUM_THREADS`` where that is set, as for torch.

    Raises:
        ModelError: The bundle has no graph, or one that does not fit the spec.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, bundle: Bundle, normalizer: Normalizer) -> None:
        graph = bundle.graph
        if graph is None:
            raise ModelError(
                f"{bundle.path} has no graph, which OpenVINO needs: pass --engine torch"
            )
        self._core = ov.Core()
        read = read_bundled if graph.ends is None else read_foreign
        self._network = read(self._core, bundle, graph)
        self._halo = round_up(graph.halo, self._network.stride)
        self._spec, self._path = bundle.spec, bundle.path
        self._precision = graph.precision
        self._has_weights = bundle.weights is not None
        self._normalizer = normalizer
        self._compiled: dict[tuple[Wanted, np.dtype[Any]], ov.CompiledModel] = {}

    @property
    def precision(self) -> str:
        """That of the graph: ``fp32``, or ``int8``; what its layers share is float32 in both."""
        return self._precision

    @property
    def seam(self) -> Seam:
        """How its tiles are to be joined: ``exact`` or ``blend``."""
        return self._spec.seam

    @property
    def stride(self) -> int:
        """Total stride of the network."""
        return self._network.stride

    @property
    def side(self) -> int | None:
        """Height and width of the only tile that the network takes; None: any."""
        return self._network.side

    @property
    def minibatch(self) -> int:
        """One: a CPU gains nothing from several; or what the graph asks for."""
        return self._network.batch

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
        if self._network.scores == "one-hot":
            return self._marked(self.probabilities(tiles, valid), confidence=confidence)
        if not confidence:
            return Prediction(labels=self._run("labels", tiles, valid)[0], confidence=None)
        labels, percent = self._run("confidence", tiles, valid)
        return Prediction(labels=labels, confidence=percent)

    def predict_each(self, batches: Iterable[Batch], *, confidence: bool) -> Iterator[Prediction]:
        """See :meth:`geounet.engine.port.Engine.predict_each`."""
        return one_by_one(self, batches, confidence=confidence)

    def probabilities(self, tiles: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See :meth:`geounet.engine.port.BlendEngine.probabilities`."""
        odds = self._run("probabilities", tiles, valid)[0]
        if self._network.scores == "one-hot" and not odds.any(axis=1).all():
            raise ModelError(
                f"{self._path} gives labels that are no code of its classes ({self._spec.classes}):"
                ' name all of them as "classes"'
            )
        return odds

    def logits(self, tiles: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See :meth:`geounet.engine.port.ModelEngine.logits`."""
        return self._run("logits", tiles, valid)[0]

    def _marked(self, odds: NDArray[np.float32], *, confidence: bool) -> Prediction:
        """Of a network that gives classes and does not say how sure it is."""
        inner = slice(self._halo, -self._halo or None)
        labels = self.codes[odds[:, :, inner, inner].argmax(1)]
        sure = np.full(labels.shape, CONFIDENCE_MAX, np.uint8) if confidence else None
        return Prediction(labels=labels, confidence=sure)

    def _run(
        self, wanted: Wanted, tiles: NDArray[Any], valid: NDArray[np.bool_]
    ) -> list[NDArray[Any]]:
        """A minibatch after the other; the last is filled up with its last tile."""
        tiles = plain(tiles)
        model = self._model(wanted, tiles.dtype)
        size = self._network.batch
        done = []
        for start in range(0, len(tiles), size):
            some, mask = tiles[start : start + size], valid[start : start + size, None]
            if short := size - len(some):
                some, mask = (np.concatenate([x, x[-1:].repeat(short, 0)]) for x in (some, mask))
            found = self._infer(model, *map(np.ascontiguousarray, (some, mask)))
            done.append([values[: len(tiles) - start] for values in found])
        if len(done) == 1:
            return done[0]
        return [np.concatenate(parts) for parts in zip(*done, strict=True)]

    def _infer(
        self, model: ov.CompiledModel, tiles: NDArray[Any], valid: NDArray[np.bool_]
    ) -> list[NDArray[Any]]:
        try:
            found = model((tiles, valid), share_inputs=True)
        except RuntimeError as error:
            raise DeviceError(
                f"OpenVINO cannot compute a tile of {valid.shape[2]} x {valid.shape[3]} pixels"
                f" ({line(error)}): {self._remedy()}"
            ) from error
        return [found[output] for output in model.outputs]

    def _remedy(self) -> str:
        if self._network.side is not None:
            return "export the graph for smaller images"
        return "pass a smaller --tile" + (", or --engine torch" if self._has_weights else "")

    def _model(self, wanted: Wanted, dtype: np.dtype[Any]) -> ov.CompiledModel:
        key = wanted, dtype
        if key not in self._compiled:
            whole = self._assembled(wanted, dtype)
            self._compiled[key] = self._core.compile_model(whole, "CPU", _settings())
        return self._compiled[key]

    def _assembled(self, wanted: Wanted, dtype: np.dtype[Any]) -> ov.Model:
        """The network between normalising and what is wanted of its logits."""
        ready = self._network
        network = ready.model.clone()
        left = self._cut(network) if wanted in ("labels", "confidence") else self._halo
        image = network.get_parameters()[0]
        sizes = [-1 if ready.side is None else ready.side] * 2
        tiles = ops.parameter([ready.batch, len(self._spec.bands), *sizes], ov.Type(dtype))
        valid = ops.parameter([ready.batch, 1, *sizes], ov.Type.boolean)
        image.output(0).replace(_normalized(tiles, valid, self._normalizer).output(0))
        scores = network.get_results()[0].input_value(0)
        logits = ready.scores == "logits"
        if wanted == "logits":
            outputs = [scores if logits else ops.log(ops.maximum(scores, np.float32(1e-30)))]
        elif wanted == "probabilities":
            outputs = [ops.softmax(scores, axis=1) if logits else scores]
        else:
            inner = cropped(scores, left)
            outputs = [_labels(inner, self.codes)]
            if wanted == "confidence":
                outputs.append(_percent(inner, logits=logits))
        return ov.Model([ops.result(output) for output in outputs], [tiles, valid])

    def _cut(self, network: ov.Model) -> int:
        """Leave out what no core needs; gives how much of the halo the scores still have."""
        arch = self._spec.arch
        if arch.name != "unet" or arch.depth is None or self.seam != "exact":
            return self._halo
        return cut_decoder(network, arch.depth, self._halo)


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads):
        settings["INFERENCE_NUM_THREADS"] = int(threads)
    return settings


def _normalized(tiles: Any, valid: Any, n: Normalizer) -> Any:
    """As :class:`~geounet.bands.Normalizer`: pixels that are not valid become 0, the mean."""
    scale, offset, mean, std = (
        ops.constant(values.reshape(1, -1, 1, 1)) for values in (n.scale, n.offset, n.mean, n.std)
    )
    x = ops.add(ops.multiply(ops.convert(tiles, "f32"), scale), offset)
    x = ops.divide(ops.subtract(ops.clamp(x, n.low, n.high), mean), std)
    return ops.select(valid, x, ops.constant(np.float32(0)))


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


def _percent(scores: Any, *, logits: bool) -> Any:
    """(batch, height, width): the largest probability; ``1 / sum(exp(logits - best))``."""
    axis = np.array([1], np.int64)
    best = ops.reduce_max(scores, axis, keep_dims=logits)
    whole = ops.constant(np.float32(CONFIDENCE_MAX))
    if logits:
        total = ops.reduce_sum(ops.exp(ops.subtract(scores, best)), axis, keep_dims=False)
        percent = ops.divide(whole, total)
    else:
        percent = ops.multiply(whole, ops.clamp(best, 0.0, 1.0))
    return ops.convert(ops.round(percent, "half_to_even"), "u8")
