"""Ways to cut an axis into chunks, and labels that are put together from blocks."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import strategies as st

from geounet.lazy.array import _Graph
from geounet.lazy.block import Recipe
from geounet.lazy.layout import Layout
from geounet.pool import EngineRecipe


@st.composite
def splits(draw: Any, size: int) -> tuple[int, ...]:
    """Sizes of chunks, empty ones among them, that add up."""
    edges = sorted(draw(st.lists(st.integers(0, size), max_size=5)))
    return tuple(np.diff([0, *edges, size]).tolist())


def labels_in_blocks(
    data: np.ndarray, chunks: Any, layout: Layout, engine: Any, wanted: Any = None
) -> np.ndarray:
    """The labels of a whole scene, computed block by block with an engine of the test's own."""
    recipe = Recipe(
        engine=EngineRecipe(
            model="fake", sha256="", scale=(1.0,), offset=(0.0,),
            engine="auto", device="auto", precision="auto",
        ),
        layout=layout,
        nodata=(255,) * len(data),
        source="fake",
    )  # fmt: skip
    fake = SimpleNamespace(
        bundle=SimpleNamespace(path="fake", weights=None),
        one=lambda: contextlib.nullcontext(engine),
    )
    source = da.from_array(data, chunks=(len(data), *chunks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geounet.lazy.block.engines_of", lambda _: fake)
        patch.setattr("geounet.lazy.block._check", lambda *_: None)
        patch.setattr("geounet.lazy.block.best_tile", lambda *_, **__: 24)
        made = _Graph(source, recipe, wanted).array()
        assert made.chunks == chunks
        return np.asarray(made.compute(scheduler="sync"))
