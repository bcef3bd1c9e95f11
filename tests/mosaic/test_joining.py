"""Which map gives a pixel: against distances of SciPy, and the laws of a mosaic."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from maps import expected, save
from odc.geo.geobox import GeoBox
from rasters import NORTH, WEST, at

from geounet.classes import NODATA
from geounet.errors import SceneError
from geounet.mosaic import GridChoice, Mosaic, PlacedMap, choose_grid, read_maps
from geounet.mosaic.edges import Edges, take_farther
from geounet.window import Window


def joined(paths, grid=None, rows=None) -> np.ndarray:
    maps = read_maps(paths)
    grid = grid or choose_grid(maps)
    strips = list(Mosaic([PlacedMap(one, grid) for one in maps], grid, rows=rows).strips())
    assert [s.window.row_off for s in strips] == [0, *(s.window.row_end for s in strips[:-1])]
    return np.concatenate([s.labels for s in strips])


def blobs(shape, seed: int, holes: float = 0.01) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 1, 7], np.uint8), shape)
    labels[rng.random(shape) < holes] = NODATA
    return labels


CORNERS = ((0, 0), (13, 20), (30, 5))  # row and column


@pytest.fixture(scope="module")
def layers() -> list[np.ndarray]:
    """Three maps of 60 x 70 on one grid of 90 x 90."""
    found = []
    for seed, (row, col) in enumerate(CORNERS):
        whole = np.full((90, 90), NODATA, np.uint8)
        whole[row : row + 60, col : col + 70] = blobs((60, 70), seed)
        found.append(whole)
    return found


@pytest.fixture(scope="module")
def paths(tmp_path_factory, layers):
    folder = tmp_path_factory.mktemp("maps")
    return [
        save(
            folder / f"{i}.tif",
            layers[i][row : row + 60, col : col + 70],
            transform=at(10, WEST + 10 * col, NORTH - 10 * row),
        )
        for i, (row, col) in enumerate(CORNERS)
    ]


@pytest.mark.parametrize("rows", [1, 7, 64, None])
def test_the_map_wins_that_is_farther_from_its_edge(paths, layers, rows) -> None:
    """However strips are cut."""
    np.testing.assert_array_equal(joined(paths, rows=rows), expected(layers))


def test_the_order_decides_ties_alone(paths, layers) -> None:
    for order in permutations(range(3)):
        np.testing.assert_array_equal(
            joined([paths[i] for i in order], rows=16), expected([layers[i] for i in order])
        )
    differ = expected(layers) != expected(layers[::-1])
    assert 0 < differ.mean() < 0.05


def test_a_part_of_the_grid_is_that_part_of_the_mosaic(paths, tmp_path) -> None:
    whole = choose_grid(read_maps(paths))
    assert whole.shape == (90, 90)
    part = whole[21:58, 17:83]
    np.testing.assert_array_equal(joined(paths, part, 8), joined(paths)[21:58, 17:83])
    like = save(tmp_path / "like.tif", blobs((37, 66), 9), transform=part.affine)
    assert choose_grid(read_maps(paths), GridChoice(like=str(like))) == part
    around = whole.pad(11, 5)
    np.testing.assert_array_equal(
        joined(paths, around, 8), np.pad(joined(paths), ((5, 5), (11, 11)), constant_values=NODATA)
    )


def test_a_valid_pixel_beats_nodata(paths, layers) -> None:
    got = joined(paths)
    np.testing.assert_array_equal(got != NODATA, np.any([x != NODATA for x in layers], axis=0))


def test_without_overlap_maps_are_copied_and_read_once(tmp_path, monkeypatch) -> None:
    labels = blobs((64, 80), 4)
    parts = {"a": labels[:, :50], "b": labels[:, 50:]}
    paths = [
        save(tmp_path / f"{n}.tif", part, transform=at(10, WEST + 10 * col))
        for (n, part), col in zip(parts.items(), (0, 50), strict=True)
    ]
    seen = []
    read = PlacedMap.read
    monkeypatch.setattr(PlacedMap, "read", lambda self, w: seen.append(w.size) or read(self, w))
    np.testing.assert_array_equal(joined(paths, rows=16), labels)
    assert sum(seen) == labels.size


def test_one_map_is_itself(tmp_path) -> None:
    labels = blobs((30, 40), 5)
    path = save(tmp_path / "a.tif", labels)
    np.testing.assert_array_equal(joined([path]), labels)


def test_only_maps_in_the_strip_are_open(tmp_path) -> None:
    """As many as lie there, and those with what is known of their edges."""
    paths = [
        save(tmp_path / f"{i}.tif", blobs((40, 30), i), transform=at(10, WEST, NORTH - 300 * i))
        for i in range(12)
    ]
    grid = choose_grid(read_maps(paths))
    maps = [PlacedMap(one, grid) for one in read_maps(paths)]
    mosaic, most = Mosaic(maps, grid, rows=10), 0
    for _ in mosaic.strips():
        most = max(most, sum(len(one._scene._handles) for one in maps))
        assert len(mosaic._edges) <= 2
    assert most == 2
    assert not mosaic._edges
    assert sum(len(one._scene._handles) for one in maps) == 0


def test_high_pixels_count_as_high(tmp_path) -> None:
    """Distances are those of the grid's units."""
    layers = [blobs((50, 60), i, 0.005) for i in range(2)]
    affine = at(10) @ Affine.scale(1, 3)
    paths = [save(tmp_path / f"{i}.tif", x, transform=affine) for i, x in enumerate(layers)]
    got = joined(paths, rows=16)
    np.testing.assert_array_equal(got, expected(layers, square=9.0))
    assert (got != expected(layers)).any()


def test_a_code_without_a_class_is_told(tmp_path) -> None:
    path = save(tmp_path / "a.tif", np.full((4, 4), 3, np.uint8))
    with pytest.raises(SceneError, match=r"a\.tif holds the code 3, which is none of its classes"):
        joined([path])


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 24),
    st.integers(1, 24),
    st.floats(0, 1),
    st.integers(1, 30),
    st.sampled_from([1.0, 4.0, 0.25]),
)
def test_distances_are_exact(seed, height, width, holes, rows, square) -> None:
    labels = np.where(
        np.random.default_rng(seed).random((height, width)) < holes, NODATA, 0
    ).astype(np.uint8)
    cuts = range(0, height, rows)
    edges = Edges(labels[top : top + rows] for top in cuts)
    best = np.zeros(labels.shape)
    for band, top in enumerate(cuts):
        part = labels[top : top + rows]
        take_farther(
            part,
            top,
            edges.around(band),
            Window(row_off=0, col_off=0, height=len(part), width=width),
            np.zeros_like(part),
            best[top : top + rows],
            square=square,
        )
    invalid = np.argwhere(np.pad(labels == NODATA, 1, constant_values=True)) - 1
    place = np.argwhere(np.ones_like(labels))
    step = place[:, None] - invalid[None]
    away = (square * step[..., 0] ** 2 + step[..., 1] ** 2).min(axis=1)
    np.testing.assert_array_equal(best.ravel(), away)


def test_a_far_grid_gets_nothing(paths) -> None:
    grid = choose_grid(read_maps(paths)).translate_pix(500, 500)
    assert isinstance(grid, GeoBox)
    assert (joined(paths, grid) == NODATA).all()
