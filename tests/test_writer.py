"""Strips into a COG: GDAL's own word for what it is, and the same pixels however it was fed."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import subprocess
import warnings

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from geounet.classes import NODATA, ClassDef, ClassScheme
from geounet.cog import BLOCK
from geounet.errors import OutputError
from geounet.qgis import aux_xml
from geounet.writer import RasterLayout, StripWriter, color_table, lost_crs

SCHEME = ClassScheme(
    classes=(
        ClassDef(code=0, name="land", color="#c8b48c"),
        ClassDef(code=3, name='Gewässer & "<sumpf>"', color="#2166ac"),
    )
)
UTM = GeoBox((700, 600), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
ROTATED_POLE = pyproj.CRS("+proj=ob_tran +o_proj=longlat +o_lat_p=40 +lon_0=10").to_wkt()


def layout(geobox=UTM, *, georeferenced=True, scheme=SCHEME, tags=None) -> RasterLayout:
    return RasterLayout(
        geobox=geobox,
        georeferenced=georeferenced,
        description="class",
        resampling="AVERAGE" if scheme is None else "MODE",
        scheme=scheme,
        tags=tags,
    )


def write(folder, labels, shape: RasterLayout, cuts=()):
    path, scratch = folder / "out.tif", folder / "scratch.tif"
    writer = StripWriter(path, scratch, shape)
    stops = [*sorted({c for c in cuts if 0 < c < len(labels)}), len(labels)]
    start = 0
    with contextlib.ExitStack() as stack:
        stack.callback(writer.abort)
        for stop in stops:
            writer.write(labels[start:stop])
            start = stop
        writer.finish()
    assert not scratch.exists()
    return path


@contextlib.contextmanager
def opened(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            yield dataset


def labels_of(shape, seed=0):
    codes = np.array([0, 3, NODATA], np.uint8)
    small = np.random.default_rng(seed).choice(codes, (shape[0] // 50 + 1, shape[1] // 50 + 1))
    return np.kron(small, np.ones((50, 50), np.uint8))[: shape[0], : shape[1]]


def test_it_is_a_cog_that_says_what_it_holds(tmp_path) -> None:
    labels = labels_of((1400, 1100))
    grid = GeoBox((1400, 1100), UTM.affine, UTM.crs)
    path = write(tmp_path, labels, layout(grid, tags={"GEOUNET_MODEL": "flood-s1 1.0 ü"}))
    with rasterio.open(path) as dataset:
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        assert structure["LAYOUT"] == "COG"
        assert structure["COMPRESSION"] == "DEFLATE"
        assert dataset.profile["dtype"] == "uint8"
        assert dataset.block_shapes == [(BLOCK, BLOCK)]
        assert dataset.overviews(1) == [2, 4]
        assert dataset.nodata == NODATA
        assert dataset.descriptions == ("class",)
        assert dataset.tags()["GEOUNET_MODEL"] == "flood-s1 1.0 ü"
        assert dataset.colorinterp == (ColorInterp.palette,)
        assert np.array_equal(dataset.read(1), labels)
        table = dataset.colormap(1)
    assert table[0] == (0xC8, 0xB4, 0x8C, 255)
    assert table[3] == (0x21, 0x66, 0xAC, 255)
    assert table[NODATA][3] == 0
    assert table == color_table(SCHEME)


def test_overviews_are_the_majority_never_a_mean(tmp_path) -> None:
    labels = np.zeros((1024, 1024), np.uint8)
    labels[:, 1::2] = 3
    labels[::2, ::2] = 3  # three of four
    grid = GeoBox((1024, 1024), UTM.affine, UTM.crs)
    path = write(tmp_path, labels, layout(grid))
    with rasterio.open(path, overview_level=0) as dataset:
        assert dataset.shape == (512, 512)
        assert (dataset.read(1) == 3).all()


def test_quantities_have_mean_overviews_and_no_colours(tmp_path) -> None:
    values = np.zeros((1024, 1024), np.uint8)
    values[:, ::2] = 100
    grid = GeoBox((1024, 1024), UTM.affine, UTM.crs)
    path = write(tmp_path, values, layout(grid, scheme=None))
    with rasterio.open(path, overview_level=0) as dataset:
        assert (dataset.read(1) == 50).all()
        assert dataset.colorinterp == (ColorInterp.gray,)
        with pytest.raises(ValueError, match="NULL color table"):
            dataset.colormap(1)


@given(
    height=st.integers(1, 1300),
    width=st.integers(1, 40),
    cuts=st.lists(st.integers(1, 1300), max_size=8),
    seed=st.integers(0, 9),
)
def test_any_strips_give_the_same_pixels(tmp_path_factory, height, width, cuts, seed) -> None:
    labels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    grid = GeoBox((height, width), UTM.affine, UTM.crs)
    path = write(tmp_path_factory.mktemp("w"), labels, layout(grid), cuts)
    with rasterio.open(path) as dataset:
        assert np.array_equal(dataset.read(1), labels)
        assert dataset.transform == grid.affine


GRIDS = {
    "UTM": UTM,
    "degrees": GeoBox((30, 40), Affine(0.1, 0, -180, 0, -0.1, 90), "EPSG:4326"),
    "a third of a degree": GeoBox((30, 40), Affine(1 / 3, 0, 1 / 7, 0, -1 / 3, 1 / 9), "EPSG:4326"),
    "rotated": GeoBox((30, 40), Affine(8, 6, 500_000, 6, -8, 5e6), "EPSG:32633"),
    "south up": GeoBox((30, 40), Affine(10, 0, 500_000, 0, 10, 5e6), "EPSG:32633"),
    "no CRS": GeoBox((30, 40), Affine(10, 0, 5, 0, -10, 7), None),
    "feet": GeoBox((30, 40), Affine(3, 0, 980_000, 0, -3, 210_000), "EPSG:2263"),
    "without a code": GeoBox(
        (30, 40),
        Affine(10, 0, 5, 0, -10, 7),
        pyproj.CRS("+proj=laea +lat_0=10 +lon_0=20 +ellps=GRS80").to_wkt(),
    ),
    "local": GeoBox((30, 40), Affine(10, 0, 5, 0, -10, 7), 'LOCAL_CS["mine",UNIT["metre",1]]'),
    "rotated pole": GeoBox((30, 40), Affine(0.1, 0, 5, 0, -0.1, 7), ROTATED_POLE),
}


@pytest.mark.parametrize("case", GRIDS)
def test_the_grid_is_kept(tmp_path, case: str) -> None:
    grid = GRIDS[case]
    path = write(tmp_path, np.zeros(grid.shape, np.uint8), layout(grid))
    lost = lost_crs(grid)
    assert (lost is None) is (case != "rotated pole")
    if lost is not None:
        path.with_name(f"{path.name}.aux.xml").write_text(aux_xml(SCHEME, lost))
    with rasterio.open(path) as dataset:
        crs = None if dataset.crs is None else dataset.crs.to_wkt()
        assert GeoBox(dataset.shape, dataset.transform, crs) == grid


def test_a_raster_without_a_place_has_none(tmp_path) -> None:
    grid = GeoBox((30, 40), Affine.identity(), None)
    path = write(tmp_path, np.zeros((30, 40), np.uint8), layout(grid, georeferenced=False))
    with pytest.warns(NotGeoreferencedWarning):
        rasterio.open(path).close()
    with opened(path) as dataset:
        assert dataset.crs is None


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="needs GDAL's gdalinfo")
def test_gdal_finds_the_class_names(tmp_path) -> None:
    path = write(tmp_path, np.zeros((700, 600), np.uint8), layout())
    path.with_name("out.tif.aux.xml").write_text(aux_xml(SCHEME), encoding="utf-8")
    done = subprocess.run(
        ["gdalinfo", "-json", path],
        capture_output=True,
        check=True,
        text=True,
        env={"PATH": "/usr/bin"},
    )
    band = json.loads(done.stdout)["bands"][0]
    assert band["noDataValue"] == NODATA
    assert band["description"] == "class"
    assert band["colorTable"]["entries"][3] == [0x21, 0x66, 0xAC, 255]
    text = subprocess.run(
        ["gdalinfo", path], capture_output=True, check=True, text=True, env={"PATH": "/usr/bin"}
    ).stdout
    assert "Categories:" in text
    assert "0: land" in text
    assert '3: Gewässer & "<sumpf>"' in text


def test_too_few_rows_are_no_raster(tmp_path) -> None:
    writer = StripWriter(tmp_path / "a.tif", tmp_path / "b.tif", layout())
    writer.write(np.zeros((699, 600), np.uint8))
    with pytest.raises(OutputError, match="699 of 700 rows"):
        writer.finish()
    writer.abort()
    writer.abort()  # does no harm
    assert not (tmp_path / "a.tif").exists()


def test_a_folder_that_is_not_there(tmp_path) -> None:
    with pytest.raises(OutputError, match=r"the raster cannot be written .* with -o"):
        StripWriter(tmp_path / "no" / "a.tif", tmp_path / "no" / "b.tif", layout())


@contextlib.contextmanager
def full_disk(size: int):
    """Files cannot grow past ``size`` bytes: what a full disk looks like to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("share", [0, 0.01, 0.2, 0.5, 0.7, 0.9, 0.99, 0.999])
def test_a_full_disk_at_any_point_is_refused(tmp_path, share: float, noisy: bool) -> None:
    """Noise fills the disk while it is written, a smooth map while it becomes a COG."""
    labels = labels_of((1500, 700))
    if noisy:
        labels = np.random.default_rng(1).integers(0, 255, (1500, 700), dtype=np.uint8)
    grid = GeoBox((1500, 700), UTM.affine, UTM.crs)
    path = write(tmp_path, labels, layout(grid))
    size = path.stat().st_size
    path.unlink()
    with (
        full_disk(int(size * share)),
        pytest.raises(OutputError, match=f"^{tmp_path}: the raster .*free some disk space"),
    ):
        write(tmp_path, labels, layout(grid))
