"""One model on disk: a zip of spec, weights, graph and their hashes. Data, never code.

The members are ``spec.json``, ``weights.safetensors``, ``graph.onnx`` (whose inputs are the image
and the weights) and ``manifest.json``, which holds the SHA-256 of the others. Nothing in it is ever
unpickled; a file that holds a pickle is refused by name. Bundles of version 1, and of networks that
cannot be written as ONNX, have no graph. Those of version 3 are of INT8: their weights are in the
graph, and there is no ``weights.safetensors``.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geounet.errors import DependencyError, ModelError, OptionError, OutputError
from geounet.graph import Graph
from geounet.spec import ModelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from geounet.nn import SegmentationNetwork

FORMAT = "geounet-bundle"
FORMAT_VERSION = 2
INT8_VERSION = 3
"""Of bundles whose graph is of INT8; an older geounet refuses them."""
READABLE = (1, 2, 3)
"""Versions that are read: 1 has no graph."""
SUFFIX = ".geounet"
SPEC, WEIGHTS, MANIFEST = "spec.json", "weights.safetensors", "manifest.json"
GRAPH = "graph.onnx"

_LARGE = 64 << 20  # bytes; below, a member of any ratio does no harm
_MAX_RATIO = 100  # weights are nearly incompressible; DEFLATE reaches 1000 on zeros

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    KeyError,
    ValueError,
    TypeError,
    EOFError,
    OSError,
    OverflowError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # encrypted, or JSON nested without end
)
"""What zipfile and json raise for bytes that are no bundle."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same weights give the same bytes

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bundle:
    """A model that was read, with its hashes checked."""

    spec: ModelSpec
    """Everything but the weights."""
    weights: bytes | None
    """A safetensors file; None: the graph holds them, and only OpenVINO runs it."""
    graph: Graph | None
    """What engines other than torch run; None: only torch runs it."""
    sha256: str
    """Identifies the model: SHA-256 of the manifest, which holds the hashes of all the rest."""
    path: str
    """Where it came from."""

    @property
    def is_int8(self) -> bool:
        """Whether :mod:`geounet.quantize` has made it."""
        return self.graph is not None and self.graph.precision == "int8"

    @cached_property
    def network(self) -> SegmentationNetwork:
        """The network in float32 on the CPU, in evaluation mode.

        Raises:
            ModelError: The weights do not fit the spec.
            DependencyError: The architecture is another package's, which is not installed.
        """
        return _build(self.spec, self._stored(), self.path)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The floating-point weights by name, in float32; without torch.

        Raises:
            ModelError: They cannot be read, or are not finite.
        """
        import numpy as np
        import safetensors
        import safetensors.numpy

        try:
            found = safetensors.numpy.load(self._stored())
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ModelError(_unfit(self.path, error)) from error
        tensors = {k: v.astype(np.float32) for k, v in found.items() if v.dtype.kind == "f"}
        _refuse_infinite({k: np.isfinite(v).all() for k, v in tensors.items()}, self.path)
        return tensors

    def _stored(self) -> bytes:
        if self.is_int8:
            raise ModelError(
                f"{self.path} is of INT8, which only OpenVINO runs: give the model that it was made"
                " of here"
            )
        if self.weights is None:
            raise ModelError(
                f"{self.path} is an ONNX file, which only OpenVINO runs: give a {SUFFIX} file here"
            )
        return self.weights


def save_bundle(
    path: str | Path, spec: ModelSpec, state: Mapping[str, Tensor], *, half: bool = False
) -> Path:
    """Write a bundle; it appears under its name only when complete.

    A network that cannot be written as ONNX (those of segmentation-models-pytorch) is saved
    without a graph: only torch runs it.

    Args:
        path: Ends in ``.geounet``.
        spec: The model.
        state: ``state_dict`` of the network.
        half: Store floating-point weights as float16 (half the size).

    Raises:
        ModelError: The state does not fit the spec.
        OutputError: The file cannot be written.
        DependencyError: The package onnx, which writes the graph, is not installed.
    """
    import safetensors.torch
    import torch

    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor)
        .detach()
        .to("cpu", memory_format=torch.contiguous_format)
        .contiguous()
        for name, tensor in state.items()
    }
    weights = safetensors.torch.save(tensors)
    network = _build(spec, weights, str(path))  # refuses what would not load
    return _write(Path(path), _pack(spec, weights, _graph(network, str(path))))


def save_int8(path: str | Path, spec: ModelSpec, graph: Graph) -> Path:
    """Write a bundle of INT8; it appears under its name only when complete.

    Args:
        path: Ends in ``.geounet``.
        spec: The model.
        graph: Of INT8, with its weights.

    Raises:
        OutputError: The file cannot be written.
    """
    return _write(Path(path), _pack(spec, None, graph))


def _graph(network: SegmentationNetwork, path: str) -> Graph | None:
    from geounet.nn.graph import export

    try:
        onnx = export(network)
    except ModelError as error:
        _LOG.info("%s: %s: only torch will run it", path, error)
        return None
    return Graph(onnx=onnx, stride=network.stride, halo=network.halo)


def _build(spec: ModelSpec, weights: bytes, path: str) -> SegmentationNetwork:
    import safetensors
    import safetensors.torch
    import torch

    from geounet.nn import build

    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            network = build(spec.arch, len(spec.bands), len(spec.classes))
    except DependencyError as error:
        raise DependencyError(f"{path}: {error}") from error
    except (ModelError, OptionError) as error:
        raise ModelError(f"{path}: {error}") from error
    try:
        state = safetensors.torch.load(weights)
        state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        network.load_state_dict(state, assign=True)
    except (RuntimeError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise ModelError(_unfit(path, error)) from error
    _refuse_infinite({k: v.isfinite().all() for k, v in network.state_dict().items()}, path)
    return network.eval().requires_grad_(requires_grad=False)


def _unfit(path: str, error: Exception) -> str:
    return f"{path}: the weights do not fit the spec ({_line(error)}): get the model again"


def _refuse_infinite(finite: Mapping[str, Any], path: str) -> None:
    if broken := [name for name, yes in finite.items() if not yes]:
        raise ModelError(
            f"{path}: {broken[0]} is not finite: train the model again, with a smaller learning"
            " rate"
        )


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check its hashes.

    Raises:
        ModelError: Missing, cut short, edited, of another version, or not a bundle.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    if content[:1] == b"\x80" and content[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        raise ModelError(_pickled(path))
    return read_bundle(io.BytesIO(content), str(path))


def read_bundle(file: io.BytesIO, path: str) -> Bundle:
    """Read a bundle from memory; ``path`` is what errors call it."""
    try:
        members = _unpack(file, path)
        manifest: dict[str, Any] = json.loads(members[MANIFEST])
        hashes: dict[str, str] = dict(manifest["sha256"])
        spec = members[SPEC].decode()
    except _DAMAGE as error:
        raise ModelError(
            f"{path} is no geounet model, or was cut short ({_line(error)}): get it again"
        ) from error
    if manifest.get("format") != FORMAT or manifest.get("version") not in READABLE:
        raise ModelError(
            f"{path} has bundle version {manifest.get('version')!r}; this geounet reads"
            f" {', '.join(map(str, READABLE))}: install a geounet that fits the model"
        )
    for name in members.keys() - {MANIFEST}:
        if hashlib.sha256(members[name]).hexdigest() != hashes.get(name):
            raise ModelError(f"{path}: {name} was changed after it was saved: get the model again")
    try:
        parsed = ModelSpec.from_json(spec)
        graph = _read_graph(manifest.get("graph"), members.get(GRAPH))
        _check_weights(members.get(WEIGHTS), graph)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return Bundle(
        spec=parsed,
        weights=members.get(WEIGHTS),
        graph=graph,
        sha256=hashlib.sha256(members[MANIFEST]).hexdigest(),
        path=path,
    )


def _read_graph(numbers: Any, onnx: bytes | None) -> Graph | None:
    """The graph, of what the manifest says of it and its member."""
    if numbers is None and onnx is None:
        return None
    if onnx is None or not isinstance(numbers, dict) or not {"stride", "halo"} <= set(numbers):
        raise ModelError(f"its {GRAPH} or what its manifest says of it is missing: get it again")
    precision = numbers.get("precision", "fp32")
    return Graph(onnx=onnx, stride=numbers["stride"], halo=numbers["halo"], precision=precision)


def _check_weights(weights: bytes | None, graph: Graph | None) -> None:
    """They are in the graph of INT8, and nowhere else beside another one."""
    inside = graph is not None and graph.precision == "int8"
    if (weights is None) != inside:
        there = "lacks" if weights is None else "has, beside a graph of INT8, a"
        raise ModelError(f"it {there} {WEIGHTS}: get it again")


def _unpack(file: io.BytesIO, path: str) -> dict[str, bytes]:
    """Member -> content, of exactly the members that a bundle has, none of them out of measure."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if any(name.endswith((".pkl", ".pickle")) for name in names):
            raise ModelError(_pickled(path))
        wanted = (MANIFEST, SPEC, *(() if GRAPH in names else (WEIGHTS,)))
        if missing := [name for name in wanted if name not in names]:
            raise KeyError(f"it has no {missing[0]}")
        extra = ", ".join(sorted(set(names) - {MANIFEST, SPEC, WEIGHTS, GRAPH}))
        if extra or len(names) > len(set(names)):
            raise ModelError(
                f"{path} holds files that no model has ({extra[:120] or 'one twice'}): get the"
                " model again"
            )
        for info in archive.infolist():
            _refuse_bomb(info, path)
        return {name: archive.read(name) for name in names}


def _refuse_bomb(info: zipfile.ZipInfo, path: str) -> None:
    if info.file_size > _LARGE and info.file_size > _MAX_RATIO * info.compress_size:
        raise ModelError(
            f"{path}: {info.filename} would unpack to {info.file_size >> 20} MiB from"
            f" {info.compress_size >> 10} KiB, which no model does: get the model again"
        )


def _pickled(path: str | Path) -> str:
    return (
        f"{path} holds a pickle, which would run code when read, and is refused:"
        " save the weights as a .geounet bundle (geounet.bundle.save_bundle)"
    )


def _pack(spec: ModelSpec, weights: bytes | None, graph: Graph | None) -> bytes:
    members = {SPEC: spec.to_json().encode()}
    if weights is not None:
        members[WEIGHTS] = weights
    version = FORMAT_VERSION if weights is not None else INT8_VERSION
    manifest: dict[str, Any] = {"format": FORMAT, "version": version}
    if graph is not None:
        members[GRAPH] = graph.onnx
        manifest["graph"] = {"stride": graph.stride, "halo": graph.halo}
        if graph.precision != "fp32":
            manifest["graph"]["precision"] = graph.precision
    manifest["sha256"] = {n: hashlib.sha256(data).hexdigest() for n, data in members.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {MANIFEST: json.dumps(manifest, indent=1).encode(), **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> Path:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
