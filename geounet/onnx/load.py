"""An ONNX file, and what is said about it, as a model like any other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geounet.bundle import Bundle
from geounet.errors import ModelError, OptionError
from geounet.onnx.deepness import MARK, from_deepness
from geounet.onnx.describe import graph_of, read_description, slug, spec_of
from geounet.onnx.file import OnnxFile, read_onnx
from geounet.onnx.told import Told

SUFFIX = ".onnx"
DESCRIPTION = ".json"
"""What the name of the JSON adds to that of the ONNX file: ``roads.onnx.json``."""
OURS = "geounet"
"""Key of the metadata of an ONNX file whose value is such a JSON."""


def load_onnx(path: str | Path) -> Bundle:
    """An ONNX file as a model.

    What is not in the graph (bands, scaling, classes; all keys are in
    :data:`geounet.onnx.describe.KEYS`) is read from its metadata, if geounet wrote them or they are
    those of the QGIS plugin Deepness, and from the JSON beside it, whose keys come first.

    Args:
        path: The ONNX file; or the JSON, which may name it with ``file``.

    Raises:
        ModelError: A file is missing, damaged, or says too little; the message says what to write
            where.
    """
    path = Path(path)
    said = _read(path) if path.suffix.lower() == DESCRIPTION else None
    if said is not None:
        path = path.parent / str(said.told.get("file", path.name.removesuffix(DESCRIPTION)))
    file = read_onnx(path)
    beside = path.with_name(path.name + DESCRIPTION)
    if said is None and beside.is_file():
        said = _read(beside)
    try:
        told = {**_inside(file), **({} if said is None else said.told)}
        spec, graph = spec_of(told, slug(path.stem)), graph_of(told, file)
    except OptionError as error:
        raise ModelError(_advice(path, said, error)) from error
    hashes = dict(file.hashes) | ({} if said is None else {said.path: _sha256(said.content)})
    return Bundle(spec=spec, weights=None, graph=graph, sha256=_together(hashes), path=str(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A JSON about an ONNX file."""

    path: Path
    content: bytes
    told: Told


def _read(path: Path) -> _Said:
    try:
        content = path.read_bytes()
        return _Said(path=path, content=content, told=read_description(content.decode()))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: it is no JSON: write it as UTF-8") from error
    except OptionError as error:
        raise ModelError(f"{path}: {error}") from error


def _inside(file: OnnxFile) -> Told:
    """What the metadata say."""
    if OURS in file.metadata:
        return read_description(file.metadata[OURS])
    return from_deepness(file) if MARK in file.metadata else {}


def _advice(path: Path, said: _Said | None, error: OptionError) -> str:
    """The error, and in which file it is to be mended."""
    if said is not None:
        return f"{path}: {error}, in {said.path}"
    if "is missing" in str(error):
        return f"{path}: {error}, in {path}{DESCRIPTION}"
    return f"{path}: {error}"


def _together(hashes: Mapping[Path, str]) -> str:
    """The hash of the file; of the lines that ``sha256sum`` prints, where there are several."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{digest}  {file.name}\n" for file, digest in hashes.items())
    return _sha256(lines.encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
