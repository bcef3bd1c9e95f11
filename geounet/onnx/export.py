"""A bundle as one ONNX file that runs elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geounet.bundle import Bundle
from geounet.errors import ModelError, OptionError, OutputError
from geounet.graph import IMAGE, LOGITS
from geounet.onnx import schema, wire
from geounet.onnx.deepness import for_deepness
from geounet.onnx.load import OURS, SUFFIX
from geounet.spec import ModelSpec
from geounet.staging import Staging, check_outputs
from geounet.tiling import round_up

PROBABILITIES = "probabilities"
"""The output: float32 (batch, classes, height, width)."""

_SIDE = 512
_NORMALIZED = "normalized"
_TAKES_IMAGE = wire.string(schema.NODE_INPUT, IMAGE)


def export_onnx(bundle: Bundle, *, side: int | None = None, any_size: bool = False) -> bytes:
    """A bundle as an ONNX file with its weights inside.

    Its input ``image`` is float32 (batch, bands, height, width) in the model's unit; clipping and
    normalising are part of the graph, and so is the softmax. Metadata say the rest: as geounet
    reads it, and as the QGIS plugin Deepness does, which needs squares of a fixed size.

    Args:
        bundle: A model with a graph.
        side: Height and width of the image; None: 512, or more where the network looks far.
        any_size: Leave batch, height and width free, the last two multiples of the stride.

    Raises:
        ModelError: The bundle has no graph, or is an ONNX file already.
        OptionError: A size that its tiles cannot have.
    """
    graph = bundle.graph
    if graph is None:
        raise ModelError(f"{bundle.path} has no graph, so it cannot be exported to ONNX")
    if graph.ends is not None or graph.stride is None:
        raise ModelError(f"{bundle.path} is an ONNX file already: copy it")
    side = _checked(side, graph.stride, graph.halo)
    size = None if any_size else side
    weights = {} if bundle.is_int8 else bundle.tensors()  # else they are in the graph
    writer = _Graph(bundle.spec, weights, size)
    try:
        parts = [writer.written(field) for field in wire.fields(graph.onnx)]
    except ValueError as error:
        raise ModelError(f"{bundle.path}: its graph cannot be read: get the model again") from error
    told = {
        OURS: json.dumps(_described(bundle.spec, graph.stride, graph.halo)),
        **for_deepness(bundle.spec, side, graph.halo),
    }
    return wire.join([*parts, *(_pair(key, value) for key, value in told.items())])


def save_onnx(
    path: str | Path,
    bundle: Bundle,
    *,
    side: int | None = None,
    any_size: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write :func:`export_onnx` to a file, which appears under its name only when complete.

    Raises:
        OptionError: The name does not end in ``.onnx``, or the size cannot be.
        OutputError: The file exists, or cannot be written.
        ModelError: As for :func:`export_onnx`.
    """
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise OptionError(f"-o {path}: end it in {SUFFIX}")
    check_outputs([path], overwrite=overwrite)
    content = export_onnx(bundle, side=side, any_size=any_size)
    with Staging() as staging:
        try:
            staging.stage(path).write_bytes(content)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
        staging.commit()
    return path


def _checked(side: int | None, stride: int, halo: int) -> int:
    least = 2 * halo + stride
    if side is None:
        return round_up(max(_SIDE, 4 * halo), stride)
    if side % stride or side < least:
        raise OptionError(
            f"--tile {side}: give a multiple of {stride}, the network's stride, from {least} on"
        )
    return side


def _described(spec: ModelSpec, stride: int, halo: int) -> dict[str, object]:
    """The model as a description, see :mod:`geounet.onnx.describe`."""
    card = spec.card
    told: dict[str, object] = {
        "name": spec.name,
        "version": spec.version,
        "bands": list(spec.band_names),
        "unit": spec.unit,
        "clip": list(spec.clip),
        "mean": [band.mean for band in spec.bands],
        "std": [band.std for band in spec.bands],
        "normalizes": True,
        "classes": [asdict(c) for c in spec.classes],
        "output": PROBABILITIES,
        "stride": stride,
        "plausible": list(spec.plausible),
        **{k: getattr(card, k) for k in ("summary", "data", "terms", "limits")},
        "metrics": dict(card.metrics),
        "provenance": dict(card.provenance),
    }
    told |= {"radius": halo} if spec.seam == "exact" else {"overlap": 2 * halo}
    if spec.pixel_size is not None:
        told["pixel_size"] = list(spec.pixel_size)
    return told


def _pair(key: str, value: str) -> bytes:
    pair = wire.string(schema.KEY, key), wire.string(schema.VALUE, value)
    return wire.message(schema.METADATA, *pair)


class _Graph:
    """Writes the graph of a bundle anew: weights inside, normalising before and softmax after."""

    def __init__(
        self, spec: ModelSpec, weights: Mapping[str, NDArray[np.float32]], side: int | None
    ) -> None:
        self._spec, self._weights, self._side = spec, weights, side

    def written(self, field: wire.Field) -> wire.Bytes:
        """A field of the model."""
        if field.number != schema.MODEL_GRAPH or isinstance(field.value, int):
            return field.raw
        ends = (schema.GRAPH_INPUT, schema.GRAPH_OUTPUT)
        kept = [
            _renamed(f) if f.number == schema.NODE else f.raw
            for f in wire.fields(field.value)
            if f.number not in ends
        ]
        # nodes stand in the order in which they compute
        return wire.message(
            schema.MODEL_GRAPH, *self._normalizing(), *kept, *self._weights_of(field.value),
            self._softmax(), *self._ends(),
        )  # fmt: skip

    def _normalizing(self) -> list[bytes]:
        """Clip, take off the mean, divide by the standard deviation."""
        low, high = self._spec.clip
        shape = (1, -1, 1, 1)
        mean, std = ([getattr(band, of) for band in self._spec.bands] for of in ("mean", "std"))
        constants = {
            "clip.low": np.array(low, np.float32),
            "clip.high": np.array(high, np.float32),
            "mean": np.array(mean, np.float32).reshape(shape),
            "std": np.array(std, np.float32).reshape(shape),
        }
        return [
            *(_tensor(f"{_NORMALIZED}.{name}", value) for name, value in constants.items()),
            _node(
                "Clip", [IMAGE, f"{_NORMALIZED}.clip.low", f"{_NORMALIZED}.clip.high"], "clipped"
            ),
            _node("Sub", ["clipped", f"{_NORMALIZED}.mean"], "centred"),
            _node("Div", ["centred", f"{_NORMALIZED}.std"], _NORMALIZED),
        ]

    def _weights_of(self, graph: memoryview) -> list[bytes]:
        names = (wire.text(v, schema.VALUE_NAME) for v in wire.many(graph, schema.GRAPH_INPUT))
        return [_tensor(name, self._weights[name]) for name in names if name != IMAGE]

    def _softmax(self) -> bytes:
        axis = wire.message(
            schema.ATTRIBUTE,
            wire.string(schema.ATTRIBUTE_NAME, "axis"),
            wire.integer(schema.ATTRIBUTE_INT, 1),
            wire.integer(schema.ATTRIBUTE_TYPE, 2),
        )
        return _node("Softmax", [LOGITS], PROBABILITIES, axis)

    def _ends(self) -> list[bytes]:
        sizes: list[int | str] = ["height", "width"] if self._side is None else [self._side] * 2
        batch: int | str = "batch" if self._side is None else 1
        bands, classes = len(self._spec.bands), len(self._spec.classes)
        return [
            wire.message(schema.GRAPH_INPUT, *_value(IMAGE, [batch, bands, *sizes])),
            wire.message(schema.GRAPH_OUTPUT, *_value(PROBABILITIES, [batch, classes, *sizes])),
        ]


def _renamed(node: wire.Field) -> bytes:
    """A node that takes the normalised image where it took the image."""
    assert isinstance(node.value, memoryview)  # noqa: S101  for the type checker
    return wire.message(
        schema.NODE,
        *(
            wire.string(schema.NODE_INPUT, _NORMALIZED) if f.raw == _TAKES_IMAGE else f.raw
            for f in wire.fields(node.value)
        ),
    )


def _node(kind: str, inputs: Sequence[str], output: str, *attributes: bytes) -> bytes:
    return wire.message(
        schema.NODE,
        *(wire.string(schema.NODE_INPUT, name) for name in inputs),
        wire.string(schema.NODE_OUTPUT, output),
        wire.string(schema.NODE_NAME, output),
        wire.string(schema.OP_TYPE, kind),
        *attributes,
    )


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    return wire.message(
        schema.INITIALIZER,
        *(wire.integer(schema.TENSOR_DIMS, size) for size in values.shape),
        wire.integer(schema.TENSOR_KIND, schema.FLOAT),
        wire.string(schema.TENSOR_NAME, name),
        wire.message(schema.RAW_DATA, values.astype("<f4").tobytes()),
    )


def _value(name: str, shape: Sequence[int | str]) -> tuple[bytes, bytes]:
    """The fields of an input or an output."""
    dimensions = (
        wire.message(
            schema.DIMENSION,
            wire.integer(schema.DIMENSION_VALUE, size)
            if isinstance(size, int)
            else wire.string(schema.DIMENSION_NAME, size),
        )
        for size in shape
    )
    tensor = wire.message(
        schema.TENSOR_TYPE,
        wire.integer(schema.ELEMENT_TYPE, schema.FLOAT),
        wire.message(schema.SHAPE, *dimensions),
    )
    return wire.string(schema.VALUE_NAME, name), wire.message(schema.VALUE_TYPE, tensor)
