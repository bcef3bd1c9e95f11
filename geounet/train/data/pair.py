"""One image with its label, read by windows through the cache of decoded pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.scene import SceneInfo, SceneReader
from geounet.train.data.cache import Arrays, Cache
from geounet.train.data.codes import UNLABELLED, LabelCodes
from geounet.train.data.labels import Labels
from geounet.train.source import IGNORE
from geounet.window import Window

_WHOLE = 64 << 20  # bytes of an image that is decoded as a whole
_TILE = 512  # pixels, of what is not


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaling:
    """Stored value to the model's unit."""

    scale: NDArray[np.float32]
    """(bands, 1, 1): multiplies the stored value."""
    offset: NDArray[np.float32]
    """(bands, 1, 1): added after that."""

    @property
    def nothing(self) -> bool:
        """Whether values stay as they are stored."""
        return bool((self.scale == 1).all() and (self.offset == 0).all())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """An image and its label on the same grid.

    Nothing is decoded twice while it is in the cache: images up to 64 MB as a whole (their file is
    closed again), larger ones in squares of 512 pixels.
    """

    name: str
    """Key by which image and label were matched."""
    image: SceneReader
    """What is read."""
    bands: tuple[int, ...]
    """1-based, in channel order."""
    scaling: Scaling
    """To the model's unit."""
    labels: Labels
    """What is learnt."""
    codes: LabelCodes
    """What their values mean."""
    cache: Cache
    """Shared by all pairs."""

    @property
    def info(self) -> SceneInfo:
        """The header of the image."""
        return self.image.info

    def read_image(self, window: Window, within: Window) -> NDArray[np.float32]:
        """(bands, height, width) in the model's unit.

        NaN in all bands where there are no data, and outside of ``within``; the window may reach
        outside of the image.
        """
        shape = (len(self.bands), window.height, window.width)
        out = np.full(shape, np.nan, np.float32)
        for tile, part in self._tiles(window, within):
            data, valid = self.cache.get(("image", id(self), tile), partial(self._image, tile))
            rows, cols = part.relative_to(tile).slices
            to = (slice(None), *part.relative_to(window).slices)
            out[to] = data[:, rows, cols]
            if not self.scaling.nothing:
                out[to] = out[to] * self.scaling.scale + self.scaling.offset
            if valid.size and not (inside := valid[rows, cols]).all():
                out[to][:, ~inside] = np.nan
        return out

    def read_label(self, window: Window, within: Window) -> NDArray[np.int64]:
        """(height, width): channel, or :data:`~geounet.train.source.IGNORE`, as outside."""
        out = np.full((window.height, window.width), IGNORE, np.int64)
        for tile, part in self._tiles(window, within):
            (label,) = self.cache.get(("label", id(self), tile), partial(self._label, tile))
            rows, cols = part.relative_to(tile).slices
            out[part.relative_to(window).slices] = _CHANNEL[label[rows, cols]]
        return out

    def _tiles(self, window: Window, within: Window) -> Iterator[tuple[Window, Window]]:
        """Tiles of the image, and what of the window lies in them."""
        wanted = window.intersect(within).intersect(self.info.window)
        if not wanted.size:
            return
        if self._is_small:
            yield self.info.window, wanted
            return
        for row in range(wanted.row_off // _TILE * _TILE, wanted.row_end, _TILE):
            for col in range(wanted.col_off // _TILE * _TILE, wanted.col_end, _TILE):
                tile = Window(row_off=row, col_off=col, height=_TILE, width=_TILE)
                tile = tile.intersect(self.info.window)
                yield tile, wanted.intersect(tile)

    @property
    def _is_small(self) -> bool:
        info = self.info
        itemsize = max(np.dtype(info.bands[b - 1].dtype).itemsize for b in self.bands)
        return info.height * info.width * len(self.bands) * itemsize <= _WHOLE

    def _image(self, tile: Window) -> Arrays:
        raster = self.image.read(tile, self.bands)
        if self._is_small:  # thousands of open files are more than a process may have
            self.image.close()
        data = raster.data
        if data.dtype == np.float64:  # the network's input is float32
            with np.errstate(over="ignore"):
                data = data.astype(np.float32)
        return data, np.empty(0, bool) if raster.valid.all() else raster.valid

    def _label(self, tile: Window) -> Arrays:
        values, valid = self.labels.read(tile)
        if self._is_small:
            self.labels.close()
        return (self.codes.index(values, valid),)


def _channels() -> NDArray[np.int64]:
    table = np.arange(256, dtype=np.int64)
    table[UNLABELLED] = IGNORE
    return table


_CHANNEL: NDArray[Any] = _channels()
