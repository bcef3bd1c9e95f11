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
_MAPS: Mapping[tuple[str, bool], float] = {
    ("openvino", True): 3.4,
    ("openvino", False): 4.7,
    ("torch", True): 7.5,
    ("torch", False): 10.0,
}
"""Of the first level in memory, by engine, and by whether it is a U-Net, whose decoder leaves out
the halo: maps that are needed at once, and, with torch, what the heap keeps for later ones
(:func:`geounet.heap.reused`)."""
_WEIGHTS = 4  # as they were read, and as they are compiled: transformed, for fewer operations
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
    weights = len(bundle.weights or b"")
    found = largest_tile(engine, bundle.spec, width=width, itemsize=itemsize, weights=weights)
    return found or DEFAULT_TILE[kind]


def largest_tile(
    engine: ModelEngine,
    spec: ModelSpec,
    *,
    width: int,
    itemsize: int,
    weights: int = 0,
    limit: float | None = None,
) -> int | None:
    """Side of the largest core that keeps a run within its memory.

    What the network takes is told from its first level, where images are largest. For U-Nets of
    width 8 and 32 with seven and six bands this says 153 and 491 bytes a pixel with OpenVINO, 284
    and 1016 with torch, halo included; 134, 487, 280 and 865 were measured. Of a very wide scene
    the strips alone may take more than the limit, as tiles of less than 640 pixels would take much
    longer.

    Args:
        engine: What computes.
        spec: The model that it runs.
        width: Of the scene, in pixels.
        itemsize: Bytes of a stored value.
        weights: Bytes of them.
        limit: Bytes; None: :data:`BYTES`, or a quarter of the memory of a small machine.

    Returns:
        Pixels; None where nothing is known of the network.
    """
    if spec.arch.width is None:
        return None
    halo, unet = engine.halo, spec.arch.name == "unet"
    limit = min(BYTES, _memory() / 4) if limit is None else limit
    limit = max(limit - _WEIGHTS * weights, limit / 8)
    pixel = _FLOAT * (
        _MAPS[engine.name, unet] * spec.arch.width + len(spec.bands) + 2 * len(spec.classes)
    )
    row = _STRIPS * (width + 2 * halo) * len(spec.bands) * itemsize
    alone = math.sqrt(limit / pixel) - 2 * halo
    # pixel * side**2 + row * side = limit
    both = (math.sqrt(row * row + 4 * pixel * limit) - row) / (2 * pixel) - 2 * halo
    step = math.lcm(engine.stride, _STEP)
    side = int(max(both, min(alone, _LEAST_OF_WIDE))) // step * step
    return min(max(side, _LEAST), _MOST)


def _memory() -> float:
    """Bytes of memory that the machine has, where the system tells."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf
