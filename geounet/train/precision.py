"""How far bfloat16 gives the labels of float32."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geounet.bands import Normalizer
from geounet.bundle import SUFFIX, Bundle, load_bundle, save_bundle
from geounet.engine.torch import TorchEngine
from geounet.spec import ModelSpec
from geounet.tiling import mirror_index, round_up
from geounet.train.source import Chip, Source

MOST = 4 << 20
"""Pixels that go through the network at most, in each precision, with what lies around them. Where
bfloat16 is emulated, one takes about as long as three in training."""

_SIDE = 128  # pixels: of what is looked at in a chip


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How many labels are the same."""

    same: int
    """Pixels whose label is."""
    pixels: int
    """Pixels that were looked at."""

    @property
    def share(self) -> float | None:
        """Of the pixels; None: there was none."""
        return round(self.same / self.pixels, 6) if self.pixels else None


def agreement_of(
    spec: ModelSpec,
    state: Mapping[str, Tensor],
    source: Source,
    names: Sequence[str],
    *,
    half: bool = False,
    most: int = MOST,
) -> Agreement:
    """:func:`bf16_agreement` of a model that is not saved yet, on some of these chips.

    Args:
        spec: The model.
        state: Its weights.
        source: Where chips come from.
        names: Chips to choose from, spread over all of them.
        half: Whether the weights will be stored as float16.
        most: As there.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{spec.name}{SUFFIX}"
        bundle = load_bundle(save_bundle(path, spec, state, half=half))
    return bf16_agreement(bundle, source, names, most=most)


def bf16_agreement(
    bundle: Bundle, source: Source, names: Sequence[str], *, most: int = MOST
) -> Agreement:
    """Of the valid pixels in the middle of some of these chips, whose labels are the same in both.

    Measured with the engine that segments scenes, on the CPU.

    Args:
        bundle: The model.
        source: Where chips come from.
        names: Chips to choose from, spread over all of them.
        most: Pixels that may go through the network in each precision; one chip is looked at
            however few they are.
    """
    normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
    full, half = (
        TorchEngine(bundle, normalizer, device="cpu", precision=p) for p in ("fp32", "bf16")
    )
    same, total = 0, 0
    count = max(1, most // (round_up(_SIDE, full.stride) + 2 * full.halo) ** 2)
    for chip in map(_middle, source.chips(names[:: 1 + (len(names) - 1) // count])):
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
    return Agreement(same=same, pixels=total)


def _middle(chip: Chip) -> Chip:
    """A square around the middle of what is valid."""
    rows, cols = (
        _around(places, size)
        for places, size in zip(np.nonzero(chip.valid), chip.label.shape, strict=True)
    )
    return Chip(name=chip.name, image=chip.image[:, rows, cols], label=chip.label[rows, cols])


def _around(places: NDArray[np.intp], size: int) -> slice:
    middle = int(np.median(places)) if places.size else size // 2
    start = max(0, min(middle - _SIDE // 2, size - _SIDE))
    return slice(start, start + _SIDE)
