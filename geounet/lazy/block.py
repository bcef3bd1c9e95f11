"""What a task does: the labels of one block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet import heap
from geounet.aoi import AreaOfInterest
from geounet.blend import blended_strips
from geounet.bundle import Bundle
from geounet.engine import ModelEngine
from geounet.errors import DependencyError
from geounet.feed import Feed
from geounet.fit import check_sample
from geounet.lazy.layout import Layout, Share
from geounet.lazy.mosaic import Mosaic
from geounet.pool import EngineRecipe, Engines, engines_of
from geounet.stitch import Strip, segment_strip
from geounet.tilesize import best_tile
from geounet.window import Window

_SAMPLE = 1 << 16  # pixels: the median is known well enough, and found in no time
_FEW = 1024  # pixels: fewer may all be one bright roof
_MARGIN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a task must know beside its pixels; a few hundred bytes when pickled."""

    engine: EngineRecipe
    """The model."""
    layout: Layout
    """How blocks are cut."""
    nodata: tuple[float | None, ...]
    """The stored value that means nodata, one a band of the model."""
    source: str
    """What messages call the scene."""


def segment_block(
    recipe: Recipe,
    block: Window,
    places: Sequence[Window],
    pieces: Sequence[NDArray[Any]],
    wanted: AreaOfInterest | None = None,
) -> NDArray[np.uint8]:
    """The labels of one block, from pieces that cover the source of its share.

    Args:
        recipe: The model and how the scene is cut.
        block: What is asked for, in pixels of the scene.
        places: Where the pieces lie.
        pieces: (bands, height, width) each, stored values.
        wanted: Outside of it labels are nodata.

    Returns:
        (height, width), class codes, 255 where invalid.

    Raises:
        ValueRangeError: The values cannot be what the model expects.
        GeounetError: As :class:`geounet.pool.Engines`.
    """
    share = recipe.layout.share(block)
    mosaic = Mosaic(places=places, pieces=pieces, nodata=recipe.nodata)
    engines = engines_of(recipe.engine)
    _check(recipe, engines, mosaic, share)
    labels = np.empty((share.part.height, share.part.width), np.uint8)
    with engines.one() as engine:
        for strip in _strips(engine, engines.bundle, recipe.layout, share, mosaic, wanted):
            labels[strip.window.slices] = strip.labels
    heap.give_back()
    return labels[block.relative_to(share.part).slices].copy()


def _strips(
    engine: ModelEngine,
    bundle: Bundle,
    layout: Layout,
    share: Share,
    mosaic: Mosaic,
    wanted: AreaOfInterest | None,
) -> Iterator[Strip]:
    """The part of a share, top to bottom: many tiles, as of a scene, and not one as large as it."""
    if (engine.halo, engine.stride, engine.seam) != (layout.halo, layout.stride, layout.seam):
        raise DependencyError(
            f"{bundle.path} has a halo of {engine.halo} and a stride of {engine.stride} here, and"
            f" {layout.halo} and {layout.stride} where the labels were asked of it: install the"
            " same geounet on every worker"
        )
    grid = layout.grid(share, layout.tile or _tile(engine, bundle, share, mosaic))
    feeds: Iterator[Feed] = mosaic.feeds(layout, share, grid, wanted)
    if layout.seam == "blend":
        return blended_strips([engine], feeds, grid, confidence=False)
    return (segment_strip(engine, feed, grid, confidence=False) for feed in feeds)


def _tile(engine: ModelEngine, bundle: Bundle, share: Share, mosaic: Mosaic) -> int:
    """As large as fits into memory, and all about as large as each other."""
    itemsize = max(piece.dtype.itemsize for piece in mosaic.pieces)
    most = best_tile(engine, bundle, width=share.part.width, itemsize=itemsize)
    longest = max(share.part.height, share.part.width)
    return -(-longest // -(-longest // most))


def _check(recipe: Recipe, engines: Engines, mosaic: Mosaic, share: Share) -> None:
    """Refuse values that cannot be right; of a few pixels that cannot be said."""
    sample = mosaic.sample(_SAMPLE)
    if sample.shape[1] >= _FEW or (sample.shape[1] and recipe.layout.scene == share.source):
        check_sample(
            engines.normalizer.physical(sample),
            engines.bundle.spec,
            recipe.source,
            floats=sample.dtype.kind == "f",
            margin=_MARGIN,
        )
