"""Post-training quantisation with NNCF, on the ONNX graph of a bundle.

The graph that comes out holds INT8 weights between ``DequantizeLinear`` and activations between
``QuantizeLinear`` and ``DequantizeLinear``, as any runtime reads them: Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference".
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.bundle import Bundle
from geounet.errors import DependencyError
from geounet.graph import IMAGE, Graph
from geounet.quantize.folding import fold_batch_norms
from geounet.untold import untold

NEEDED = ("nncf", "onnx", "onnxruntime")
"""What ``geounet[quantize]`` brings."""


def check_installed() -> None:
    """See that what quantises is there, before anything is read.

    Raises:
        DependencyError: It is not.
    """
    if absent := [name for name in NEEDED if not _has(name)]:
        raise DependencyError(
            f"quantising needs packages that are not installed ({', '.join(absent)}): pip install"
            ' "geounet[quantize]"'
        )


def float_model(bundle: Bundle, graph: Graph) -> Any:
    """The graph with its weights inside, batch norms folded, and a name for each node."""
    import onnx

    model = onnx.load_from_string(graph.onnx)
    weights = fold_batch_norms(model.graph, bundle.tensors())
    for value in [v for v in model.graph.input if v.name != IMAGE]:
        model.graph.input.remove(value)
        held = onnx.numpy_helper.from_array(weights[value.name], value.name)
        model.graph.initializer.append(held)
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def int8_graph(
    model: Any, images: Iterable[NDArray[np.float32]], count: int, floats: Sequence[str]
) -> bytes:
    """Quantise a model.

    Weights have a scale for each channel, activations one for all and a zero point. Weights take
    half of the range of INT8: CPUs without VNNI add pairs of products in 16 bits, which would
    overflow, so that a model would give other labels on them than on newer ones.

    Args:
        model: See :func:`float_model`; it may be changed.
        images: (1, bands, height, width), normalised; gone through more than once.
        count: How many there are.
        floats: Names of the nodes that stay in float32.

    Returns:
        An ONNX model with the same ends.
    """
    nncf = _library()
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters

    with _quiet():
        made = nncf.quantize(
            model,
            nncf.Dataset(images, lambda image: {IMAGE: image}),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=count,
            ignored_scope=nncf.IgnoredScope(names=list(floats)),
            advanced_parameters=AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE
            ),
        )
    del made.metadata_props[:]
    return bytes(made.SerializeToString(deterministic=True))


def _has(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # it was made impossible to import
        return False


def _library() -> Any:
    with untold():
        import nncf
    return nncf


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without NNCF's bars and lines on stdout, which is for results."""
    log = logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
