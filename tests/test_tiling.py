from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet.errors import OptionError
from geounet.tiling import TileGrid, mirror_index, round_up
from geounet.window import Window

grids = st.builds(
    TileGrid.cover,
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    tile=st.integers(1, 80),
    halo=st.integers(0, 40),
    stride=st.sampled_from([1, 2, 4, 16]),
    whole=st.booleans(),
)


@given(grid=grids)
def test_partition_cores_cover_each_pixel_once(grid: TileGrid) -> None:
    count = np.zeros((grid.height, grid.width), int)
    for tile in grid:
        count[tile.core.slices] += 1
    assert (count == 1).all()
    assert len(list(grid)) == len(grid)


@given(grid=grids)
def test_strips_are_the_rows_of_tiles(grid: TileGrid) -> None:
    for row in range(grid.rows):
        strip = grid.strip(row)
        assert sum(t.core.size for t in grid.tiles(row)) == strip.size
        assert all(strip.contains(t.core) for t in grid.tiles(row))


@given(grid=grids)
def test_read_windows_are_aligned_and_hold_the_halo(grid: TileGrid) -> None:
    for tile in grid:
        assert tile.read.contains(tile.core.grow(grid.halo))
        for value in (tile.read.row_off, tile.read.col_off, tile.read.height, tile.read.width):
            assert value % grid.stride == 0
        if grid.whole:
            assert tile.read.height == tile.read.width == grid.tile + 2 * grid.halo


@given(size=st.integers(1, 50), left=st.integers(0, 120), right=st.integers(0, 120))
def test_mirror_index_is_numpys_reflect(size: int, left: int, right: int) -> None:
    expected = np.pad(np.arange(size), (left, right), mode="reflect")
    assert np.array_equal(mirror_index(-left, size + right, size), expected)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"height": 0, "width": 5, "tile": 4, "halo": 0}, "0 x 5 pixels cannot be tiled"),
        ({"height": 5, "width": 5, "tile": 0, "halo": 0}, "tile 0"),
        ({"height": 5, "width": 5, "tile": 4, "halo": -1}, "halo -1"),
        ({"height": 5, "width": 5, "tile": 6, "halo": 4, "stride": 4}, "multiples of the network"),
    ],
)
def test_illegal_grids_cannot_be_built(kwargs: dict[str, int], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TileGrid(**kwargs)


def test_round_up() -> None:
    assert [round_up(v, 16) for v in (0, 1, 16, 17)] == [0, 16, 16, 32]


@given(
    a=st.builds(
        Window,
        row_off=st.integers(-9, 9),
        col_off=st.integers(-9, 9),
        height=st.integers(0, 9),
        width=st.integers(0, 9),
    ),
    grow=st.integers(0, 5),
)
def test_window_algebra(a: Window, grow: int) -> None:
    big = a.grow(grow)
    assert big.contains(a)
    assert a.intersect(big).size == a.size
    assert a.relative_to(big).row_off == grow


def test_a_window_cannot_have_a_negative_size() -> None:
    with pytest.raises(OptionError, match="-1 x 2"):
        Window(row_off=0, col_off=0, height=-1, width=2)
