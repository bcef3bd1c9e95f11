"""How far bfloat16 gives the labels of float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geounet.bands import Normalizer
from geounet.bundle import Bundle
from geounet.engine.torch import TorchEngine
from geounet.tiling import mirror_index, round_up
from geounet.train.source import Source


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
