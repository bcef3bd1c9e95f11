"""``geounet quicklook``: right bands, colours, shares and scale; never half-written."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import rasters
from affine import Affine
from hypothesis import example, given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from PIL import Image

from geounet import quicklook as module
from geounet.errors import OptionError, OutputError, SceneError
from geounet.quicklook import (
    choose_bands,
    class_shares,
    metres_per_pixel,
    render_quicklook,
)
from geounet.scene import MemoryScene, SceneBand, SceneInfo, open_scene
from geounet.sheet import nice_length
from geounet_cli.main import main

COLORS = [
    {"code": 0, "name": "land", "color": "#00ff00"},
    {"code": 1, "name": "water", "color": "#0000ff"},
]
UTM = Affine(10, 0, 405_000, 0, -10, 5_012_000)


write = partial(rasters.write, crs="EPSG:32634", transform=UTM)


@pytest.fixture
def pair(tmp_path):
    """A grey scene and a map: land left, water right, no data in the upper left corner."""
    scene = write(tmp_path / "scene.tif", np.full((40, 60), 7, np.uint8))
    codes = np.zeros((40, 60), np.uint8)
    codes[:, 30:] = 1
    codes[:10, :10] = 255
    tags = {"GEOUNET_CLASSES": json.dumps(COLORS)}
    return scene, write(tmp_path / "classes.tif", codes, nodata=255, tags=tags)


@pytest.fixture
def sheets(monkeypatch):
    """Every sheet that is drawn."""
    seen = []
    draw = module.draw_sheet
    monkeypatch.setattr(module, "draw_sheet", lambda sheet: seen.append(sheet) or draw(sheet))
    return seen


def test_colours_shares_and_names(pair, tmp_path, sheets):
    out = render_quicklook(*pair, tmp_path / "look.png")
    sheet = sheets[0]
    assert [text for text, _ in sheet.legend] == [
        "land  47.8%",
        "water  52.2%",
        "no data  4.2% of the scene",
    ]
    assert sheet.legend[1][1] == (0, 0, 255)
    assert sheet.title == "scene"
    assert sheet.subtitle == "60 x 40 px  ·  EPSG:32634  ·  10 m a pixel"
    picture = np.asarray(sheet.classes)
    height, width = picture.shape[:2]
    green, blue = picture[-1, width // 4], picture[-1, -1]
    assert green[1] > 100 > green[0] + green[2]
    assert blue[2] > 100 > blue[0] + blue[1]
    assert len(set(picture[height // 10, width // 20].tolist())) > 1  # neutral, not a class
    with Image.open(out) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 2 * width
        colors = {color for _, color in drawn.getcolors(1 << 20)}
    assert {(0, 255, 0), (0, 0, 255)} <= colors  # the legend


def test_the_scene_is_decimated_to_the_size_asked_for(tmp_path, sheets):
    scene = MemoryScene.of(np.zeros((1, 700, 300), np.uint8))
    render_quicklook(scene, scene, tmp_path / "a.png", max_size=100)
    assert sheets[0].scene.size == sheets[0].classes.size == (43, 100)


@pytest.mark.parametrize("shape", [(1, 400), (300, 1), (1, 1), (3, 3)])
def test_odd_shapes_are_drawn(tmp_path, shape):
    scene = MemoryScene.of(np.zeros((1, *shape), np.uint8))
    assert render_quicklook(scene, scene, tmp_path / "a.png", max_size=200).exists()


def test_a_scene_without_a_valid_pixel_is_drawn(tmp_path, sheets):
    blank = write(tmp_path / "blank.tif", np.full((20, 30), 255, np.uint8), nodata=255)
    render_quicklook(blank, blank, tmp_path / "a.png")
    assert sheets[0].legend[0][0] == "no data  100.0% of the scene"


def test_codes_without_names_even_negative_ones_get_colours(tmp_path, sheets):
    codes = np.array([[-1, 0], [255, 1000]], np.int16)
    scene = write(tmp_path / "c.tif", codes)
    render_quicklook(scene, scene, tmp_path / "a.png")
    texts, colors = zip(*sheets[0].legend, strict=True)
    assert [text.split()[0] for text in texts] == ["-1", "0", "255", "1000"]
    assert len(set(colors)) == 4


def test_a_continuous_raster_is_no_class_map(tmp_path):
    scene = MemoryScene.of(np.arange(400, dtype=np.uint16).reshape(1, 20, 20))
    with pytest.raises(SceneError, match=r"400 different values.*give the class map"):
        render_quicklook(scene, scene, tmp_path / "a.png")


BANDS = {
    "natural": (("coastal", "blue", "green", "red", "nir"), (4, 3, 2), "red, green, blue"),
    "sentinel-2": (("B02", "B03", "B04", "B08", "B11"), (3, 2, 1), "red, green, blue"),
    "false": (("swir1", "nir", "red", "green"), (1, 2, 3), "swir1, nir, red"),
    "infrared": (("nir", "red", "green"), (1, 2, 3), "nir, red, green"),
    "radar": (("VH", "VV"), (2, 1), "VV, VH, VV / VH"),
    "unnamed": (("", "", "", ""), (1, 2, 3), "band 1, 2, 3"),
    "two": (("a", "b"), (1,), "band a"),
    "two unnamed": (("", ""), (1,), "band 1"),
    "one": (("",), (1,), "band 1"),
}


@pytest.mark.parametrize("case", BANDS)
def test_bands_are_chosen_by_name(case):
    names, picked, caption = BANDS[case]
    info = SceneInfo(
        name="s",
        source="s",
        geobox=GeoBox((2, 2), UTM, "EPSG:32634"),
        georeferenced=True,
        bands=tuple(SceneBand(name=name, dtype="uint8") for name in names),
        hint="S2A_MSIL2A" if case == "sentinel-2" else "",
    )
    assert choose_bands(info) == (picked, caption)


@pytest.mark.parametrize(
    ("crs", "affine", "expected"),
    [
        ("EPSG:32634", UTM, 10.0),
        ("EPSG:32634", UTM @ Affine.rotation(30), 10.0),
        ("EPSG:4326", Affine(0.001, 0, 20, 0, -0.001, 60.05), 55.8),  # 111.3 m, halved at 60 N
        ("EPSG:3857", Affine(100, 0, 2e6, 0, -100, 8_399_738 + 5000), 50.1),
        ("EPSG:2263", Affine(100, 0, 1e6, 0, -100, 2e5), 30.48),  # New York, US survey feet
    ],
)
def test_scale_is_ground_length_in_every_crs(crs, affine, expected):
    assert metres_per_pixel(GeoBox((100, 100), affine, crs)) == pytest.approx(expected, rel=0.003)


def test_no_place_no_scale(tmp_path, sheets):
    assert metres_per_pixel(GeoBox((9, 9), Affine.identity(), None)) is None
    scene = MemoryScene.of(np.zeros((1, 9, 9), np.uint8))
    render_quicklook(scene, scene, tmp_path / "a.png")
    assert sheets[0].metres is None
    assert sheets[0].subtitle == "9 x 9 px"


@given(st.floats(1e-3, 1e7))
@example(0.001)
@example(1000.0)
@example(999.9999999999999)
def test_nice_lengths_are_the_largest_round_ones_that_fit(limit):
    length = nice_length(limit)
    assert limit / 2.5 <= length * 1.0000001
    assert length <= limit
    assert f"{length:e}"[0] in "125"


@given(st.integers(1, 200), st.integers(0, 3))
def test_shares_law_every_pixel_counts_once(height, seed):
    codes = np.random.default_rng(seed).integers(0, 4, (1, height, 7), dtype=np.uint8)
    shares, missing = class_shares(MemoryScene.of(codes))
    assert missing == 0
    assert shares == pytest.approx({c: (codes == c).mean() for c in np.unique(codes).tolist()})


def test_shares_in_degrees_are_shares_of_area(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_STRIP_PIXELS", 1)  # strips of 16 rows
    codes = np.repeat([[0], [1]], 480, axis=0).astype(np.uint8)  # 60..30 N and 30..0 N
    grid = Affine(1 / 16, 0, 0, 0, -1 / 16, 60)
    path = write(tmp_path / "d.tif", codes, crs="EPSG:4326", transform=grid)
    shares, _ = class_shares(open_scene(path))
    north = np.sin(np.deg2rad([60, 30, 0]))
    expected = (north[0] - north[1]) / (north[0] - north[2])
    assert shares[0] == pytest.approx(expected, abs=1e-4)


def test_the_same_call_gives_the_same_bytes(pair, tmp_path):
    one, two = (render_quicklook(*pair, tmp_path / name) for name in ("1.png", "2.png"))
    assert one.read_bytes() == two.read_bytes()


def test_neither_raster_is_replaced(pair, tmp_path):
    picture = tmp_path / "photo.png"
    Image.fromarray(np.full((20, 30), 7, np.uint8)).save(picture)
    before = picture.read_bytes()
    for two in ((picture, pair[1]), (pair[0], picture)):
        with pytest.raises(OutputError, match=r"photo\.png is one of the rasters itself: choose"):
            render_quicklook(*two, picture, overwrite=True)
    assert picture.read_bytes() == before


def test_refusals_come_before_any_work(pair, tmp_path):
    scene, classes = pair
    out = tmp_path / "look.png"
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists: pass --overwrite"):
        render_quicklook(scene, classes, out)
    assert out.read_bytes() == b"mine"
    with pytest.raises(OutputError, match="does not exist: make it first"):
        render_quicklook(scene, classes, tmp_path / "no" / "look.png")
    with pytest.raises(OptionError, match=r"look.jpg is not a PNG: give a name that ends in .png"):
        render_quicklook(scene, classes, tmp_path / "look.jpg")
    with pytest.raises(OptionError, match="max_size 10 is too small"):
        render_quicklook(scene, classes, out, max_size=10, overwrite=True)
    assert render_quicklook(scene, classes, out, overwrite=True).read_bytes() != b"mine"


def test_another_grid_is_refused(pair, tmp_path):
    other = write(tmp_path / "other.tif", np.zeros((40, 60), np.uint8), crs="EPSG:32633")
    with pytest.raises(SceneError, match=r"the grids differ: .*other.tif is in EPSG:32633"):
        render_quicklook(pair[0], other, tmp_path / "look.png")


def test_a_full_disk_leaves_nothing_behind(pair, tmp_path, monkeypatch):
    def full(_image, path, *_, **__):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match="No space left on device"):
        render_quicklook(*pair, tmp_path / "look.png")
    assert sorted(tmp_path.iterdir()) == before


def test_command(pair, tmp_path, capsys):
    out = tmp_path / "look.png"
    assert main(["quicklook", *map(str, pair), str(out), "--max-size", "200"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert main(["quicklook", *map(str, pair), str(out)]) == 2
    assert "exists" in capsys.readouterr().err


def test_sample_scenes_are_drawn(samples, tmp_path, sheets):
    render_quicklook(
        samples / "river_ms.tif", samples / "river_ms_landcover.tif", tmp_path / "a.png"
    )
    assert sheets[0].caption == "red, green, blue"
    assert len(sheets[0].legend) == 9
    assert sheets[0].metres * 900 == pytest.approx(30 * 1024, rel=0.01)


@pytest.mark.parametrize("crs", ["EPSG:32633", None])
def test_files_of_several_resolutions(tmp_path, sheets, crs):
    """As a product is delivered: with bands that the map was not made of, on other grids."""
    steps = {"B08_10m": 10, "B02_20m": 20, "B03_20m": 20, "B04_20m": 20, "B01_60m": 60}
    files = [
        write(tmp_path / f"S2A_{name}.tif", np.full((1200 // step,) * 2, step, np.uint8),
              transform=rasters.at(step), crs=crs)
        for name, step in steps.items()
    ]  # fmt: skip
    codes = np.arange(3600, dtype=np.uint8).reshape(60, 60) % 2
    classes = write(tmp_path / "classes.tif", codes, transform=rasters.at(20), nodata=255, crs=crs)
    argv = [*files, classes, tmp_path / "a.png"]
    assert main(["quicklook", *map(str, argv)]) == 0
    assert sheets[0].title == "S2A"
    assert sheets[0].caption == "red, green, blue"


def test_files_that_lie_elsewhere(tmp_path, capsys):
    files = [
        write(tmp_path / f"S2A_B0{i}.tif", np.ones((9, 9), np.uint8), transform=rasters.at(10 * i))
        for i in (2, 3)
    ]
    far = rasters.at(10, 7e5)
    classes = write(tmp_path / "classes.tif", np.ones((9, 9), np.uint8), transform=far)
    argv = [*files, classes, tmp_path / "a.png"]
    assert main(["quicklook", *map(str, argv)]) == 2
    assert "does not lie where the other raster does" in capsys.readouterr().err
