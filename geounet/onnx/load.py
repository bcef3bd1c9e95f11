"""An ONNX file, and what is said about it, as a model like any other."""

from __future__ import annotations

import hashlib
from pathlib import Path

from geounet.bundle import Bundle
from geounet.errors import ModelError, OptionError
from geounet.onnx.deepness import MARK, from_deepness
from geounet.onnx.describe import Told, graph_of, read_description, slug, spec_of
from geounet.onnx.file import OnnxFile, read_onnx

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
    beside: Path | None = path if path.suffix.lower() == DESCRIPTION else None
    told = {} if beside is None else _read(beside)
    if beside is None:
        file = path
    else:
        file = beside.parent / str(told.get("file", beside.name.removesuffix(DESCRIPTION)))
    onnx = read_onnx(file)
    if beside is None and (other := path.with_name(path.name + DESCRIPTION)).is_file():
        beside, told = other, _read(other)
    try:
        told = {**_inside(onnx), **told}
        spec = spec_of(told, onnx, slug(file.stem))
        graph = graph_of(told, onnx)
    except OptionError as error:
        raise ModelError(_advice(file, beside, error)) from error
    files = (*onnx.files, *([] if beside is None else [beside]))
    return Bundle(spec=spec, weights=None, graph=graph, sha256=_hash(files), path=str(file))


def _read(path: Path) -> Told:
    try:
        return read_description(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}): check the path") from error
    except OptionError as error:
        raise ModelError(f"{path}: {error}") from error


def _inside(file: OnnxFile) -> Told:
    """What the metadata say."""
    if OURS in file.metadata:
        return read_description(file.metadata[OURS])
    return from_deepness(file) if MARK in file.metadata else {}


def _advice(file: Path, beside: Path | None, error: OptionError) -> str:
    where = beside or file.with_name(file.name + DESCRIPTION)
    missing = "missing" in str(error)
    return f"{file}: {error}, in {where}" if missing else f"{file}: {error} (in {where})"


def _hash(files: tuple[Path, ...]) -> str:
    """SHA-256 of the file; of the lines that ``sha256sum`` prints, where there are several."""
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    if len(files) == 1:
        return hashes[0]
    lines = (f"{digest}  {file.name}\n" for digest, file in zip(hashes, files, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
