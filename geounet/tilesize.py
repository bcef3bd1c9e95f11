"""How large a tile may be: a larger one wastes less on its halo, and takes more memory."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from geounet.errors import OptionError
from geounet.spec import ModelSpec

if TYPE_CHECKING:
    from geounet.bundle import Bundle
    from geounet.engine import ModelEngine

DEFAULT_TILE: Mapping[str, int] = {"cpu": 1024, "cuda": 2048, "mps": 1024}
"""Side of a core by kind of device; on a CPU where nothing is known of the network."""

BLEND_TILE: Mapping[str, int] = {"cpu": 512, "cuda": 1024, "mps": 512}
"""The same where tiles are blended: such a network looks at the whole tile, and was trained on
smaller ones; and a row of tiles is held as float32 probabilities."""

BYTES = 850e6
"""What network, weights and strips may take. With all else a run then stays below 1.2 GB beyond the
interpreter."""

_LEAST, _LEAST_OF_WIDE, _MOST, _STEP = 256, 640, 4096, 64
_FLOAT = 4
_MAPS = 4.7
"""Of the first level in memory: two that meet, those that become of them, and what is left over."""
_WEIGHTS = 8  # as they were read, and as they are compiled: transformed, for fewer operations
_STRIPS = 2.7
"""Strips in memory: one that is computed, the next one, and rows that are read."""


def fixed_tile(side: int, halo: int, bundle: Bundle, asked: int | None) -> int:
    """Side of a core, where the network takes images of one size alone.

    Raises:
        OptionError: Another was asked for.
    """
    if asked is not None:
        raise OptionError(
            f"--tile {asked}: {bundle.path} takes {side} x {side} pixels alone: leave it out"
        )
    return side - 2 * halo


def best_tile(engine: ModelEngine, bundle: Bundle, *, width: int, itemsize: int) -> int:
    """Side of a core that is best on the engine's device.

    Args:
        engine: What computes.
        bundle: The model that it runs.
        width: Of the scene, in pixels.
        itemsize: Bytes of a stored value.
    """
    kind = engine.device.partition(":")[0]
    if engine.seam != "exact":
        return BLEND_TILE[kind]
    if kind != "cpu":
        return DEFAULT_TILE[kind]
    found = largest_tile(
        bundle.spec, halo=engine.halo, stride=engine.stride, width=width,
        itemsize=itemsize, weights=len(bundle.weights or b""),
    )  # fmt: skip
    return found or DEFAULT_TILE[kind]


def largest_tile(
    spec: ModelSpec,
    *,
    halo: int,
    stride: int,
    width: int,
    itemsize: int,
    weights: int = 0,
    limit: float | None = None,
) -> int | None:
    """Side of the largest core that keeps a run within its memory.

    What the network takes is told from its first level, where images are largest. For U-Nets of
    width 8 and 32 with seven bands this says 194 and 646 bytes a pixel; 180 and 641 were measured,
    with OpenVINO, on scenes 4096 pixels wide. Of a very wide scene the strips alone may take more
    than the limit, as tiles of less than 640 pixels would take much longer.

    Args:
        spec: The model.
        halo: Context around a core.
        stride: What sides are multiples of.
        width: Of the scene, in pixels.
        itemsize: Bytes of a stored value.
        weights: Bytes of them.
        limit: Bytes; None: :data:`BYTES`, or a quarter of the memory of a small machine.

    Returns:
        Pixels; None where nothing is known of the network.
    """
    if spec.arch.width is None:
        return None
    limit = min(BYTES, _memory() / 4) if limit is None else limit
    limit = max(limit - _WEIGHTS * weights, limit / 8)
    pixel = _FLOAT * (_MAPS * spec.arch.width + len(spec.bands) + 2 * len(spec.classes))
    row = _STRIPS * (width + 2 * halo) * len(spec.bands) * itemsize
    alone = math.sqrt(limit / pixel) - 2 * halo
    # pixel * side**2 + row * side = limit
    both = (math.sqrt(row * row + 4 * pixel * limit) - row) / (2 * pixel) - 2 * halo
    step = math.lcm(stride, _STEP)
    side = int(max(both, min(alone, _LEAST_OF_WIDE))) // step * step
    return min(max(side, _LEAST), _MOST)


def _memory() -> float:
    """Bytes of memory that the machine has, where the system tells."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf
