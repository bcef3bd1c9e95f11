"""``geounet mosaic``: the files that come out, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
from maps import SCHEME, expected, save
from rasters import NORTH, WEST, at

from geounet.area import PixelAreas
from geounet.classes import NODATA
from geounet.errors import OptionError, OutputError, SceneError
from geounet.legend import read_legend
from geounet.mosaic import GridChoice, MosaicOptions, mosaic_maps
from geounet.polygonization import polygonize_raster
from geounet.scene import open_scene
from geounet.stac import When, item_of, write_item
from geounet_cli.main import main

MODEL = {"GEOUNET_MODEL": "ice 1", "GEOUNET_MODEL_SHA256": "ab"}


@pytest.fixture
def pair(tmp_path):
    """Two maps that overlap, side by side."""
    rng = np.random.default_rng(3)
    labels = rng.choice(np.array([0, 1, 7], np.uint8), (2, 8, 9)).repeat(8, 1).repeat(8, 2)
    labels[0, 20:30, 40:50] = NODATA
    return [
        save(tmp_path / f"{i}.tif", labels[i], tags=MODEL, transform=at(10, WEST + 400 * i))
        for i in range(2)
    ]


def truth(pair) -> np.ndarray:
    layers = [np.full((64, 112), NODATA, np.uint8) for _ in pair]
    for i, path in enumerate(pair):
        with rasterio.open(path) as source:
            layers[i][:, 40 * i : 40 * i + 72] = source.read(1)
    return expected(layers)


def test_the_files_of_a_mosaic(pair, tmp_path, capsys) -> None:
    out = tmp_path / "out.tif"
    argv = ["mosaic", *map(str, pair), "-o", str(out), "--polygons", str(tmp_path / "out.gpkg")]
    assert main([*argv, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    wanted = truth(pair)
    with rasterio.open(out) as made:
        np.testing.assert_array_equal(made.read(1), wanted)
        assert made.nodata == NODATA
        assert made.colormap(1)[1] == (0x1F, 0x78, 0xB4, 255)
        tags = made.tags()
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert {key: tags[key] for key in MODEL} == MODEL
    assert json.loads(tags["GEOUNET_MOSAIC"]) == ["0.tif", "1.tif"]
    assert list(read_legend(out).values()) == list(SCHEME)
    names = {"out.qml", "out.tif.aux.xml", "out.gpkg", "out.tif", "0.tif", "1.tif"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (report["maps"], report["copied"]) == (2, 2)
    assert report["pixels"] == wanted.size
    assert report["valid_pixels"] == (wanted != NODATA).sum()
    areas = np.broadcast_to(
        PixelAreas(open_scene(out).info.geobox)(open_scene(out).info.window), wanted.shape
    )
    for one in SCHEME:
        assert report["classes"][one.name]["pixels"] == (wanted == one.code).sum()
        area = areas[wanted == one.code].sum()
        assert report["classes"][one.name]["area_m2"] == pytest.approx(area)


@pytest.mark.parametrize("options", [{}, {"simplify": 1.5}, {"smooth": True}], ids=str)
def test_polygons_are_those_of_the_mosaic(pair, tmp_path, options) -> None:
    out = tmp_path / "out.tif"
    report = mosaic_maps(pair, out, MosaicOptions(polygons=True, **options))
    assert report.polygons == tmp_path / "out.gpkg"
    polygonize_raster(out, tmp_path / "again.gpkg", overwrite_options(options))
    frames = [
        pyogrio.read_dataframe(tmp_path / name, layer=layer)
        for name, layer in (("out.gpkg", "out"), ("again.gpkg", "again"))
    ]
    keys = [sorted(zip(f["class"], f.geometry.to_wkb(), strict=True)) for f in frames]
    assert keys[0] == keys[1]


def overwrite_options(options):
    from geounet.polygonization import PolygonizeOptions

    return PolygonizeOptions(**options)


def test_the_model_is_told_if_it_is_that_of_all(pair, tmp_path) -> None:
    other = save(tmp_path / "x.tif", np.zeros((9, 9), np.uint8), tags={"GEOUNET_MODEL": "ice 2"})
    mosaic_maps([*pair, other], tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as made:
        assert not MODEL.keys() & made.tags().keys()


def test_what_a_person_hears(pair, tmp_path, capsys) -> None:
    far = save(tmp_path / "far.tif", np.zeros((9, 9), np.uint8), crs="EPSG:32634")
    argv = ["mosaic", *map(str, pair), str(far), "-o", str(tmp_path / "o.tif")]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert "1 of 3 maps lie on other pixels: resampled (nearest) to" in err
    assert "pixels of 10 in EPSG:32633" in err
    assert "the maps lie far apart: the mosaic has" in err
    assert "3 maps," in out
    assert main([*argv[:3], "-o", str(tmp_path / "p.tif"), "-q"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["0.tif", "-o", "0.tif", "--overwrite"], "0.tif is one of the maps itself"),
        (["0.tif", "-o", "1.tif"], "1.tif exists: pass --overwrite"),
        (["0.tif", "-o", "o.png"], "-o o.png: the mosaic is a GeoTIFF: end it in .tif"),
        (["0.tif", "-o", "o.tif", "--polygons", "o.shp"], "o.shp"),
        (["0.tif", "-o", "o.tif", "--simplify", "far"], "--simplify far: give pixels"),
        (["0.tif", "-o", "o.tif", "--crs", "EPSG:9999999"], "--crs EPSG:9999999: no CRS"),
        (["no.tif", "-o", "o.tif"], "no.tif does not exist"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals_are_one_line(pair, monkeypatch, capsys, argv, why) -> None:
    monkeypatch.chdir(pair[0].parent)
    before = {path.name: path.read_bytes() for path in pair[0].parent.iterdir()}
    assert main(["mosaic", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("geounet: ")
    assert why in err
    assert len(err.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in pair[0].parent.iterdir()} == before


def test_nothing_valid_is_an_error(pair, tmp_path) -> None:
    like = save(
        tmp_path / "like.tif", np.zeros((5, 5), np.uint8), transform=at(10, WEST, NORTH + 9e4)
    )
    with pytest.raises(SceneError, match=r"no map has a valid pixel on the grid of .*like\.tif"):
        mosaic_maps(pair, tmp_path / "o.tif", MosaicOptions(grid=GridChoice(like=str(like))))
    empty = save(tmp_path / "empty.tif", np.full((5, 5), NODATA, np.uint8))
    with pytest.raises(SceneError, match=r"empty\.tif has no valid pixel"):
        mosaic_maps([empty], tmp_path / "o.tif")
    assert not [path for path in tmp_path.iterdir() if "o." in path.name]


def test_a_damaged_map_leaves_nothing(pair, tmp_path) -> None:
    with rasterio.open(pair[1]) as source:
        labels, affine = source.read(1), source.transform
    save(pair[1], labels, compress="deflate", transform=affine)
    with rasterio.open(pair[1]) as source:
        start = int(source.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    content = pair[1].read_bytes()
    pair[1].write_bytes(content[:start] + bytes(40) + content[start + 40 :])
    with pytest.raises(SceneError, match=r"1\.tif: the pixels cannot be read"):
        mosaic_maps(pair, tmp_path / "o.tif", MosaicOptions(polygons=True))
    assert {path.name for path in tmp_path.iterdir()} == {"0.tif", "1.tif"}


def test_a_mosaic_can_be_replaced(pair, tmp_path) -> None:
    out = tmp_path / "o.tif"
    mosaic_maps(pair[:1], out)
    with pytest.raises(OutputError, match="exists: pass --overwrite"):
        mosaic_maps(pair, out)
    mosaic_maps(pair, out, MosaicOptions(overwrite=True))
    with rasterio.open(out) as made:
        assert made.width == 112
    with pytest.raises(OptionError, match="--polygons"):
        MosaicOptions(polygons=tmp_path / "o.shp")


def test_an_item_of_the_mosaic(pair, tmp_path) -> None:
    """From the items of the maps, where they have one, and their times."""
    dated = tmp_path / "S2A_MSIL2A_20230102T101010_a.tif"
    pair[0].rename(dated)
    write_item(pair[1], item_of(pair[1], when=When.at(datetime(2022, 1, 1, tzinfo=UTC))))
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "o.tif"
    report = mosaic_maps([dated, pair[1]], out, MosaicOptions(stac=True, polygons=True))
    assert report.item == out.with_suffix(".json")
    item = json.loads(report.item.read_text())
    assert item["properties"]["start_datetime"] == "2022-01-01T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2023-01-02T10:10:10Z"
    assert [link["href"] for link in item["links"]] == [f"../{dated.name}", "../1.json"]
    assert set(item["assets"]) == {"classes", "polygons"}
    classes = item["assets"]["classes"]["classification:classes"]
    counts = {c["title"]: c.get("count") for c in classes}
    assert counts["ice"] == report.classes["ice"].pixels
    for path in set(out.parent.iterdir()) - {report.item}:
        path.unlink()
    with pytest.raises(OutputError, match=r"o\.json exists"):
        mosaic_maps(pair[1:], out, MosaicOptions(stac=True))
    mosaic_maps(pair[1:], tmp_path / "p.tif", MosaicOptions(stac=True))
    told = json.loads((tmp_path / "p.json").read_text())["properties"]
    assert told["datetime"] == "2022-01-01T00:00:00Z"
