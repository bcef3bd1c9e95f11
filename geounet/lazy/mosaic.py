"""A window of a scene that comes in pieces, as the strips of tiles that an engine takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.feed import Feed, Wanted
from geounet.lazy.layout import Layout, Share
from geounet.scene.memory import native, valid_of
from geounet.tiling import TileGrid, mirror_index
from geounet.window import Window


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mosaic:
    """Pieces that cover the source of a share."""

    places: Sequence[Window]
    """Where each piece lies in the scene."""
    pieces: Sequence[NDArray[Any]]
    """(bands, height, width) each, stored values in any byte order."""
    nodata: Sequence[float | None]
    """The stored value that means nodata, one a band."""

    def sample(self, pixels: int) -> NDArray[Any]:
        """Valid stored values (bands, n), evenly spread, of about so many pixels or all."""
        step = max(1, int((sum(place.size for place in self.places) / pixels) ** 0.5))
        found = []
        for piece in self.pieces:
            data = native(piece[:, ::step, ::step])
            found.append(data[:, valid_of(data, self.nodata)])
        return np.concatenate(found, axis=1)

    def feeds(
        self, layout: Layout, share: Share, grid: TileGrid, wanted: Wanted | None
    ) -> Iterator[Feed]:
        """What :class:`~geounet.feed.StripFeeder` gives, for the part of a share.

        Windows are counted from the corner of the part; what lies beyond it is not mirrored there,
        but at the edges of the scene.
        """
        spread = 0 if layout.seam == "exact" else grid.halo
        for row in range(grid.rows):
            window = grid.strip(row).grow(spread).intersect(grid.scene)
            asked = True if wanted is None else wanted(_moved(window, share.part))
            origin = grid.reads(row)
            have = share.source
            if not layout.whole:  # as StripFeeder reads it
                strip = _moved(grid.strip(row), share.part).grow(grid.halo)
                have = Window.between(
                    strip.row_off, have.col_off, strip.row_end, have.col_end
                ).intersect(have)
            data = self._mirrored(_moved(origin, share.part), layout, have)
            valid = valid_of(data, self.nodata)
            inside = valid[window.relative_to(origin).slices] & asked
            yield Feed(
                row=row,
                window=window,
                valid=inside,
                data=data if inside.any() else None,
                padded_valid=valid,
                origin=origin,
            )

    def _mirrored(self, window: Window, layout: Layout, have: Window) -> NDArray[Any]:
        """(bands, height, width) of a window that may reach beyond the scene, made of ``have``.

        What cannot be, because it only fills up the stride, is whatever is nearest.
        """
        rows = mirror_index(window.row_off, window.row_end, layout.height)
        cols = mirror_index(window.col_off, window.col_end, layout.width)
        rows = rows.clip(have.row_off, have.row_end - 1)
        cols = cols.clip(have.col_off, have.col_end - 1)
        hull = Window.between(
            int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1
        )
        data = self._joined(hull)
        return _taken(_taken(data, rows - hull.row_off, 1), cols - hull.col_off, 2)

    def _joined(self, window: Window) -> NDArray[Any]:
        """(bands, height, width) of a window of the source; a view where one piece holds it."""
        shown = [(place.intersect(window), place, piece) for place, piece in self]
        shown = [(part, place, piece) for part, place, piece in shown if part.size]
        cuts = [(part, _cut(piece, part, place)) for part, place, piece in shown]
        if len(cuts) == 1:
            return native(cuts[0][1])
        first = cuts[0][1]
        out = np.empty((len(first), window.height, window.width), first.dtype.newbyteorder("="))
        for part, cut in cuts:
            out[:, *part.relative_to(window).slices] = cut
        return out

    def __iter__(self) -> Iterator[tuple[Window, NDArray[Any]]]:
        return zip(self.places, self.pieces, strict=True)


def _cut(piece: NDArray[Any], part: Window, place: Window) -> NDArray[Any]:
    cut: NDArray[Any] = piece[:, *part.relative_to(place).slices]
    return cut


def _taken(data: NDArray[Any], index: NDArray[np.intp], axis: int) -> NDArray[Any]:
    """Data at an index; as they are where it is every one in its order."""
    if np.array_equal(index, np.arange(data.shape[axis])):
        return data
    return data.take(index, axis)


def _moved(window: Window, origin: Window) -> Window:
    """From pixels of a part to those of the scene."""
    return Window(
        row_off=window.row_off + origin.row_off,
        col_off=window.col_off + origin.col_off,
        height=window.height,
        width=window.width,
    )
