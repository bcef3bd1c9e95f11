"""A graph of another's making, made into one like those of bundles."""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.bundle import Bundle
from geounet.engine.ready import Ready, Scores, line, try_size
from geounet.engine.runtime import ops, ov
from geounet.errors import ModelError
from geounet.graph import Ends, Graph, Output
from geounet.spec import ModelSpec

_STRIDES = (1, 2, 4, 8, 16, 32, 64, 128)
_TRIAL = 384  # pixels, about; small images vanish in what pools them
_CHANNELS = {"NCHW": 1, "NHWC": 3}
_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_PASSING = {"Convert", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze"}
_TOLD: dict[str, Output] = {
    "Softmax": "probabilities",
    "Sigmoid": "probabilities",
    "TopK": "labels",
}
"""Last node, as OpenVINO calls it (an argmax is a TopK) -> what it gives."""


def read_foreign(core: ov.Core, bundle: Bundle, graph: Graph) -> Ready:
    """The graph of an ONNX file.

    Its image becomes float32 in NCHW and normalised, its result float32 in NCHW with a channel for
    each class. A softmax or a sigmoid at its end goes: what is left gives the same labels sooner.

    Raises:
        ModelError: It cannot be read, or is not what the description says.
    """
    assert graph.ends is not None  # noqa: S101  for the type checker
    try:
        model = core.read_model(graph.onnx)
        return _Adapter(model, bundle.spec, graph.ends).ready(graph.stride)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{bundle.path}: OpenVINO cannot run its graph as it is described ({line(error)})"
        ) from error
    except ModelError as error:
        raise ModelError(f"{bundle.path}: {error}") from error


class _Adapter:
    """Puts a graph between an image and scores as :class:`Ready` wants them."""

    def __init__(self, model: ov.Model, spec: ModelSpec, ends: Ends) -> None:
        self._model, self._spec, self._ends = model, spec, ends
        images = model.get_parameters()
        if len(images) != 1:
            raise ModelError(
                f"its graph takes {len(images)} inputs: export one that takes one image"
            )
        self._image = images[0]
        self._shape = _sizes(images[0].output(0))
        self._layout = self._find_layout()

    def ready(self, stride: int | None) -> Ready:
        """The adapted graph; ``stride`` as in :class:`~geounet.graph.Graph`."""
        bands = len(self._spec.bands)
        size = self._ends.side or -1
        batch = self._shape[0] or 1
        image = ops.parameter([batch, bands, size, size], ov.Type.f32)
        result = self._result().input_value(0)
        self._image.output(0).replace(self._taken(image).output(0))
        ov.Model([ops.result(result)], [image])  # infers shapes anew
        while result.get_node().get_type_name() == "Identity":
            result = result.get_node().input_value(0)
        scores, kind = self._scores(result)
        model = ov.Model([ops.result(scores)], [image])
        if self._ends.side is None:
            stride = _stride_of(model, batch, bands, stride)
        else:
            try_size(model, [batch, bands, self._ends.side, self._ends.side])
        return Ready(
            model=model, scores=kind, stride=stride or 1, batch=batch, side=self._ends.side
        )

    def _find_layout(self) -> str:
        count = len(self._spec.bands)
        if len(self._shape) != 4:
            raise ModelError(f"its input has the shape {_told(self._shape)}, which is no image")
        fits = [k for k, axis in _CHANNELS.items() if self._shape[axis] in (None, count)]
        sure = [k for k in fits if self._shape[_CHANNELS[k]] == count]
        if self._ends.layout is not None:
            sure = [k for k in fits if k == self._ends.layout]
        if not sure and not self._shape[1] is self._shape[3] is None:
            raise ModelError(
                f'its input {_told(self._shape)} does not take {count} bands: mend "bands"'
            )
        if not sure:
            raise ModelError('its input does not say where its bands are: write "layout"')
        return sure[0]

    def _result(self) -> Any:
        results = self._model.get_results()
        name = self._ends.output_name
        named = [r for r in results if name is None or name in r.input_value(0).get_names()]
        if len(named) != 1:
            raise ModelError(f"its graph has {len(named)} outputs of the name {name!r}")
        return named[0]

    def _taken(self, image: Any) -> Any:
        """What the graph is to get for a normalised image."""
        if self._ends.normalizes:
            mean, std = (
                np.array([getattr(b, of) for b in self._spec.bands], np.float32).reshape(
                    1, -1, 1, 1
                )
                for of in ("mean", "std")
            )
            image = ops.add(ops.multiply(image, std), mean)
        if self._layout == "NHWC":
            image = _transposed(image, _TO_NHWC)
        kind = self._image.get_element_type()
        if kind.is_integral():
            limits = np.iinfo(kind.to_dtype())
            image = ops.clamp(
                ops.round(image, "half_to_even"), float(limits.min), float(limits.max)
            )
        return image if kind == ov.Type.f32 else ops.convert(image, kind.get_type_name())

    def _scores(self, result: Any) -> tuple[Any, Scores]:
        kind = self._ends.output or _last(result)
        whole = result.get_element_type().is_integral()
        if kind is None:
            kind = "labels" if whole else "logits"
        if kind == "labels":
            return _one_hot(self._arranged(result, 1), self._spec.classes.codes), "one-hot"
        if whole:
            raise ModelError(f'its result is of whole numbers, which are no {kind}: mend "output"')
        classes = len(self._spec.classes)
        single = self._channels(result) == 1
        if single and classes != 2:
            raise ModelError(
                f'its result has one channel, for two classes; "classes" names {classes}'
            )
        before = _without_last(result, self._channel_axis(result))
        if kind == "probabilities" and before and (single or before[0] == "Softmax"):
            result, kind = before[1], "logits"
        scores = ops.convert(self._arranged(result, 1 if single else classes), "f32")
        if single:
            scores = _two(scores, self._ends.threshold, logits=kind == "logits")
        return scores, kind

    def _channels(self, result: Any) -> int | None:
        """How many channels a result has: the classes, or one."""
        shape = _sizes(result)
        if len(shape) == 3:
            return 1
        if len(shape) != 4:
            raise ModelError(
                f"its result has the shape {_told(shape)}, which is no class of each pixel:"
                " export a segmentation model"
            )
        wanted = len(self._spec.classes)
        at = {axis: shape[axis] for axis in (1, 3)}
        first = _CHANNELS[self._layout]
        for count in (wanted, 1):
            for axis in (first, 4 - first):
                if at[axis] == count:
                    return count
        if at[first] is None:
            return wanted
        raise ModelError(
            f'its result {_told(shape)} has no channel for each of {wanted} classes: mend "classes"'
        )

    def _channel_axis(self, result: Any) -> int | None:
        """The axis of the channels; None: there is none."""
        shape = _sizes(result)
        if len(shape) != 4:
            return None
        count, first = self._channels(result), _CHANNELS[self._layout]
        if shape[first] in (count, None):
            return first
        return 4 - first

    def _arranged(self, result: Any, channels: int) -> Any:
        """A result in NCHW."""
        shape = _sizes(result)
        if len(shape) == 3 and channels == 1:
            return ops.unsqueeze(result, np.array([1], np.int64))
        if channels == 1 and len(shape) == 4 and 1 not in (shape[1], shape[3]):
            raise ModelError(
                f'its result {_told(shape)} gives no label of each pixel: mend "output"'
            )
        axis = self._channel_axis(result)
        if channels == 1 and axis is not None and shape[axis] != 1:
            axis = 4 - axis
        return _transposed(result, _TO_NCHW) if axis == 3 else result


def _stride_of(model: ov.Model, batch: int, bands: int, told: int | None) -> int:
    """The stride that is told, tried, or the smallest that goes through."""
    strides = _STRIDES if told is None else (told,)
    why: Exception | None = None
    for stride in strides:
        odd = max(3, _TRIAL // stride | 1)  # no multiple of a larger power of two
        try:
            try_size(model, [batch, bands, odd * stride, (odd + 2) * stride])
        except (RuntimeError, ValueError) as error:
            why = error
        else:
            return stride
    raise ValueError(
        f"no tile whose sides are multiples of {strides[-1]} goes through:"
        f" {line(why or ValueError())}"
    )


def _two(scores: Any, threshold: float, *, logits: bool) -> Any:
    """Two channels of one; the second is the larger from the threshold on.

    Its odds are divided by those of the threshold, as if the class were so much rarer.
    """
    odds = threshold / (1 - threshold)
    if logits:
        second = ops.subtract(scores, np.float32(np.log(odds)))
        first = ops.broadcast(ops.constant(np.float32(0)), ops.shape_of(second))
        return ops.concat([first, second], 1)
    present = ops.clamp(scores, 0.0, 1.0)
    absent = ops.multiply(ops.subtract(np.float32(1), present), np.float32(odds))
    total = ops.add(present, absent)
    return ops.concat([ops.divide(absent, total), ops.divide(present, total)], 1)


def _one_hot(labels: Any, codes: tuple[int, ...]) -> Any:
    wanted = np.array(codes, np.int32).reshape(1, -1, 1, 1)
    if labels.get_element_type().is_real():
        labels = ops.round(labels, "half_to_even")
    return ops.convert(ops.equal(ops.convert(labels, "i32"), wanted), "f32")


def _last(result: Any) -> Output | None:
    """What the last node that computes anything gives, where that is known."""
    node = result.get_node()
    while node.get_type_name() in _PASSING:
        node = node.input_value(0).get_node()
    return _TOLD.get(node.get_type_name())


def _without_last(result: Any, axis: int | None) -> tuple[str, Any] | None:
    """The last node's type and its input, if it is a sigmoid, or a softmax over the channels."""
    node = result.get_node()
    kind = node.get_type_name()
    over = node.get_attributes().get("axis") if kind == "Softmax" else None
    if kind == "Sigmoid" or (over is not None and axis is not None and over % 4 == axis):
        return kind, node.input_value(0)
    return None


def _transposed(node: Any, order: list[int]) -> Any:
    return ops.transpose(node, np.array(order, np.int64))


def _sizes(output: Any) -> tuple[int | None, ...]:
    """Size of each axis, None where it is free."""
    shape = output.get_partial_shape()
    if shape.rank.is_dynamic:
        raise ModelError("its graph does not say how many axes its input and result have")
    return tuple(d.get_length() if d.is_static else None for d in shape)


def _told(shape: tuple[int | None, ...]) -> str:
    return " x ".join("?" if size is None else str(size) for size in shape)
