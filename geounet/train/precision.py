"""How far bfloat16 gives the labels of float32."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from geounet.bands import Normalizer
from geounet.bundle import SUFFIX, Bundle, load_bundle, save_bundle
from geounet.engine.torch import TorchEngine
from geounet.spec import ModelSpec
from geounet.tiling import mirror_index, round_up
from geounet.train.source import Source

_CHIPS = 12  # at most


def agreement_of(
    spec: ModelSpec,
    state: Mapping[str, Tensor],
    source: Source,
    names: Sequence[str],
    *,
    half: bool = False,
) -> float:
    """:func:`bf16_agreement` of a model that is not saved yet, on some of these chips.

    Args:
        spec: The model.
        state: Its weights.
        source: Where chips come from.
        names: Chips to choose from, spread over all of them.
        half: Whether the weights will be stored as float16.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{spec.name}{SUFFIX}"
        bundle = load_bundle(save_bundle(path, spec, state, half=half))
    return bf16_agreement(bundle, source, names[:: 1 + len(names) // _CHIPS])


def bf16_agreement(bundle: Bundle, source: Source, names: Sequence[str]) -> float:
    """Share of the valid pixels of these chips whose label is the same in both precisions.

    Measured with the engine that segments scenes, on the CPU.
    """
    normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
    full, half = (
        TorchEngine(bundle, normalizer, device="cpu", precision=p) for p in ("fp32", "bf16")
    )
    same, total = 0, 0
    for chip in source.chips(names):
        rows, cols = (
            mirror_index(-full.halo, round_up(size, full.stride) + full.halo, size)
            for size in chip.label.shape
        )
        tile = chip.image[:, rows][:, :, cols][None]
        valid = chip.valid[rows][:, cols][None]
        one, other = (e.predict(tile, valid, confidence=False).labels[0] for e in (full, half))
        height, width = chip.label.shape
        equal = (one == other)[:height, :width][chip.valid]
        same, total = same + int(np.count_nonzero(equal)), total + equal.size
    return same / max(1, total)
