"""Some eighty real rasters that break readers, each with the outcome a user should get.

Every file in the folder has a row: a file without one fails, and so does a row without a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine

from geounet.classes import NODATA
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet_cli.main import main


@dataclass(frozen=True)
class Ok:
    """Segmented: grid as the scene's, invalid exactly where the scene is."""

    bands: int = 1
    """The first so many are given to the model."""
    says: str = ""
    """A line on stderr that matches; none is expected where empty."""
    oracle: tuple[str, ...] = ("{}",)
    """What rasterio opens to know better: the scene, or one source a band."""
    south_up: bool = False
    """The oracle shows the raster the other way up."""
    polygons: bool = True


@dataclass(frozen=True)
class Refused:
    """One line on stderr that matches, exit code 2, nothing written."""

    match: str


NO_CRS = Ok(says="has no CRS, so the outputs have none either")
COARSE = Ok(says=r"pixels of .* m: random was trained on 1 to 100 m")
NO_RASTER = Refused(r"cannot be opened as a raster \(not recognized as being in a supported file")
GCPS = Refused(
    r"is placed by \d ground control points, not by a grid: warp it first, e.g. gdalwarp"
)
RPCS = Refused("is placed by RPCs, not by a grid: orthorectify it first, e.g. gdalwarp -rpc")
EMPTY = Refused(r"has no valid pixel: check its nodata value and mask")
ZIP = r"is a zip archive: name a raster in it, e.g. /vsizip/.*"

EXPECTED = {
    "rasterio": {
        "389225main_sw_1965_1024.jpg": replace(NO_CRS, bands=3),
        "N10W110.hgt.zip": Ok(),
        "README.rst": NO_RASTER,
        "RGB.byte.gcp.vrt": GCPS,
        "RGB.byte.rpc.vrt": RPCS,
        "RGB.byte.tif": replace(COARSE, bands=3),
        "RGB.byte.tif.aux.xml": NO_RASTER,
        "RGB.nc": replace(
            COARSE, bands=3, oracle=tuple(f"netcdf:{{}}:Band{i}" for i in (1, 2, 3)), south_up=True
        ),
        "RGB2.byte.tif": replace(COARSE, bands=3),
        "RGB2.byte.tif.msk": NO_CRS,
        "RGBA.byte.tif": replace(COARSE, bands=3),
        "RGBA.uint16.tif": Ok(bands=3),
        "ak-compdcs.zip": Refused(ZIP + r"ak-compdcs\.zip/test\.tif"),
        "all-nodata.tif": EMPTY,
        "alpha.tif": Ok(bands=3),
        "box.cpg": NO_RASTER,
        "box.dbf": NO_RASTER,
        "box.prj": NO_RASTER,
        "box.shp": NO_RASTER,
        "box.shx": NO_RASTER,
        "byte.tif": Ok(),
        "cogeo.tif": replace(COARSE, bands=3),
        "compdcs.vrt": GCPS,
        "corrupt.tif": Refused(
            r"corrupt\.tif: the pixels cannot be read \(.*\): the file is damaged"
        ),
        "files.zip": Refused(ZIP + r"files\.zip/RGB\.byte\.tif"),
        "float.tif": NO_CRS,
        "float32.tif": NO_CRS,
        "float_nan.tif": NO_CRS,
        "float_raster_with_extra_nodata.tif": COARSE,
        "float_raster_with_nodata.tif": COARSE,
        "goes.tif": replace(COARSE, bands=3),  # corners of the disk lie off Earth
        "green.tif": replace(COARSE, bands=3),
        "green.tif.ovr": replace(NO_CRS, bands=3),
        "issue1446.geojson": NO_RASTER,
        "no_band.h5": Refused(
            r"holds no bands of its own: name one of its subdatasets, e.g. HDF5:"
        ),
        "red.tif": replace(COARSE, bands=3),
        "red.tif.ovr": replace(NO_CRS, bands=3),
        "rgb-byte-tenth.tif": replace(COARSE, bands=3),
        "rgb1.tif": replace(COARSE, bands=3),
        "rgb1_fake_nir_epsg3857.tif": Ok(),
        "rgb2.tif": replace(COARSE, bands=3),
        "rgb3.tif": replace(COARSE, bands=3),
        "rgb4.tif": replace(COARSE, bands=3),
        "rgb_deflate.tif": replace(COARSE, bands=3),
        "rgb_lzw.tif": replace(COARSE, bands=3),
        "rotated.tif": NO_CRS,
        "shade.tif": Ok(),
        "test_esri_wkt.tif": Ok(),
        "two-subs.h5": Refused(r"holds no bands of its own: .* HDF5:.*two-subs\.h5://data, HDF5:"),
        "white-gemini-iv.vrt": GCPS,
        "world.byte.tif": COARSE,
        "world.rgb.tif": replace(COARSE, bands=3),
    },
    "rio_tiler": {
        "clp.tif": Ok(),
        "cog_cmap.tif": Ok(polygons=False),  # 62 Mpx of class indices: minutes of polygons
        "cog_fullearth.tif": COARSE,
        "cog_gradient.tif": COARSE,
        "cog_hirise_mars.tif": Ok(bands=3),
        "cog_int16.tif": Ok(polygons=False),
        "cog_nodata.tif": Ok(polygons=False),
        "cog_nodata_nan.tif": COARSE,
        "cog_nonearth.tif": COARSE,
        "cog_rgb.tif": replace(COARSE, bands=3),
        "cog_rgb_mask.tif": replace(COARSE, bands=3),
        "cog_rgba.tif": replace(COARSE, bands=3),
        "cog_scale.tif": replace(COARSE, bands=2),
        "cog_scale_epsg4326.tif": replace(COARSE, bands=2),
        "cog_tags.tif": COARSE,
        "cog_uint8_rgb_mask.tif": replace(COARSE, bands=3),
        "cog_uint8_rgb_nodata.tif": replace(COARSE, bands=3),
        "cog_uint8_rgba.tif": replace(COARSE, bands=3),
        "inverted_lat.tif": EMPTY,
        "lowres.tif": COARSE,
        "no_geo.jpg": replace(NO_CRS, bands=3),
        "nocog.tif": Ok(polygons=False),
        "noweb.tif": COARSE,
    },
    "rioxarray": {
        "2d_test.tif": Ok(),
        "PLANET_SCOPE_3D.nc": Refused(
            r"has 2 band, 2 time beside y and x: pick one.*isel\(time=0\)"
        ),
        "cint16.tif": Refused(r"holds complex numbers \(complex_int16\).*intensity in dB first"),
        "sentinel_2_L1C_geographic.nc": Ok(bands=2, oracle=("netcdf:{}:red", "netcdf:{}:nir")),
        "test_rpcs.tif": RPCS,
    },
}
ROWS = {f"{folder}/{name}": row for folder, rows in EXPECTED.items() for name, row in rows.items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Bundles of one, two and three bands."""
    folder = tmp_path_factory.mktemp("models")
    spec = replace(random_spec(width=1, depth=1), plausible=(-1e300, 1e300))
    return {
        count: random_bundle(
            folder / f"m{count}.geounet",
            replace(spec, bands=tuple(replace(spec.bands[0], name=n) for n in "abc"[:count])),
        )
        for count in (1, 2, 3)
    }


def test_every_file_has_a_row(data):
    folder = data / "odd_rasters"
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert files == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_outcome(name, data, models, tmp_path, capsys):
    row, path = ROWS[name], data / "odd_rasters" / name
    count = getattr(row, "bands", 1)
    argv = ["segment", str(path), "-m", str(models[count]), "-o", str(tmp_path / "out.tif")]
    argv += ["--bands", ",".join(f"{n}={i}" for i, n in enumerate("abc"[:count], 1))]
    code = main([*argv, *([] if getattr(row, "polygons", True) else ["--no-polygons"])])
    said = capsys.readouterr().err.splitlines()
    if isinstance(row, Refused):
        assert code == 2
        assert len(said) == 1
        assert re.search(row.match, said[0])
        assert list(tmp_path.iterdir()) == []
        return
    assert code == 0, said
    assert len(said) == bool(row.says)
    assert all(re.search(row.says, line) for line in said)
    check(row, path, tmp_path / "out.tif")


def check(row: Ok, scene: Path, out: Path) -> None:
    valid = np.logical_and.reduce(
        [validity(o.format(scene), row.bands if len(row.oracle) == 1 else 1) for o in row.oracle]
    )
    with rasterio.open(row.oracle[0].format(scene)) as oracle, rasterio.open(out) as made:
        assert made.shape == oracle.shape
        assert made.crs == oracle.crs
        assert made.nodata == NODATA
        if row.south_up:
            valid = valid[::-1]
            np.testing.assert_allclose(sorted(made.bounds), sorted(oracle.bounds), rtol=1e-12)
            assert made.transform.e == pytest.approx(-oracle.transform.e, rel=1e-12)
        else:
            assert made.transform.almost_equals(oracle.transform, 1e-9)
        labels, placed = made.read(1), made.crs is not None
    np.testing.assert_array_equal(labels == NODATA, ~valid)
    assert set(np.unique(labels)) <= {0, 1, NODATA}
    if row.polygons:
        info = pyogrio.read_info(out.with_suffix(".gpkg"), layer=out.stem)
        assert info["features"] > 0
        assert (info["crs"] is not None) == placed


def validity(path: str, bands: int) -> np.ndarray:
    """GDAL's own mask of each band, and NaN."""
    with rasterio.open(path) as oracle:
        valid = np.ones(oracle.shape, bool)
        for band in range(1, bands + 1):
            valid &= oracle.read_masks(band) > 0
            if np.dtype(oracle.dtypes[band - 1]).kind == "f":
                valid &= ~np.isnan(oracle.read(band))
    return valid


def test_values_beyond_float32(tmp_path, models, capsys):
    """Infinite in the network's type, so clipped: a class, and not a word from numpy."""
    path, largest = tmp_path / "s.tif", np.finfo(np.float64).max
    values = np.linspace(-largest / 2, largest / 2, 30 * 40).reshape(1, 30, 40)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=30, width=40, dtype="float64",
        crs="EPSG:32633", transform=Affine(10, 0, 3e5, 0, -10, 5e6),
    ) as out:  # fmt: skip
        out.write(np.where(np.isin(np.arange(40), (0, 20)), values, 1.0))
    out = tmp_path / "out.tif"
    assert main(["segment", str(path), "-m", str(models[1]), "--bands", "a=1", "-o", str(out)]) == 0
    assert capsys.readouterr().err == ""
    with rasterio.open(out) as made:
        assert (made.read(1) < 2).all()
