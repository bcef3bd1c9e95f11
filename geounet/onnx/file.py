"""What is in an ONNX file: its ends, its metadata, and whether it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from geounet.errors import ModelError
from geounet.onnx import schema, wire
from geounet.onnx.external import inlined

_LARGEST = (1 << 31) - 1  # bytes of any message of protocol buffers


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """An input or an output of a graph."""

    name: str
    """Its name."""
    kind: int
    """Type of its elements, as ONNX numbers them."""
    shape: tuple[int | None, ...] | None
    """Size of each axis, None where it is free; None where the file does not say how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """An ONNX file that was read whole."""

    content: bytes
    """The model, with all of its weights inside."""
    hashes: Mapping[Path, str]
    """SHA-256 of the file, and of those that held weights of it."""
    image: Value
    """The only input that is no weight."""
    outputs: tuple[Value, ...]
    """What the graph gives."""
    metadata: Mapping[str, str]
    """What was written into the file about it."""


def read_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file, with weights that lie beside it.

    Raises:
        ModelError: It cannot be read, is none, was cut short, lacks weights, or takes several
            inputs.
    """
    content = _bytes(path)
    try:
        (graph,) = wire.many(content, schema.MODEL_GRAPH)
        weights = {wire.text(t, schema.TENSOR_NAME) for t in wire.many(graph, schema.INITIALIZER)}
        inputs = [_value(v) for v in wire.many(graph, schema.GRAPH_INPUT)]
        outputs = tuple(_value(v) for v in wire.many(graph, schema.GRAPH_OUTPUT))
        nodes = len(wire.many(graph, schema.NODE))
        props = wire.many(content, schema.METADATA)
        metadata = {wire.text(p, schema.KEY): wire.text(p, schema.VALUE) for p in props}
        whole, beside = inlined(content, path)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is no ONNX model, or was cut short ({error}): get it again"
        ) from error
    images = [value for value in inputs if value.name not in weights]
    if not (nodes and images and outputs):
        raise ModelError(f"{path} is no ONNX model that takes an image: get it again")
    if len(images) > 1:
        names = ", ".join(value.name for value in images)
        raise ModelError(
            f"{path} takes {len(images)} inputs ({names[:120]}): export one that takes one image"
        )
    return OnnxFile(
        content=whole,
        hashes={file: sha256(data).hexdigest() for file, data in {path: content, **beside}.items()},
        image=images[0],
        outputs=outputs,
        metadata=metadata,
    )


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise ModelError(
                f"{path} has {size >> 20} MiB; an ONNX file has less than 2048: save its weights"
                " beside it (external data)"
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): check the path") from error


def _value(info: memoryview) -> Value:
    kind: int = 0
    shape = None
    for holder in wire.many(info, schema.VALUE_TYPE):
        for tensor in wire.many(holder, schema.TENSOR_TYPE):
            kind = (wire.numbers(tensor, schema.ELEMENT_TYPE) or [0])[-1]
            for dims in wire.many(tensor, schema.SHAPE):
                shape = tuple(map(_size, wire.many(dims, schema.DIMENSION)))
    return Value(name=wire.text(info, schema.VALUE_NAME), kind=kind, shape=shape)


def _size(dimension: memoryview) -> int | None:
    """A size below 1 is no size: exporters write 0 or -1 where an axis is free."""
    found = wire.numbers(dimension, schema.DIMENSION_VALUE)
    return found[-1] if found and found[-1] > 0 else None
