"""Weights that lie beside an ONNX file, brought into it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from geounet.errors import ModelError
from geounet.onnx import schema, wire

_ELSEWHERE = 1
_FILE = b"location"  # in every tensor whose data lie elsewhere
_LARGEST = (1 << 31) - 1


def inlined(content: bytes, path: Path) -> tuple[bytes, dict[Path, bytes]]:
    """The model with all weights inside, and the content of the files beside it.

    Only files in the folder of the model are read, and only for the weights of its graph.

    Raises:
        ModelError: Such a file is missing, too short, or in another place.
        ValueError: The bytes are no model.
    """
    if _FILE not in content or not _refers(content):
        return content, {}
    reader = _Reader(path)
    parts: list[wire.Bytes] = []
    for field in wire.fields(content):
        if field.number == schema.MODEL_GRAPH and not isinstance(field.value, int):
            weights = map(reader.weight, wire.fields(field.value))
            parts.append(wire.message(schema.MODEL_GRAPH, *weights))
        else:
            parts.append(field.raw)
    if sum(map(len, parts)) > _LARGEST:
        raise ModelError(f"{path} has weights of more than 2048 MiB, which no engine here reads")
    whole = wire.join(parts)
    if _refers(whole):
        raise ModelError(f"{path} keeps data of its nodes in other files: save it with all inside")
    return whole, reader.files


class _Reader:
    """Reads weights from the files that they are in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.files: dict[Path, bytes] = {}

    def weight(self, field: wire.Field) -> wire.Bytes:
        """A field of the graph, with the bytes of a weight in it."""
        if field.number != schema.INITIALIZER or isinstance(field.value, int):
            return field.raw
        tensor = field.value
        if _ELSEWHERE not in wire.numbers(tensor, schema.DATA_LOCATION):
            return field.raw
        gone = (schema.EXTERNAL_DATA, schema.DATA_LOCATION)
        kept = [f.raw for f in wire.fields(tensor) if f.number not in gone]
        data = wire.message(schema.RAW_DATA, self._data(tensor))
        return wire.message(schema.INITIALIZER, *kept, data)

    def _data(self, tensor: memoryview) -> bytes:
        pairs = wire.many(tensor, schema.EXTERNAL_DATA)
        told = {wire.text(pair, schema.KEY): wire.text(pair, schema.VALUE) for pair in pairs}
        content = self._file(told.get("location", ""))
        offset = int(told.get("offset") or 0)
        length = int(told.get("length") or len(content) - offset)
        if not 0 <= offset <= offset + length <= len(content):
            raise ModelError(
                f"{self._path}: {told['location']} beside it has {len(content)} bytes and should"
                f" have {offset + length} or more: get it again"
            )
        return content[offset : offset + length]

    def _file(self, location: str) -> bytes:
        plain = {PurePosixPath(location).name, PureWindowsPath(location).name} == {location}
        if not location or not plain:
            raise ModelError(
                f"{self._path} keeps weights in {location[:120]!r}, which is not a file beside it:"
                " save it with all inside"
            )
        file = self._path.with_name(location)
        if file not in self.files:
            try:
                self.files[file] = file.read_bytes()
            except (OSError, ValueError) as error:
                raise ModelError(
                    f"{self._path} keeps its weights in {location}, which is not beside it or"
                    " cannot be read: put it there"
                ) from error
        return self.files[file]


def _refers(message: wire.Bytes) -> bool:
    """Whether any tensor of a model has its data elsewhere."""
    graphs = wire.many(message, schema.MODEL_GRAPH)
    functions = wire.many(message, schema.MODEL_FUNCTION)
    return any(map(_graph_refers, graphs)) or any(
        _node_refers(node) for f in functions for node in wire.many(f, schema.FUNCTION_NODE)
    )


def _graph_refers(graph: memoryview) -> bool:
    weights = wire.many(graph, schema.INITIALIZER)
    sparse = [t for s in wire.many(graph, schema.SPARSE) for n in (1, 2) for t in wire.many(s, n)]
    return any(map(_is_elsewhere, [*weights, *sparse])) or any(
        map(_node_refers, wire.many(graph, schema.NODE))
    )


def _node_refers(node: memoryview) -> bool:
    for attribute in wire.many(node, schema.ATTRIBUTE):
        for number in (schema.ATTRIBUTE_TENSOR, schema.ATTRIBUTE_TENSORS):
            if any(map(_is_elsewhere, wire.many(attribute, number))):
                return True
        for number in (schema.ATTRIBUTE_GRAPH, schema.ATTRIBUTE_GRAPHS):
            if any(map(_graph_refers, wire.many(attribute, number))):
                return True
    return False


def _is_elsewhere(tensor: memoryview) -> bool:
    return bool(wire.many(tensor, schema.EXTERNAL_DATA)) or _ELSEWHERE in wire.numbers(
        tensor, schema.DATA_LOCATION
    )
