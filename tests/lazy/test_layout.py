"""What blocks cost, and chunks that cost less."""

from __future__ import annotations

import pytest
from blocks import splits
from hypothesis import given
from hypothesis import strategies as st

from geounet.lazy.layout import Layout, split
from geounet.window import Window


def layout(height=1000, width=1200, *, halo=96, stride=16, seam="exact", tile=None, whole=False):
    return Layout(
        height=height, width=width, halo=halo, stride=stride, seam=seam, tile=tile, whole=whole
    )


@given(st.data(), st.sampled_from(["exact", "blend"]), st.booleans())
def test_a_share_holds_its_block_and_its_halo(data, seam, whole) -> None:
    made = layout(data.draw(st.integers(1, 300)), 50, halo=32, seam=seam, tile=48, whole=whole)
    start = 0
    for rows in data.draw(splits(made.height)):
        block = Window(row_off=start, col_off=0, height=rows, width=50)
        start += rows
        if not rows:
            continue
        share = made.share(block)
        assert share.part.contains(block)
        assert made.scene.contains(share.part)
        assert share.part.row_off % (16 if seam == "exact" else 48) == 0
        assert share.source.contains(block.grow(32).intersect(made.scene))
        assert made.scene.contains(share.source)
        grid = made.grid(share, 48)
        assert grid.scene.size == share.part.size
        if seam == "exact":
            assert share.part.row_off > block.row_off - 16
            assert share.part.row_end == block.row_end


def test_no_chunk_wastes_nothing() -> None:
    assert layout().waste([1000], [1200]) == 0
    assert layout(seam="blend", tile=512).waste([1000], [1200]) == 0


def test_waste_is_counted_in_pixels_where_tiles_are_exact() -> None:
    # 500 is off the stride: the second block begins at 496, and reads from 400
    assert layout().waste([500, 500], [1200]) == pytest.approx(1 - 1000 / (596 + 600))
    rows, cols = [496, 504], [400, 400, 400]
    done = (496 + 96 + 504 + 96) * (400 + 96 + 400 + 2 * 96 + 400 + 96)
    assert layout().waste(rows, cols) == pytest.approx(1 - 1000 * 1200 / done)
    assert layout().waste([500, 0, 500, 0], [1200]) == layout().waste([500, 500], [1200])


def test_waste_is_counted_in_tiles_where_they_are_blended() -> None:
    made = layout(1024, 1024, seam="blend", tile=256)
    # each half is seen by two rows of tiles of its own, and by one of the other
    assert made.waste([512, 512], [1024]) == pytest.approx(1 - 4 / 6)


@pytest.mark.parametrize(("seam", "tile"), [("exact", None), ("blend", 512)])
def test_better_chunks_are_better(seam, tile) -> None:
    made = layout(20_000, 30_000, seam=seam, tile=tile)
    height, width = made.better()
    assert height == width
    assert height & (height - 1) == 0
    assert made.waste(split(20_000, height), split(30_000, width)) <= 0.2
    half = height // 2
    assert made.waste(split(20_000, half), split(30_000, half)) > 0.2
    assert layout(200, 240).better() == (200, 240)


def test_split() -> None:
    assert split(10, 4) == [4, 4, 2]
    assert split(8, 4) == [4, 4]
    assert split(3, 4) == [3]
