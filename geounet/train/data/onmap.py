"""Pairs that lie on the map, through torchgeo: its index, intersection and samplers.

What torchgeo 0.8 does that would hurt here, and what is done about it:

* Files on the same ground are merged, and the first one hides the others. Every image (in
  batches: every region of one) has a time of its own, so a query means exactly one.
* What lies outside of a file, of the polygons, or behind a mask comes as 0. Pixels are read by
  geounet's own readers, which know what is valid, as in ``segment``.
* The intersection with the label moves a scene's bounds off its own pixels, and patches would be
  resampled. The index is set to bounds that lie on pixels.
* A vector file is read anew for each patch. It is read once.
* ``RandomGeoSampler`` chooses the file with torch's global generator, whatever it is given, and
  skips files smaller than a patch. The first is seeded and put back, the second are padded. And
  it never draws the last of the possible places: bounds are a little less than a pixel larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
import torch
from odc.geo.geobox import GeoBox
from pyproj import CRS
from torch.utils.data import Dataset
from torchgeo.datasets import GeoDataset, IntersectionDataset, RasterDataset, VectorDataset
from torchgeo.samplers import GridGeoSampler, RandomGeoSampler, Units

from geounet.errors import DataError
from geounet.train.data.blocks import Block, counts, neighbourhood
from geounet.train.data.pair import Pair
from geounet.train.data.pairs import Content, PairSource, Region
from geounet.train.data.place import wkt
from geounet.train.data.polygons import Drawing
from geounet.window import Window

_EPOCH = np.datetime64("2000-01-01", "ns")
_DAY = np.timedelta64(1, "D")
_ALMOST = 0.999  # of a pixel


class _OnMap(GeoDataset):  # type: ignore[misc]
    """What its index finds is read by the pair's own readers."""

    pairs: Sequence[Pair]
    regions: Sequence[Region]

    def place(self, pairs: Sequence[Pair], regions: Sequence[Region], index: Any) -> Any:
        """A copy with another index; row ``i`` of it is region ``i``, at time ``i``."""
        other = copy(self)
        other.pairs, other.regions, other.index = pairs, regions, index
        return other

    def find(self, query: Any) -> tuple[Pair, Window, Window]:
        """Pair, window and region of a query."""
        x, y, t = query
        region = self.regions[int((t.start.to_datetime64() - _EPOCH) // _DAY)]
        pair = self.pairs[region.pair]
        return pair, pixels(pair.info.geobox, (x.start, y.start, x.stop, y.stop)), region.window


class _Images(_OnMap, RasterDataset):  # type: ignore[misc]
    """Scenes; NaN where there are no data."""

    def __getitem__(self, query: Any) -> dict[str, Any]:
        """``image`` (bands, height, width) float32."""
        pair, window, within = self.find(query)
        image = torch.from_numpy(pair.read_image(window, within))
        return {"crs": self.crs, "bounds": query, "image": image}


class _Labelled(_OnMap):
    def __getitem__(self, query: Any) -> dict[str, Any]:
        """``mask`` (height, width) int64."""
        pair, window, within = self.find(query)
        mask = torch.from_numpy(pair.read_label(window, within))
        return {"crs": self.crs, "bounds": query, "mask": mask}


class _Rasters(_Labelled, RasterDataset):  # type: ignore[misc]
    """Label rasters."""

    is_image = False


class _Polygons(_Labelled, VectorDataset):  # type: ignore[misc]
    """Label polygons."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """Pairs in one CRS with pixels of one size."""

    members: tuple[int, ...]
    """Indices of its pairs."""
    grids: tuple[GeoBox, ...]
    """Of each of them."""
    both: Any
    """IntersectionDataset of images and labels; row ``i`` is member ``i``."""


def sheets(
    pairs: Sequence[Pair], files: Sequence[tuple[Path, Path]], drawings: Sequence[Drawing | None]
) -> list[Sheet]:
    """The pairs by CRS and pixel size.

    Args:
        pairs: All with a CRS.
        files: Image and label of each.
        drawings: Of each that is labelled by polygons.

    Raises:
        DataError: torchgeo cannot read an image.
    """
    alike: dict[tuple[str, str], list[int]] = {}
    for i, pair in enumerate(pairs):
        grid = pair.info.geobox
        sizes = f"{abs(grid.affine.a):.6g} {abs(grid.affine.e):.6g}"  # 1e-14 is no other size
        alike.setdefault((wkt(grid), sizes), []).append(i)
    return [_sheet(own, pairs, files, drawings) for own in alike.values()]


def _sheet(
    members: Sequence[int],
    pairs: Sequence[Pair],
    files: Sequence[tuple[Path, Path]],
    drawings: Sequence[Drawing | None],
) -> Sheet:
    grids = [pairs[i].info.geobox for i in members]
    crs = CRS.from_wkt(wkt(grids[0]))
    res = abs(grids[0].affine.a), abs(grids[0].affine.e)
    regions = [Region(pair=i, window=pairs[i].info.window) for i in members]
    paths = [str(files[i][0]) for i in members]
    images = _Images(paths, crs=crs, res=res)
    if len(images) != len(set(paths)):
        raise DataError(f"torchgeo can read {len(images)} of {len(set(paths))} images only")
    index = _frame(images, [_box(g, r.window) for g, r in zip(grids, regions, strict=True)])
    drawing = drawings[members[0]]
    if drawing is None:
        # what is said of a label's place was checked when it was opened; some have none
        labels = _Rasters(paths, crs=crs, res=res)
    else:
        labels = _Polygons(
            sorted({str(files[i][1]) for i in members}),
            crs=crs,
            res=res,
            label_name=drawing.field,
            layer=drawing.layer,
        )
    both = IntersectionDataset(
        images.place(pairs, regions, index), labels.place(pairs, regions, index.copy())
    )
    return Sheet(members=tuple(members), grids=tuple(grids), both=both)


def ground_blocks(
    sheet: Sheet, together: Sequence[int], patch: int, pixels_in_all: int
) -> tuple[list[Block], dict[str, tuple[int, int]]]:
    """Scenes on the same ground, cut along the same lines by torchgeo's ``GridGeoSampler``.

    Args:
        sheet: To which they belong.
        together: Positions in the sheet.
        patch: Side of a training patch.
        pixels_in_all: Of all scenes that are cut, each ground once.

    Returns:
        The blocks, and for each name the neighbourhood that is kept together.
    """
    shapes = [_box(sheet.grids[k], _whole(sheet.grids[k])) for k in together]
    ground = shapely.union_all(shapes).envelope
    left, bottom, right, top = ground.bounds
    xres, yres = sheet.both.res
    rows, cols = counts(
        (round((top - bottom) / yres), round((right - left) / xres)), pixels_in_all, patch
    )
    part = copy(sheet.both)
    part.index = _frame(part, [ground])
    shrunk = 1 - 1e-9  # one that is larger by rounding would find no place
    size = (top - bottom) / rows * shrunk, (right - left) / cols * shrunk
    blocks, around = [], {}
    side = neighbourhood(rows * cols)
    for x, y, _ in GridGeoSampler(part, size, units=Units.CRS):
        row = rows - 1 - round((y.start - bottom) / size[0])
        col = round((x.start - left) / size[1])
        for k in together:
            grid = sheet.grids[k]
            found = pixels(grid, (x.start, y.start, x.stop, y.stop))
            window = found.intersect(_whole(grid))
            if row >= 0 and col < cols and window.size:
                i = sheet.members[k]
                name = f"{sheet.both.datasets[0].pairs[i].name}:{row}:{col}"
                blocks.append(Block(name=name, pair=i, row=row, col=col, window=window))
                around[name] = row // side, col // side
    return blocks, around


class MapSource(PairSource):
    """Scenes and chips with a CRS."""

    def __init__(self, content: Content, sheets: Sequence[Sheet]) -> None:
        super().__init__(content)
        self._sheets = tuple(sheets)
        self._sheet_of = {i: k for k, sheet in enumerate(sheets) for i in sheet.members}

    def _patches(
        self, places: Sequence[Region], side: int, count: int, seed: int
    ) -> Dataset[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        own: list[list[Region]] = [[] for _ in self._sheets]
        for place in places:
            own[self._sheet_of[place.pair]].append(place)
        area = np.array([sum(p.window.size for p in part) for part in own], float)
        numbers = rng.multinomial(count, area / area.sum())
        drawn: list[tuple[GeoDataset, Any]] = []
        for sheet, part, number in zip(self._sheets, own, numbers.tolist(), strict=True):
            if number:
                drawn += self._draw(sheet, part, side, number, int(rng.integers(2**31)))
        order = rng.permutation(count) if len(self._sheets) > 1 else range(count)
        return _Drawn([drawn[i] for i in order])

    def _draw(
        self, sheet: Sheet, places: Sequence[Region], side: int, count: int, seed: int
    ) -> list[tuple[GeoDataset, Any]]:
        pairs = self.content.pairs
        shapes = [_box(pairs[p.pair].info.geobox, _at_least(p.window, side)) for p in places]
        images, labels = sheet.both.datasets
        index = _frame(images, [_with_last(shape, sheet.both.res) for shape in shapes])
        part = copy(sheet.both)
        part.datasets = [images.place(pairs, places, index), labels.place(pairs, places, index)]
        part.index = index
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the sampler's own generator does not choose the region
            sampler = RandomGeoSampler(part, side, length=count)
            return [(part, query) for query in sampler]


class _Drawn(Dataset[dict[str, Any]]):
    """Queries, each with the dataset that answers it."""

    def __init__(self, drawn: Sequence[tuple[GeoDataset, Any]]) -> None:
        self._drawn = drawn

    def __len__(self) -> int:
        return len(self._drawn)

    def __getitem__(self, index: int) -> dict[str, Any]:
        dataset, query = self._drawn[index]
        found: dict[str, Any] = dataset[query]
        return found


def pixels(grid: GeoBox, bounds: tuple[float, float, float, float]) -> Window:
    """The window of a grid that bounds (left, bottom, right, top) in its CRS mean.

    torchgeo's queries are float coordinates that stand for whole pixels: they are rounded here and
    nowhere else.
    """
    into = ~grid.affine
    (c0, r0), (c1, r1) = into @ (bounds[0], bounds[1]), into @ (bounds[2], bounds[3])
    rows, cols = sorted((round(r0), round(r1))), sorted((round(c0), round(c1)))
    return Window.between(rows[0], cols[0], rows[1], cols[1])


def _frame(dataset: GeoDataset, shapes: Sequence[Any]) -> Any:
    """An index of torchgeo: each shape has half a day of its own."""
    begin = _EPOCH + np.arange(len(shapes)) * _DAY
    kind = type(dataset.index.index)  # pandas' IntervalIndex
    times = kind.from_arrays(begin, begin + _DAY // 2, closed="both", name="datetime")
    paths = [""] * len(shapes)
    return geopandas.GeoDataFrame(
        {"filepath": paths}, index=times, geometry=list(shapes), crs=dataset.crs
    )


def _box(grid: GeoBox, window: Window) -> Any:
    """The ground of a window."""
    x0, y0 = grid.affine @ (window.col_off, window.row_off)
    x1, y1 = grid.affine @ (window.col_end, window.row_end)
    return shapely.box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def _with_last(shape: Any, res: tuple[float, float]) -> Any:
    """Bounds in which torchgeo draws every place where a patch fits, and none beyond."""
    left, bottom, right, top = shape.bounds
    return shapely.box(left, bottom, right + _ALMOST * res[0], top + _ALMOST * res[1])


def _at_least(window: Window, side: int) -> Window:
    return Window(
        row_off=window.row_off,
        col_off=window.col_off,
        height=max(window.height, side),
        width=max(window.width, side),
    )


def _whole(grid: GeoBox) -> Window:
    return Window(row_off=0, col_off=0, height=int(grid.shape[0]), width=int(grid.shape[1]))
