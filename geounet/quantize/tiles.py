"""Tiles of scenes: some to calibrate on, others to measure the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.errors import SceneError
from geounet.evaluate import class_band, read_codes
from geounet.fit import Fit
from geounet.scene import SceneReader
from geounet.tiling import Tile, TileGrid, mirror_index
from geounet.window import Window

SIDE = 256
"""Of a core, in pixels."""
CALIBRATION, HELD_OUT = 64, 128
"""Tiles of all scenes together; more where there are more scenes, so that each has a say."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A scene, ready for the model, and its labels."""

    fit: Fit
    """What is read, and how it is normalised."""
    grid: TileGrid
    """How it is cut."""
    labels: SceneReader | None
    """One band of class codes on the same grid; None: there are none."""

    def read(self, tile: Tile) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Stored values (bands, height, width) and valid (height, width), halo included.

        As in a run: what lies outside the scene is mirrored.
        """
        info, window = self.fit.scene.info, tile.read
        rows = mirror_index(window.row_off, window.row_end, info.height)
        cols = mirror_index(window.col_off, window.col_end, info.width)
        corner = int(rows.min()), int(cols.min())
        need = Window.between(*corner, int(rows.max()) + 1, int(cols.max()) + 1)
        raster = self.fit.scene.read(need, self.fit.bands)
        there, across = np.ix_(rows - corner[0], cols - corner[1])
        return raster.data[:, there, across], raster.valid[there, across]

    def image(self, tile: Tile) -> NDArray[np.float32]:
        """(1, bands, height, width) of the core alone, normalised."""
        data, valid = self.read(tile)
        inner = slice(self.grid.halo, -self.grid.halo or None)
        return np.ascontiguousarray(
            self.fit.normalizer(data[:, inner, inner], valid[inner, inner])[None]
        )

    def valid(self, tile: Tile) -> NDArray[np.bool_]:
        """(height, width) of the core."""
        return self.fit.scene.read(tile.core, self.fit.bands).valid

    def codes(self, tile: Tile) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Labels of the core, and where there are any."""
        assert self.labels is not None  # noqa: S101  for the type checker
        return read_codes(self.labels, tile.core, class_band(self.labels.info))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """A tile of a source."""

    source: Source
    """Which."""
    tile: Tile
    """Where."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """What the network gets in tiles, read anew each time."""

    places: Sequence[Place]
    """The tiles."""

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (place.source.image(place.tile) for place in self.places)

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Two sets of tiles whose cores share no pixel."""

    calibration: list[Place]
    """To calibrate on; no pixel outside their cores is looked at."""
    held_out: list[Place]
    """To measure the loss on."""


def draw(sources: Sequence[Source], seed: int) -> Split:
    """Draw tiles with a valid pixel from all scenes in turn, half and half until one set is full.

    Raises:
        SceneError: There are not two of them.
    """
    most = [max(count, len(sources)) for count in (CALIBRATION, HELD_OUT)]
    sets: tuple[list[Place], list[Place]] = [], []
    for place, which in _drawn(sources, seed):
        full = [len(some) >= count for some, count in zip(sets, most, strict=True)]
        if all(full):
            break
        sets[1 - which if full[which] else which].append(place)
    if not all(sets):
        raise SceneError(
            f"{len(sets[0]) + len(sets[1])} tile of {SIDE} x {SIDE} pixels has valid pixels, and"
            " two are needed, one to calibrate on and one to measure: give more scenes"
        )
    return Split(calibration=sets[0], held_out=sets[1])


def _drawn(sources: Sequence[Source], seed: int) -> Iterator[tuple[Place, int]]:
    """Places in random order, and 0 and 1 in turn, also where each scene has but one tile."""
    rng = np.random.default_rng(seed)
    queues = {k: _usable(source, rng) for k, source in enumerate(sources)}
    turn = 0
    while queues:
        for k in list(queues):
            place = next(queues[k], None)
            if place is None:
                del queues[k]
            else:
                yield place, (turn + k) % 2
        turn += 1


def _usable(source: Source, rng: np.random.Generator) -> Iterator[Place]:
    tiles = [tile for row in range(source.grid.rows) for tile in source.grid.tiles(row)]
    for i in rng.permutation(len(tiles)):
        if source.valid(tiles[i]).any():
            yield Place(source=source, tile=tiles[i])
