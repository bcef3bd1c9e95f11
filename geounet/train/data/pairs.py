"""Pairs of images and labels as a source of chips and patches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from geounet.classes import ClassScheme
from geounet.errors import DataError
from geounet.train.data.blocks import Block, regions, worthwhile
from geounet.train.data.pair import Pair
from geounet.train.data.prefetch import PrefetchLoader
from geounet.train.source import Chip
from geounet.window import Window

_STRIDE = 32  # no network here halves a patch more often than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What the label of a chip holds."""

    classes: tuple[int, ...]
    """Pixels a class, in channel order."""
    ignored: int
    """Pixels that are neither trained on nor scored, by the label alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Content:
    """All that was found out about the data when they were opened."""

    pairs: tuple[Pair, ...]
    """In order of their names."""
    files: tuple[tuple[Path, Path], ...]
    """Image and label of each pair."""
    blocks: tuple[Block, ...]
    """The chips."""
    pixels: tuple[Pixels, ...]
    """Of each block."""
    groups: tuple[tuple[str, ...], ...]
    """Names of the blocks that must not be split."""
    bands: tuple[str, ...]
    """Names in channel order."""
    classes: ClassScheme
    """What is told apart."""
    notes: tuple[str, ...]
    """What the user must hear: how files were matched, read and grouped."""
    patch: int
    """Side of a training patch as it was asked for."""
    tagged: bool
    """Whether scale and offset come from tags or options: values are not as stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A rectangle of one image from which patches are cut."""

    pair: int
    """Which image."""
    window: Window
    """Patches show nothing outside of it."""


class PairSource(ABC):
    """A :class:`~geounet.train.source.Source` over pairs of files.

    Patches are cut from the largest rectangles that consist of the blocks asked for, and show
    nothing outside of them. Where all of those are smaller than a patch, patches are as large as
    the largest of them, rounded up to 32 pixels, and NaN beyond its edge.
    """

    def __init__(self, content: Content) -> None:
        self.content = content
        self._blocks = {block.name: block for block in content.blocks}
        self._pixels = dict(zip(self._blocks, content.pixels, strict=True))

    @property
    def bands(self) -> tuple[str, ...]:
        """Names in channel order."""
        return self.content.bands

    @property
    def classes(self) -> ClassScheme:
        """What the label's indices mean."""
        return self.content.classes

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of the chips that must not be split."""
        return self.content.groups

    @property
    def names(self) -> tuple[str, ...]:
        """Of all chips."""
        return tuple(self._blocks)

    def pixels(self, name: str) -> Pixels:
        """What the label of a chip holds, without reading it again."""
        return self._pixels[name]

    def position(self, name: str) -> tuple[int, int, int]:
        """Image, row and column of a chip."""
        block = self._blocks[name]
        return block.pair, block.row, block.col

    def size(self, name: str) -> int:
        """Pixels of a chip."""
        return self._blocks[name].window.size

    def named(self, text: str) -> tuple[str, ...]:
        """The chips that are meant by a chip's name, or by an image's name, stem or file."""
        if text in self._blocks:
            return (text,)
        stems = self._stems()
        key = text if text in stems else Path(text).stem
        return tuple(b.name for b in self.content.blocks if b.pair == stems.get(key))

    def chips(self, names: Sequence[str]) -> Iterator[Chip]:
        """See :meth:`geounet.train.source.Source.chips`."""
        for name in names:
            block = self._blocks[name]
            pair, window = self.content.pairs[block.pair], block.window
            yield Chip(
                name=name,
                image=pair.read_image(window, window),
                label=pair.read_label(window, window),
            )

    def batches(
        self, names: Sequence[str], *, size: int, batch: int, steps: int, seed: int
    ) -> DataLoader[dict[str, Any]]:
        """See :meth:`geounet.train.source.Source.batches`."""
        side = patch_side(size, self._regions(names, 1))
        places = self._regions(names, side)
        patches = self._patches(places, side, steps * batch, seed)
        # a generator of its own: the loop's random numbers do not depend on when data are read
        own = torch.Generator().manual_seed(seed)
        return PrefetchLoader(patches, batch_size=batch, generator=own, collate_fn=stack)

    @abstractmethod
    def _patches(
        self, places: Sequence[Region], side: int, count: int, seed: int
    ) -> Dataset[dict[str, Any]]:
        """``count`` random patches in a fixed order."""

    def cramped(self, names: Sequence[str]) -> float:
        """Share of the pixels of these chips that no whole patch can show."""
        places = self._regions(names, 1)
        side = patch_side(self.content.patch, places)
        inside: dict[int, list[Window]] = {}
        for place in places:
            if min(place.window.height, place.window.width) >= side:
                inside.setdefault(place.pair, []).append(place.window)
        blocks = [self._blocks[name] for name in names]
        lost = [
            block.window.size
            for block in blocks
            if not any(w.contains(block.window) for w in inside.get(block.pair, ()))
        ]
        return sum(lost) / sum(block.window.size for block in blocks)

    def _regions(self, names: Sequence[str], side: int) -> list[Region]:
        by_pair: dict[int, list[Block]] = {}
        for name in names:
            block = self._blocks[name]
            by_pair.setdefault(block.pair, []).append(block)
        places = [
            Region(pair=i, window=window)
            for i, own in by_pair.items()
            for window in worthwhile(regions(own), own, side)
        ]
        if not places:
            raise DataError("there is no chip to cut patches from: give at least one")
        return places

    def _stems(self) -> dict[str, int]:
        stems: dict[str, int] = {}
        for index, (pair, files) in enumerate(
            zip(self.content.pairs, self.content.files, strict=True)
        ):
            for text in (files[1].stem, files[0].stem, pair.name):
                stems[text] = index
        return stems


class PictureSource(PairSource):
    """Pictures without a place."""

    def _patches(
        self, places: Sequence[Region], side: int, count: int, seed: int
    ) -> Dataset[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        area = np.array([place.window.size for place in places], float)
        chosen = rng.choice(len(places), count, p=area / area.sum())
        shares = rng.random((count, 2))
        return _Cuts(self.content.pairs, places, side, chosen, shares)


class _Cuts(Dataset[dict[str, Any]]):
    """Squares of pictures, in a fixed order."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        places: Sequence[Region],
        side: int,
        chosen: NDArray[Any],
        shares: NDArray[np.float64],
    ) -> None:
        self._pairs, self._places, self._side = pairs, places, side
        self._chosen, self._shares = chosen, shares

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = self._places[self._chosen[index]]
        inside, (down, right) = place.window, self._shares[index]
        window = Window(
            row_off=inside.row_off + int(down * max(1, inside.height - self._side + 1)),
            col_off=inside.col_off + int(right * max(1, inside.width - self._side + 1)),
            height=self._side,
            width=self._side,
        )
        return sample(self._pairs[place.pair], window, inside)


def sample(pair: Pair, window: Window, within: Window) -> dict[str, Any]:
    """``image`` and ``mask`` of a patch."""
    return {
        "image": torch.from_numpy(pair.read_image(window, within)),
        "mask": torch.from_numpy(pair.read_label(window, within)),
    }


def patch_side(size: int, places: Sequence[Region]) -> int:
    """Side of a patch: ``size``, or what the largest region can fill, rounded up to 32."""
    largest = max(min(place.window.height, place.window.width) for place in places)
    return min(size, -(-largest // _STRIDE) * _STRIDE)


def stack(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch."""
    return {key: torch.stack([s[key] for s in samples]) for key in ("image", "mask")}
