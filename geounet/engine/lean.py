"""A U-Net's graph whose decoder computes the core and hardly more."""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.engine.runtime import ops, ov
from geounet.margins import decoder_margins

_PASSING = {"Add", "Convert", "FakeQuantize", "Multiply", "Subtract"}
"""Between an upsampling and its concatenation: a bias, and what INT8 adds."""


def cropped(x: Any, margin: int) -> Any:
    """Without ``margin`` pixels on each side of height and width."""
    if margin == 0:
        return x
    start, stop, step, axes = [margin] * 2, [-margin] * 2, [1, 1], [2, 3]
    return ops.slice(x, *(np.array(v, np.int64) for v in (start, stop, step, axes)))


def cut_decoder(model: ov.Model, depth: int, halo: int) -> int:
    """Cut what :func:`geounet.margins.decoder_margins` calls superfluous, in place.

    Args:
        model: Of a U-Net.
        depth: Its number of poolings.
        halo: Pixels of context around the core; at least its radius.

    Returns:
        Pixels of context that are left in its result; ``halo`` where the graph has not the joints
        of such a U-Net, or the halo is less than its decoder needs, and it is left as it is.
    """
    joints = [joint for node in model.get_ordered_ops() if (joint := _joint(node)) is not None]
    margins, have = decoder_margins(depth), halo >> depth
    short = any(halo >> level < margin for level, margin in enumerate(margins))
    if len(joints) != depth or short or have < margins[-1] // 2:
        return halo
    for level, (up, concat) in zip(reversed(range(depth)), joints, strict=True):
        margin = margins[level]
        _crop_input(up, have - margin // 2)
        _crop_input(concat, (halo >> level) - margin)
        have = margin
    model.validate_nodes_and_infer_types()
    return have


def _joint(node: Any) -> tuple[Any, Any] | None:
    """An upsampling and the node that puts it beside a skip."""
    if node.get_type_name() != "Concat" or node.get_input_size() != 2:
        return None
    up = node.input_value(1).get_node()
    while up.get_type_name() in _PASSING:
        up = up.input_value(0).get_node()
    return (up, node) if up.get_type_name() == "ConvolutionBackpropData" else None


def _crop_input(node: Any, margin: int) -> None:
    """Crop what a node takes first."""
    if margin:
        node.input(0).replace_source_output(cropped(node.input_value(0), margin).output(0))
