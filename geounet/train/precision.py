"""How far bfloat16 gives the labels of float32, and one engine those of another."""

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
from geounet.engine import ModelEngine
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
    largest: float
    """The largest difference between two logits."""

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

    Measured with the torch engine, on the CPU.

    Args:
        bundle: The model.
        source: Where chips come from.
        names: Chips to choose from, spread over all of them.
        most: Pixels that may go through the network in each precision; one chip is looked at
            however few they are.
    """
    full, half = (_torch_engine(bundle, precision) for precision in ("fp32", "bf16"))
    return compared(full, half, source, names, most=most)


def openvino_agreement(
    bundle: Bundle, source: Source, names: Sequence[str], *, most: int = MOST
) -> Agreement:
    """The same for the torch and the OpenVINO engine, both in float32 on the CPU.

    Args:
        bundle: The model, with a graph.
        source: As there.
        names: As there.
        most: As there.
    """
    from geounet.engine.openvino import OpenVinoEngine

    other = OpenVinoEngine(bundle, Normalizer.of(bundle.spec.bands, bundle.spec.clip))
    return compared(_torch_engine(bundle, "fp32"), other, source, names, most=most)


def _torch_engine(bundle: Bundle, precision: str) -> TorchEngine:
    normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
    return TorchEngine(bundle, normalizer, device="cpu", precision=precision)


def compared(
    one: ModelEngine,
    other: ModelEngine,
    source: Source,
    names: Sequence[str],
    *,
    most: int = MOST,
) -> Agreement:
    """How far two engines of one model agree in the middle of some of these chips.

    Args:
        one: The first.
        other: The second.
        source: Where chips come from.
        names: Chips to choose from, spread over all of them.
        most: Pixels that may go through each; one chip is looked at however few they are.
    """
    same, total, largest = 0, 0, 0.0
    count = max(1, most // (round_up(_SIDE, one.stride) + 2 * one.halo) ** 2)
    for chip in map(_middle, source.chips(names[:: 1 + (len(names) - 1) // count])):
        tile, valid = _tile(chip, one)
        height, width = chip.label.shape
        inner = slice(one.halo, one.halo + height), slice(one.halo, one.halo + width)
        first, second = (e.logits(tile, valid)[0, :, *inner] for e in (one, other))
        equal = (first.argmax(0) == second.argmax(0))[chip.valid]
        same, total = same + int(np.count_nonzero(equal)), total + equal.size
        difference = np.abs(first - second)[:, chip.valid]
        largest = max(largest, float(difference.max(initial=0)))
    return Agreement(same=same, pixels=total, largest=largest)


def _tile(chip: Chip, engine: ModelEngine) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A whole chip, mirrored, as one minibatch."""
    rows, cols = (
        mirror_index(-engine.halo, round_up(size, engine.stride) + engine.halo, size)
        for size in chip.label.shape
    )
    return chip.image[:, rows][:, :, cols][None], chip.valid[rows][:, cols][None]


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
