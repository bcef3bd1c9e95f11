"""A lazy array of labels, in the chunks of the scene.

Two designs were weighed. Dask's ``map_overlap`` repeats the pixel at the edge where law 3 mirrors,
rechunks what is smaller than the halo, and lets tiles begin off the network's stride. So a block is
one task here, which names what it needs, in whatever chunks: its own whole, of others a slice. That
is a task, too, so that slices and not chunks travel between workers; no more is copied or moved.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import shapely
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

import geounet
from geounet.aoi import AreaOfInterest
from geounet.bundle import Bundle
from geounet.choose import choose_model
from geounet.classes import NODATA
from geounet.engine import ModelEngine
from geounet.errors import DeviceError, OptionError
from geounet.fit import Fit
from geounet.labels import labels_array
from geounet.lazy.block import Recipe, segment_block
from geounet.lazy.layout import Layout, split
from geounet.options import Progress, SegmentOptions
from geounet.pool import EngineRecipe, engines_of
from geounet.scene import XarrayScene
from geounet.tilesize import BLEND_TILE, fixed_tile
from geounet.tiling import round_up
from geounet.warn import warn_caller, warn_of_place
from geounet.window import Window

if TYPE_CHECKING:
    import xarray as xr

WASTE = 0.3
"""Share of the work from which chunks are called too small."""

_LOG = logging.getLogger("geounet")


def segment_lazily(
    scene: XarrayScene, options: SegmentOptions, *, progress: Progress | None = None
) -> xr.DataArray:
    """Labels of an array of Dask's, of which not a pixel is read before they are asked for.

    Law: they are those of the same array in memory, whatever its chunks. The same scene, model and
    options have the same keys.

    What can only be seen from the values is checked in each block when it is computed; a scene
    without a valid pixel is all nodata.

    Returns:
        As :func:`geounet.labels.labels_array`, in the scene's chunks of y and x.

    Raises:
        OptionError: An option of files, of which labels have no use.
        GeounetError: As :func:`geounet.segment`, but for what only values tell.
    """
    _refuse(options, progress)
    bundle, fit = choose_model(scene, options, _LOG.info, look=False)
    recipe = _recipe(fit, bundle, options)
    info = scene.info
    wanted = None if options.aoi is None else AreaOfInterest.read(options.aoi, info.geobox)
    source = _bands(scene.array.data, fit.bands)
    _warn_of_waste(recipe.layout, scene)
    warn_of_place(fit, bundle, warn_caller)
    labels = _Graph(source, recipe, wanted).array()
    return labels_array(labels, info.geobox, bundle.spec, like=scene)


def _refuse(options: SegmentOptions, progress: Progress | None) -> None:
    given = {
        "polygons": options.polygons is not True and bool(options.polygons),
        "simplify": options.simplify is not None,
        "smooth": options.smooth,
        "confidence": options.confidence,
        "overwrite": options.overwrite,
        "progress": progress is not None,
    }
    if names := [name for name, is_given in given.items() if is_given]:
        raise OptionError(
            f"{', '.join(names)}: a Dask array becomes a lazy array of labels alone: leave that"
            " out, or write files at once with out='labels.tif'"
        )


def _recipe(fit: Fit, bundle: Bundle, options: SegmentOptions) -> Recipe:
    info = fit.scene.info
    engine = EngineRecipe.of(fit.normalizer, bundle, options)
    here = _engine_here(engine)
    layout = Layout(
        height=info.height,
        width=info.width,
        halo=here.halo,
        stride=here.stride,
        seam=here.seam,
        tile=_tile(here, bundle, options, max(info.height, info.width)),
        whole=here.side is not None,
    )
    return Recipe(
        engine=engine,
        layout=layout,
        nodata=tuple(info.bands[band - 1].nodata for band in fit.bands),
        source=info.source,
    )


def _engine_here(recipe: EngineRecipe) -> ModelEngine:
    """An engine to ask how it cuts; of a device that this machine lacks a worker may have one."""
    try:
        engines = engines_of(recipe)
    except DeviceError:
        engines = engines_of(replace(recipe, device="cpu", precision="auto"))
    with engines.one() as engine:
        return engine


def _tile(engine: ModelEngine, bundle: Bundle, options: SegmentOptions, longest: int) -> int | None:
    """Side of a core, where it has to be the same on every machine; else what was asked for."""
    asked = options.tile
    if engine.side is not None:
        return fixed_tile(engine.side, engine.halo, bundle, asked)
    if asked is None and engine.seam == "blend":
        kind = engine.device if options.device == "auto" else options.device
        asked = BLEND_TILE[kind.partition(":")[0]]
    return None if asked is None else round_up(min(asked, longest), engine.stride)


def _bands(data: Any, bands: Sequence[int]) -> Any:
    """(bands, height, width), a Dask array with all bands of a place in one chunk."""
    if list(bands) != list(range(1, data.shape[0] + 1)):
        data = data[[band - 1 for band in bands]]
    return data.rechunk({0: -1})


def _warn_of_waste(layout: Layout, scene: XarrayScene) -> None:
    rows, cols = scene.array.data.chunks[1:]
    waste = layout.waste(rows, cols)
    if waste <= WASTE:
        return
    height, width = layout.better()
    y, x = scene.array.dims[1:]
    better = layout.waste(split(layout.height, height), split(layout.width, width))
    warn_caller(
        f"chunks of {max(rows)} x {max(cols)} pixels waste {waste:.0%} of the work on halos"
        f" ({layout.halo} pixels on each side): array.chunk({y}={height}, {x}={width}) wastes"
        f" {better:.0%}"
    )


class _Graph:
    """Tasks for the blocks of a scene."""

    def __init__(self, source: Any, recipe: Recipe, wanted: AreaOfInterest | None) -> None:
        self._source, self._recipe, self._wanted = source, recipe, wanted
        area = None if wanted is None else [shape.wkb for shape in wanted.shapes]
        # a model is what it holds and not where it lies
        known = replace(recipe, engine=replace(recipe.engine, model=""))
        token = tokenize(geounet.__version__, source.name, known, area)
        self._name, self._cut, self._area = (
            f"geounet-{what}-{token}" for what in ("labels", "halo", "area")
        )
        self._rows, self._cols = (_edges(sizes) for sizes in source.chunks[1:])

    def array(self) -> Any:
        """A Dask array (height, width), uint8."""
        tasks: dict[Any, Any] = {}
        if self._wanted is not None:
            tasks[self._area] = self._wanted
        for i, rows in enumerate(pairwise(self._rows.tolist())):
            for j, cols in enumerate(pairwise(self._cols.tolist())):
                block = Window.between(rows[0], cols[0], rows[1], cols[1])
                tasks[self._name, i, j] = self._task(block, tasks)
        graph = HighLevelGraph.from_collections(self._name, tasks, dependencies=[self._source])
        made: Any = da.Array
        return made(graph, self._name, self._source.chunks[1:], dtype=np.uint8)

    def _task(self, block: Window, tasks: dict[Any, Any]) -> tuple[Any, ...]:
        """The task of a block; those of the slices that it needs are added to ``tasks``."""
        if not self._asked(block):
            return np.full, (block.height, block.width), NODATA, np.uint8
        places, keys = [], []
        for place, chunk, key in self._chunks(self._recipe.layout.share(block).source):
            if place != chunk:
                cut = place.relative_to(chunk)
                whole, key = key, (self._cut, *key[2:], *_corners(cut))  # noqa: PLW2901
                tasks[key] = (_slice, whole, cut)
            places.append(place)
            keys.append(key)
        area = [] if self._wanted is None else [self._area]
        return segment_block, self._recipe, block, places, keys, *area

    def _asked(self, block: Window) -> bool:
        """Whether a block may have a label."""
        if block.size == 0 or self._wanted is None:
            return block.size > 0
        rows, cols = block.slices
        outline = self._wanted.geobox[rows, cols].extent.geom
        return bool(shapely.intersects(np.array(self._wanted.shapes, object), outline).any())

    def _chunks(self, window: Window) -> Iterator[tuple[Window, Window, tuple[Any, ...]]]:
        """Chunks that hold a window: what of it lies in them, where they lie, and their keys."""
        for i in _touched(self._rows, window.row_off, window.row_end):
            for j in _touched(self._cols, window.col_off, window.col_end):
                chunk = Window.between(
                    int(self._rows[i]), int(self._cols[j]),
                    int(self._rows[i + 1]), int(self._cols[j + 1]),
                )  # fmt: skip
                place = chunk.intersect(window)
                if place.size:
                    yield place, chunk, (self._source.name, 0, i, j)


def _slice(chunk: NDArray[Any], window: Window) -> NDArray[Any]:
    """A part of a chunk; a copy, so that the rest can go."""
    part: NDArray[Any] = chunk[:, *window.slices].copy()
    return part


def _edges(sizes: Sequence[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *sizes])


def _touched(edges: NDArray[np.int64], start: int, stop: int) -> range:
    """Indices of the chunks between edges that have a pixel from ``start`` to ``stop``."""
    first = int(np.searchsorted(edges, start, side="right")) - 1
    return range(first, int(np.searchsorted(edges, stop, side="left")))


def _corners(window: Window) -> tuple[int, int, int, int]:
    return window.row_off, window.col_off, window.row_end, window.col_end
