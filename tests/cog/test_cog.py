"""COGs put together here: GDAL reads them as its own, and overviews are what they say."""

from __future__ import annotations

import subprocess
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile

from geounet.classes import NODATA
from geounet.cog import BLOCK, BlockStore, Pyramid, assemble, level_shapes, tags_of
from geounet.writer import RasterLayout, StripWriter

SHAPES = [(1, 1), (512, 512), (513, 1), (1, 1025), (1400, 1100), (2050, 30)]


def _judge():
    """GDAL's own program that looks at COGs, where there is one."""
    python, module = "/usr/bin/python3", "osgeo_utils.samples.validate_cloud_optimized_geotiff"
    try:
        found = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    except OSError:
        return None
    return [python, "-m", module] if found.returncode == 0 else None


GDALS_JUDGE = _judge()


def written(folder, labels, cuts=(), resampling="MODE"):
    grid = GeoBox(labels.shape, Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
    layout = RasterLayout(
        geobox=grid, georeferenced=True, description="class", resampling=resampling
    )
    writer = StripWriter(folder / "out.tif", folder / "scratch", layout)
    for part in np.split(labels, sorted(cuts)):
        writer.write(part)
    writer.finish()
    return folder / "out.tif"


def some(shape, seed=0):
    codes = np.array([0, 1, 2, NODATA], np.uint8)
    return np.random.default_rng(seed).choice(codes, shape, p=[0.4, 0.3, 0.1, 0.2])


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_a_valid_cog(tmp_path, monkeypatch, shape, big) -> None:
    if big:
        monkeypatch.setattr("geounet.cog.assembly._CLASSIC", 0)
    labels = some(shape)
    path = written(tmp_path, labels)
    assert path.read_bytes()[2] == (43 if big else 42)
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert np.array_equal(dataset.read(1), labels)
        sizes = [dataset.shape]
        for level in range(len(dataset.overviews(1))):
            with rasterio.open(path, overview_level=level) as overview:
                sizes.append(overview.shape)
                assert overview.nodata == NODATA
                overview.read(1)
    assert sizes == level_shapes(shape, BLOCK)
    if GDALS_JUDGE is not None:
        done = subprocess.run(
            [*GDALS_JUDGE, "--full-check=yes", path], capture_output=True, text=True, check=True,
            env={"PATH": "/usr/bin"},
        )  # fmt: skip
        assert "is a valid cloud optimized GeoTIFF" in done.stdout
        assert "warning" not in done.stdout.lower()


@pytest.mark.parametrize("shape", [s for s in SHAPES if max(s) > BLOCK])
def test_overviews_have_the_sizes_of_gdals_own(tmp_path, shape) -> None:
    path = written(tmp_path, some(shape))
    with MemoryFile() as memory:
        rasterio.shutil.copy(path, memory.name, driver="COG", overviews="IGNORE_EXISTING")
        with memory.open() as dataset, rasterio.open(path) as ours:
            assert dataset.overviews(1) == ours.overviews(1)


@given(cuts=st.lists(st.integers(0, 1400), max_size=6))
def test_how_the_rows_were_cut_cannot_be_seen(tmp_path_factory, cuts) -> None:
    labels = some((1400, 600))
    one, other = (written(tmp_path_factory.mktemp("c"), labels, c).read_bytes() for c in ((), cuts))
    assert one == other


def thinned(rows, rule):
    """Each four pixels by hand."""
    height, width = rows.shape
    out = np.empty((-(-height // 2), -(-width // 2)), np.uint8)
    for i, j in np.ndindex(out.shape):
        four = [v for v in rows[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel() if v != NODATA]
        out[i, j] = rule(four) if four else NODATA
    return out


RULES = {
    "MODE": lambda four: Counter(four).most_common(1)[0][0],
    "AVERAGE": lambda four: int(np.floor(np.mean([int(v) for v in four]) + 0.5)),
}
ROWS = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0, 1, 2, 254, NODATA]),
)  # fmt: skip


@given(rows=ROWS, rule=st.sampled_from(sorted(RULES)))
def test_an_overview_pixel_is_made_of_four(rows, rule) -> None:
    found: dict[int, list] = {}
    pyramid = Pyramid(
        rows.shape, 2, rule, lambda k, part: found.setdefault(k, []).append(part.copy())
    )
    pyramid.add(rows)
    levels = [np.concatenate(found[k]) for k in sorted(found)]
    assert [level.shape for level in levels] == level_shapes(rows.shape, 2)
    assert np.array_equal(levels[0], rows)
    for finer, coarser in pairwise(levels):
        assert np.array_equal(coarser, thinned(finer, RULES[rule]))


def test_what_gdal_says_of_a_raster_is_learnt_from_its_own_file() -> None:
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=1,
            height=1,
            count=1,
            dtype="uint8",
            crs="EPSG:32633",
            nodata=255,
            transform=Affine(10, 0, 5, 0, -10, 7),
        ) as dataset:
            dataset.update_tags(NOTE="ü")
        tags = tags_of(memory.read())
    assert tags[42113].data.rstrip(b"\0") == b"255"
    assert "ü".encode() in tags[42112].data
    assert 34735 in tags
    assert 256 not in tags


def test_what_is_no_tiff_has_no_tags() -> None:
    with pytest.raises(ValueError, match="little-endian TIFF"):
        tags_of(b"MM\0*\0\0\0\x08")


def test_blocks_that_are_gone_are_an_error(tmp_path) -> None:
    store = BlockStore(tmp_path / "blocks", 1, labels=True)
    store.put(0, some((10, 10)))
    store.finish()
    (tmp_path / "blocks").write_bytes(b"")
    with pytest.raises(OSError, match="are gone"):
        assemble(tmp_path / "a.tif", store, [(10, 10)], {})
