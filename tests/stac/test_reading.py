"""Scenes from items: which files, what they are called, and what their numbers mean."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import rasterio
from items import (
    COG,
    copernicus,
    earth_search,
    item,
    landsat,
    naip,
    planetary_computer,
    sentinel1,
)
from range_server import serve
from rasters import at, write

import geounet
from geounet.errors import BandError, SceneError
from geounet.models import load_model
from geounet.scene import narrow
from geounet.stac import read_scenes
from geounet.stac.document import resolved

SEVEN = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")

NUMBERS = ("01", "02", "03", "04", "08", "11", "12")
"""Of Sentinel-2."""


@pytest.fixture
def read(tmp_path):
    def save_and_read(content, **options):
        path = tmp_path / "found.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return read_scenes(path, **options)

    return save_and_read


@pytest.mark.parametrize(
    ("make", "files"),
    [
        (
            earth_search,
            [f"https://x.example/B{n}.tif" for n in ("01", "02", "03", "04", "08", "11", "12")],
        ),
        (
            planetary_computer,
            [
                f"https://y.example/T32_B{n}_10m.tif"
                for n in ("01", "02", "03", "04", "08", "11", "12")
            ],
        ),
        (landsat, [f"https://z.example/OLI_B{n}.TIF" for n in range(1, 8)]),
    ],
)
def test_the_bands_of_a_model_are_found(read, make, files) -> None:
    (scene,) = read(make(), bands=SEVEN)
    assert scene.files == tuple(files)
    assert [note.name for note in scene.bands] == list(SEVEN)
    assert tuple(load_model("water-ms").spec.band_names) == SEVEN


def test_without_a_model_all_that_have_a_name(read) -> None:
    (scene,) = read(planetary_computer())
    names = {note.name: file for note, file in zip(scene.bands, scene.files, strict=True)}
    assert len(names) == len(scene.bands) == 11
    assert names["rededge2"].endswith("B06_10m.tif")
    assert names["nir08"].endswith("B8A_10m.tif")
    assert set(SEVEN) < set(names)
    (scene,) = read(landsat())
    assert "qa.TIF" not in " ".join(scene.files)
    assert len(scene.files) == 7


def test_numbers_mean_what_the_item_says(read) -> None:
    (scene,) = read(landsat(), bands=("nir", "red"))
    assert [(n.scale, n.offset) for n in scene.bands] == [(2.75e-05, -0.2)] * 2
    (scene,) = read(copernicus())
    assert [(n.name, n.scale, n.offset) for n in scene.bands] == [
        ("blue", 0.0001, -0.1),
        ("swir1", 0.0001, -0.1),
    ]
    assert scene.files == ("s3://eodata/B02_10m.jp2", "s3://eodata/B11_20m.jp2")
    (scene,) = read(sentinel1())
    assert [(n.name, n.scale, n.offset) for n in scene.bands] == [
        ("VH", None, None),
        ("VV", None, None),
    ]


def test_an_offset_that_was_applied_is_not_applied_again(read) -> None:
    """Earth Search tells it all the same."""
    (scene,) = read(earth_search(), bands=("blue",))
    assert [(n.scale, n.offset) for n in scene.bands] == [(0.0001, 0.0)]
    told = earth_search()
    told["properties"]["earthsearch:boa_offset_applied"] = False
    (scene,) = read(told, bands=("blue",))
    assert [(n.scale, n.offset) for n in scene.bands] == [(0.0001, -0.1)]


def test_one_file_with_all_bands(read) -> None:
    (scene,) = read(naip())
    assert scene.files == ("https://n.example/image.tif",)
    assert [n.name for n in scene.bands] == ["red", "green", "blue", "nir"]
    assert read(naip(), bands=("nir", "red"))[0].files == scene.files


def test_what_is_said_of_the_scene(read) -> None:
    (scene,) = read(earth_search())
    assert scene.name == "S2B_32UNU_20230102_0_L2A"
    assert scene.when.properties() == {"datetime": "2023-01-02T03:04:05.678000Z"}
    assert "sentinel-2b" in scene.hint
    assert pickle.loads(pickle.dumps(scene)) == scene


def test_a_collection_is_read_in_order(read, tmp_path) -> None:
    ours = [sentinel1(), earth_search(), {**sentinel1(), "collection": "other/one"}, sentinel1()]
    scenes = read({"type": "FeatureCollection", "features": ours})
    assert [s.name for s in scenes] == [
        "S1A_IW_GRDH",
        "S2B_32UNU_20230102_0_L2A",
        "other_one_S1A_IW_GRDH",
        "S1A_IW_GRDH_2",
    ]
    folder = tmp_path / "measurement"
    assert scenes[0].files == (str(folder / "iw-vh.tiff"), str(folder / "iw-vv.tiff"))
    assert scenes[0].item == str(tmp_path / "found.json")


@pytest.mark.parametrize(
    ("href", "base", "meant"),
    [
        ("./a.tif", "/data/x/item.json", "/data/x/a.tif"),
        ("../y/a.tif", "/data/x/item.json", "/data/x/../y/a.tif"),
        ("a.tif", "item.json", "a.tif"),
        ("/vsis3/b/a.tif", "https://x.example/i.json", "/vsis3/b/a.tif"),
        ("/data/a.tif", "/elsewhere/i.json", "/data/a.tif"),
        ("./a.tif", "https://x.example/c/i.json", "https://x.example/c/a.tif"),
        ("../a.tif", "https://x.example/c/i.json", "https://x.example/a.tif"),
        ("s3://b/a.tif", "/x/i.json", "s3://b/a.tif"),
        ("https://y.example/a.tif?sig=1", "/x/i.json", "https://y.example/a.tif?sig=1"),
        ("file:///data/with%20space.tif", "/x/i.json", "/data/with space.tif"),
    ],
)
def test_links(href, base, meant) -> None:
    assert resolved(href, base) == meant


def test_links_are_relative_to_where_the_item_says_it_is(read) -> None:
    told = sentinel1()
    told["links"] = [{"rel": "self", "href": "https://c.example/s1/item.json"}]
    (scene,) = read(told)
    assert scene.files[0] == "https://c.example/s1/measurement/iw-vh.tiff"
    assert scene.item == "https://c.example/s1/item.json"
    told["links"] = [{"rel": "self", "href": "./item.json"}]
    assert read(told)[0].files[0].endswith("/measurement/iw-vh.tiff")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", r"is no JSON \(Expecting"),
        ("[]", "holds a list, no object: give a STAC Item or ItemCollection"),
        ("{}", "is a JSON object without a type: give a STAC Item or ItemCollection"),
        ('{"type": "Collection"}', "is a JSON object of type Collection: give a STAC Item"),
        ('{"type": "FeatureCollection", "features": []}', "has no items: widen the search"),
        ('{"type": "FeatureCollection", "features": [{}]}', "feature 1 has no assets, so it is no"),
        ('{"type": "FeatureCollection", "features": 7}', "of type FeatureCollection"),
        ('{"type": "Feature", "assets": {}, "properties": "x"}', "properties of no kind"),
        (
            json.dumps(item("x", None, thumbnail={"href": "a.png", "type": "image/png"})),
            r"item x has no asset with bands of known names \(assets: thumbnail\)",
        ),
        (json.dumps(item("x")), r"item x has no asset with bands of known names \(assets: none\)"),
    ],
    ids=range(10),
)
def test_what_is_no_catalogue(tmp_path, content, why) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SceneError, match=why) as caught:
        read_scenes(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_page_of_several_is_told(read) -> None:
    page = {"type": "FeatureCollection", "features": [naip()]}
    with pytest.warns(UserWarning, match=r"is one page of several, with 1 items: get the others"):
        read({**page, "links": [{"rel": "next", "href": "https://c.example/search?page=2"}]})
    heard: list[str] = []
    read({**page, "links": [{"rel": "self", "href": "x"}, 7]}, warn=heard.append)
    assert not heard


def test_a_band_that_is_missing_is_told(read) -> None:
    with pytest.raises(BandError, match=r"item S1A_IW_GRDH: the model needs blue"):
        read(sentinel1(), bands=("blue",))


def test_what_is_not_there(tmp_path) -> None:
    with pytest.raises(SceneError, match=r"no\.json cannot be read \(No such file"):
        read_scenes(tmp_path / "no.json")
    with pytest.raises(SceneError, match="a catalogue is read from a file or over http"):
        read_scenes("s3://bucket/items.json")


def test_a_catalogue_over_http(tmp_path) -> None:
    write(tmp_path / "blue.tif", np.ones((8, 8), np.uint16))
    told = item("x", None, blue={"href": "./blue.tif", "type": COG})
    (tmp_path / "i.json").write_text(json.dumps(told), encoding="utf-8")
    with serve(tmp_path) as url:
        (scene,) = read_scenes(f"{url}/i.json")
        assert scene.files == (f"{url}/blue.tif",)
        reader = scene.open()
        assert reader.info.descriptions == ("blue",)
        reader.close()
        with pytest.raises(SceneError, match=r"no\.json cannot be had \(HTTP 404\)"):
            read_scenes(f"{url}/no.json")
    with pytest.raises(SceneError, match="cannot be had"):
        read_scenes(f"{url}/i.json")


@pytest.fixture
def river(samples, tmp_path):
    """The sample river as single bands with opaque names, another scale, and as one file."""
    with rasterio.open(samples / "river_ms.tif") as source:
        window = rasterio.windows.Window(0, 0, 192, 160)
        data, scales, names = source.read(window=window), source.scales, source.descriptions
        crs, affine = source.crs, source.transform
    assets = {}
    for i, (name, values) in enumerate(zip(names, data, strict=True)):
        write(tmp_path / f"{1000 + i}.tif", values, crs=crs, transform=affine)
        note = {"name": name, "raster:scale": scales[i], "raster:offset": 0}
        assets[f"asset{i}"] = {"href": f"./{1000 + i}.tif", "type": COG, "bands": [note]}
    write(tmp_path / "plain.tif", data, names=names, scale=scales[0], crs=crs, transform=affine)
    write(tmp_path / "nameless.tif", data, crs=crs, transform=affine)
    notes = [asset["bands"][0] for asset in assets.values()]
    whole = {"data": {"href": "nameless.tif", "type": COG, "bands": notes}}
    for name, told in (("single", assets), ("whole", whole)):
        (tmp_path / f"{name}.json").write_text(json.dumps(item(name, None, **told)))
    return tmp_path


@pytest.mark.parametrize("name", ["single", "whole"])
@pytest.mark.parametrize("bands", [(), SEVEN])
def test_an_item_is_segmented_as_its_file_is(river, name, bands) -> None:
    (scene,) = read_scenes(river / f"{name}.json", bands=bands)
    options = {"model": "water-ms", "polygons": False}
    report = geounet.segment(scene.open(), out=river / "a.tif", **options)
    geounet.segment(river / "plain.tif", out=river / "b.tif", **options)
    with rasterio.open(river / "a.tif") as a, rasterio.open(river / "b.tif") as b:
        np.testing.assert_array_equal(a.read(1), b.read(1))
    assert report.valid_pixels > 0
    assert scene.open().info.name == name


def test_only_the_files_that_are_needed_count(river) -> None:
    (scene,) = read_scenes(river / "single.json")
    names = [note.name for note in scene.bands]
    reader, picked = narrow(scene.open(), [names.index("red") + 1], None)
    assert picked == (1,)
    assert reader.info.descriptions == ("red",)
    assert len(reader.info.files) == 1
    reader.close()


def test_a_file_with_other_bands_is_refused(river) -> None:
    (scene,) = read_scenes(river / "whole.json")
    write(river / "nameless.tif", np.ones((3, 9, 9), np.uint16), transform=at(10))
    with pytest.raises(SceneError, match="has 3 bands and its catalogue tells of 7"):
        _ = scene.open().info
