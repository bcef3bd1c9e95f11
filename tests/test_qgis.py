"""QGIS shows the outputs in the right place, with the right names and colours, unasked."""

from __future__ import annotations

import functools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image
from scipy import ndimage

from geounet.bundle import load_bundle
from geounet.classes import NODATA, ClassDef, ClassScheme
from geounet.options import SegmentOptions
from geounet.outputs import MapKind, OutputPaths, Outputs
from geounet.scene import MemoryScene
from geounet.spec import ModelSpec
from geounet.staging import Staging
from geounet.stitch import Strip
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet.window import Window

PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("qgis_render.py")
SHAPE = (260, 300)
SCHEME = ClassScheme(
    classes=(
        ClassDef(code=0, name="land", color="#c8b48c"),
        ClassDef(code=1, name='Gewässer & "<Sumpf>"', color="#2166ac"),
        ClassDef(code=80, name="built-up", color="#d73027"),
    )
)
PLACED = GeoBox(SHAPE, Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
GRIDS = {
    "UTM": PLACED,
    "degrees": GeoBox(SHAPE, Affine(0.001, 0, 10, 0, -0.001, 50), "EPSG:4326"),
    "feet": GeoBox(SHAPE, Affine(3, 0, 980_000, 0, -3, 210_000), "EPSG:2263"),
    "no CRS": GeoBox(SHAPE, Affine(10, 0, 500, 0, -10, 5000), None),
    "no place": GeoBox(SHAPE, Affine.identity(), None),
}


@functools.cache
def qgis_missing() -> str:
    """Why the tests cannot run; empty: they can."""
    if not Path(PYTHON).exists():
        return f"there is no {PYTHON}"
    done = subprocess.run(
        [PYTHON, "-c", "import qgis.core"], capture_output=True, text=True, check=False
    )
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


pytestmark = [
    pytest.mark.qgis,
    pytest.mark.skipif(bool(qgis_missing()), reason=f"needs python3-qgis: {qgis_missing()}"),
]


def labels() -> np.ndarray:
    """Blobs of three classes, and nodata in a corner."""
    rough = np.random.default_rng(6).normal(size=SHAPE)
    smooth = ndimage.gaussian_filter(rough, 12)
    low, high = np.quantile(smooth, [0.4, 0.7])
    out = np.select([smooth < low, smooth < high], [0, 80], 1).astype(np.uint8)
    out[:60, :90] = NODATA
    return out


LABELS = labels()


@dataclass(frozen=True)
class Seen:
    """What QGIS made of one run."""

    raster: dict
    vector: dict
    pictures: dict[str, np.ndarray]
    grid: GeoBox


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A folder a grid, with the outputs and what QGIS, started once, made of them."""
    folders = {case: tmp_path_factory.mktemp("qgis") for case in GRIDS}
    for case, folder in folders.items():
        write(folder, GRIDS[case], placed=case != "no place")
    home = str(tmp_path_factory.mktemp("home"))
    done = subprocess.run(
        [PYTHON, SCRIPT, *folders.values()],
        capture_output=True,
        check=False,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": home, "XDG_RUNTIME_DIR": home},
    )
    assert done.returncode == 0, done.stderr
    return folders


@pytest.fixture(params=GRIDS)
def seen(request, folders) -> Seen:
    folder = folders[request.param]
    pictures = {
        kind: np.asarray(Image.open(folder / f"{kind}.png").convert("RGB"))
        for kind in ("raster", "vector")
    }
    told = json.loads((folder / "qgis.json").read_text())
    return Seen(**told, pictures=pictures, grid=GRIDS[request.param])


def write(folder: Path, grid: GeoBox, *, placed: bool) -> None:
    base = random_spec(classes=3)
    fields = {name: getattr(base, name) for name in ModelSpec.__dataclass_fields__}
    spec = ModelSpec(**{**fields, "classes": SCHEME})
    bundle = load_bundle(random_bundle(folder / "x.geounet", spec))
    scene = MemoryScene.of(np.zeros((1, *SHAPE), np.uint8), geobox=grid if placed else None).info
    paths = OutputPaths.of(scene, "x", SegmentOptions(out=folder / "map.tif"))
    window = Window(row_off=0, col_off=0, height=SHAPE[0], width=SHAPE[1])
    with Staging() as staging:
        with Outputs(paths, staging, scene, MapKind.of_model(bundle)) as outputs:
            outputs.write(Strip(window=window, labels=LABELS, confidence=None))
            outputs.finish()
        staging.commit()


def test_the_raster_has_the_colours_and_names_of_the_classes(seen: Seen) -> None:
    assert seen.raster["valid"]
    assert seen.raster["renderer"] == "paletted"
    assert seen.raster["classes"] == [[c.code, c.name, c.color, 255] for c in SCHEME]
    assert seen.raster["nodata"] == NODATA
    assert seen.raster["band"] == "Band 1: class"


def test_the_polygons_have_the_colours_and_names_of_the_classes(seen: Seen) -> None:
    assert seen.vector["valid"]
    assert seen.vector["renderer"] == "categorizedSymbol"
    # QGIS 3.22 keeps the values as text, later ones as numbers
    told = [[str(code), name, color] for code, name, color in seen.vector["classes"]]
    assert told == [[str(c.code), c.name, c.color] for c in SCHEME]
    assert seen.vector["layer"] == "map"
    assert seen.vector["features"] == sum(ndimage.label(c.code == LABELS)[1] for c in SCHEME)
    areas = ["area_m2", "perimeter_m"] if seen.grid.crs is not None else []
    assert seen.vector["fields"] == ["fid", "class", "name", "pixels", *areas, "touches_edge"]


def test_both_lie_in_the_same_place(seen: Seen) -> None:
    crs = "" if seen.grid.crs is None else f"EPSG:{seen.grid.crs.epsg}"
    assert seen.raster["crs"] == seen.vector["crs"] == crs
    assert seen.vector["extent"] == pytest.approx(seen.raster["extent"], rel=1e-12, abs=1e-6)


def expected_picture() -> np.ndarray:
    colors = np.full((256, 3), 255, np.uint8)
    for entry in SCHEME:
        colors[entry.code] = entry.rgb
    return colors[LABELS]


def away_from_edges() -> np.ndarray:
    """Pixels all of whose neighbours are alike: outlines are drawn along the others."""
    around = np.ones((5, 5))
    low = ndimage.minimum_filter(LABELS, footprint=around)
    return low == ndimage.maximum_filter(LABELS, footprint=around)


def test_the_raster_is_drawn_pixel_by_pixel(seen: Seen) -> None:
    assert np.array_equal(seen.pictures["raster"], expected_picture())


def test_the_polygons_are_drawn_as_the_raster(seen: Seen) -> None:
    inner = away_from_edges()
    assert inner.mean() > 0.5
    same = (seen.pictures["vector"] == seen.pictures["raster"]).all(axis=-1)
    assert same[inner].mean() >= 0.98
    assert same.mean() > 0.7  # all but the outlines
