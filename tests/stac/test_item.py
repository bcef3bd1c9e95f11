"""Items of class maps: what is in them, and that they are what the specification asks for."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasters import at, write

import geounet
from geounet.classes import NODATA, ClassDef, ClassScheme
from geounet.errors import OutputError
from geounet.outputs import classes_json
from geounet.stac import When, item_of, read_scenes, write_collection, write_item

SCHEME = ClassScheme(
    classes=tuple(
        ClassDef(code=code, name=name, color="#1f78b4")
        for code, name in enumerate(("Tree cover", "Tree-cover", "木", "nodata"))
    )
)


@pytest.fixture(scope="module")
def flood(samples, tmp_path_factory):
    """A run of a bundled model over a part of a sample: its report."""
    folder = tmp_path_factory.mktemp("flood")
    with rasterio.open(samples / "flood_s1.tif") as source:
        data = source.read(window=rasterio.windows.Window(300, 300, 200, 180))
        crs, affine, names, nodata = (
            source.crs,
            source.transform,
            source.descriptions,
            source.nodata,
        )
    scene = folder / "scene.tif"
    write(scene, data, names=names, crs=crs, transform=affine, nodata=nodata)
    return geounet.segment(scene, model="flood-s1", out=folder / "map.tif")


@pytest.fixture(scope="module")
def item(flood):
    when = When.at(datetime(2021, 1, 2, 3, 4, 5, tzinfo=UTC))
    return item_of(
        flood.raster, polygons=flood.polygons, report=flood, when=when, checksum=True,
        derived_from=["https://x.example/item.json"],
    )  # fmt: skip


def plain(folder: Path, name: str = "map.tif", **options) -> Path:
    labels = np.array([[0, 1, 2], [3, NODATA, 1]], np.uint8)
    tags = {"GEOUNET_CLASSES": classes_json(SCHEME)}
    return write(folder / name, labels, **{"nodata": NODATA, "tags": tags, **options})


def test_what_it_says_of_the_grid(flood, item) -> None:
    told = item["properties"]
    with rasterio.open(flood.raster) as made:
        assert told["proj:code"] == f"EPSG:{made.crs.to_epsg()}"
        assert told["proj:shape"] == list(made.shape)
        assert told["proj:transform"] == list(made.transform)[:6]
        assert told["proj:bbox"] == pytest.approx(list(made.bounds))
    assert told["gsd"] == pytest.approx(10, rel=0.1)
    assert shapely.geometry.shape(item["geometry"]).bounds == pytest.approx(tuple(item["bbox"]))


def test_what_it_says_of_the_classes(flood, item) -> None:
    classes = item["assets"]["classes"]["classification:classes"]
    assert [(c["value"], c["name"]) for c in classes] == [
        (0, "land"),
        (1, "water"),
        (255, "nodata"),
    ]
    assert classes[-1]["nodata"] is True
    for entry in classes[:-1]:
        total = flood.classes[entry["title"]]
        assert entry["count"] == total.pixels
        assert entry["percentage"] == pytest.approx(
            100 * total.pixels / flood.valid_pixels, abs=1e-4
        )
        assert entry["geounet:area_m2"] == total.area_m2


def test_what_it_says_of_the_files(flood, item) -> None:
    for key, path in (("classes", flood.raster), ("polygons", flood.polygons)):
        asset = item["assets"][key]
        assert asset["href"] == f"./{path.name}"
        assert asset["file:size"] == path.stat().st_size
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert asset["file:checksum"] == f"1220{digest}"
    assert "file:checksum" not in item_of(flood.raster)["assets"]["classes"]
    assert item["assets"]["polygons"]["type"] == "application/geopackage+sqlite3"


def test_what_it_says_of_the_model(flood, item) -> None:
    told = item["properties"]
    assert told["mlm:name"] == "flood-s1"
    assert told["mlm:input"][0]["bands"] == ["VV", "VH"]
    assert len(told["mlm:input"][0]["value_scaling"]) == 2
    assert told["geounet:model_sha256"] == flood.model_sha256
    asset = item["assets"]["model"]
    assert asset["href"] == geounet.bundled_models()["flood-s1"].absolute().as_uri()
    assert asset["roles"] == ["mlm:model"]
    own = geounet.load_bundle(geounet.bundled_models()["water-ms"])
    assert item_of(flood.raster, model=own)["properties"]["mlm:name"] == "water-ms"


def test_without_a_model_none_is_told(tmp_path) -> None:
    found = item_of(plain(tmp_path))
    assert not [key for key in found["properties"] if key.startswith("mlm:")]
    assert not [uri for uri in found["stac_extensions"] if "/mlm/" in uri]
    assert set(found["assets"]) == {"classes"}


def test_names_of_classes_are_plain_and_different(tmp_path) -> None:
    found = item_of(plain(tmp_path))["assets"]["classes"]["classification:classes"]
    assert [c["name"] for c in found] == [
        "Tree_cover",
        "Tree-cover",
        "class_2",
        "nodata",
        "nodata_",
    ]
    assert [c.get("title") for c in found] == [*SCHEME.names, "no data"]


def test_when_it_was_seen(tmp_path) -> None:
    told = item_of(plain(tmp_path, "S2A_MSIL2A_20230102T101010_x.water-ms.tif"))["properties"]
    assert told["datetime"] == "2023-01-02T10:10:10Z"
    path = plain(tmp_path)
    os.utime(path, (1e9, 1e9))
    told = item_of(path)["properties"]
    assert told["datetime"] is None
    assert told["start_datetime"] == "1970-01-01T00:00:00Z"
    assert told["end_datetime"] == told["created"] == "2001-09-09T01:46:40Z"
    assert "not known when" in told["description"]


def test_a_map_without_a_place(tmp_path) -> None:
    found = item_of(plain(tmp_path, crs=None))
    assert found["geometry"] is None
    assert "bbox" not in found
    assert found["properties"]["proj:code"] is None


def test_a_crs_without_a_code_is_written_out(tmp_path) -> None:
    crs = "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84"
    told = item_of(plain(tmp_path, crs=crs, transform=at(10, 0, 0)))["properties"]
    assert told["proj:code"] is None
    assert told["proj:wkt2"].startswith("PROJCRS[")


def test_polygons_may_lie_elsewhere(tmp_path) -> None:
    (tmp_path / "layers").mkdir()
    layer = tmp_path / "layers" / "map.geojson"
    layer.write_text("{}")
    asset = item_of(plain(tmp_path), polygons=layer)["assets"]["polygons"]
    assert (asset["href"], asset["type"]) == ("./layers/map.geojson", "application/geo+json")
    (tmp_path / "maps").mkdir()
    asset = item_of(plain(tmp_path / "maps"), polygons=layer)["assets"]["polygons"]
    assert asset["href"] == "../layers/map.geojson"
    with pytest.raises(OutputError, match=r"none\.gpkg cannot be read"):
        item_of(plain(tmp_path), polygons=tmp_path / "none.gpkg")


def test_it_is_written_beside_the_map(flood, item, tmp_path) -> None:
    path = write_item(flood.raster, item)
    assert path == flood.raster.with_suffix(".json")
    assert json.loads(path.read_text(encoding="utf-8")) == item
    assert not [p for p in path.parent.iterdir() if ".partial" in p.name]
    with pytest.raises(OutputError, match="cannot be written"):
        write_item(flood.raster, item, path=tmp_path / "none" / "x.json")


def test_a_folder_is_a_collection(tmp_path) -> None:
    maps = {
        "S2A_MSIL2A_20230102T101010_a.tif": at(10),
        "S2A_MSIL2A_20230301T101010_b.tif": at(10, 4e5),
    }
    for name, affine in maps.items():
        path = plain(tmp_path, name, transform=affine)
        write_item(path, item_of(path))
    (tmp_path / "other.json").write_text("[1]")
    path = write_collection(tmp_path, name="maps")
    found = json.loads(path.read_text())
    assert found["extent"]["temporal"]["interval"] == [
        ["2023-01-02T10:10:10Z", "2023-03-01T10:10:10Z"]
    ]
    items = [json.loads((tmp_path / n).with_suffix(".json").read_text()) for n in maps]
    (box,) = found["extent"]["spatial"]["bbox"]
    assert box == [
        min(i["bbox"][0] for i in items), min(i["bbox"][1] for i in items),
        max(i["bbox"][2] for i in items), max(i["bbox"][3] for i in items),
    ]  # fmt: skip
    assert [i["collection"] for i in items] == ["maps", "maps"]
    hrefs = [link["href"] for link in found["links"] if link["rel"] == "item"]
    assert hrefs == [f"./{Path(n).stem}.json" for n in maps]
    whole = json.loads((tmp_path / "items.json").read_text())
    assert whole["features"] == items
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    write_collection(tmp_path, name="maps")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_without_items(tmp_path) -> None:
    with pytest.raises(OutputError, match="has no STAC items: write them first"):
        write_collection(tmp_path)


@pytest.mark.parametrize(
    ("spans", "around"),
    [
        ([(10, 20), (-30, -20)], (-30, 20)),
        ([(179, -179)], (179, -179)),
        ([(170, 175), (-175, -170)], (170, -170)),
        ([(-180, 180), (10, 20)], (-180, 180)),
    ],
)
def test_the_box_of_a_collection(spans, around) -> None:
    from geounet.stac.collection import _around

    west, south, east, north = _around([(w, 1, e, 2) for w, e in spans])
    assert (west, east) == around
    assert (south, north) == (1, 2)


def test_items_are_read_back(flood, item) -> None:
    """A class map has no bands of a scene: it is refused in a line."""
    path = write_item(flood.raster, item)
    with pytest.raises(geounet.GeounetError, match=r"has no asset with bands of known names"):
        read_scenes(path)


class TestValid:
    """By pystac and the schemas that come with it; it reads the extensions' fields, too."""

    @pytest.fixture(autouse=True)
    def pystac(self):
        return pytest.importorskip("pystac", reason="pip install 'geounet[dev]'")

    def check(self, content) -> None:
        from pystac.validation import validate_dict

        validate_dict({**content, "stac_extensions": []}, extensions=[])

    def test_items(self, item, tmp_path) -> None:
        self.check(item)
        self.check(item_of(plain(tmp_path)))
        self.check(item_of(plain(tmp_path, crs=None)))

    def test_the_schema_can_refuse(self, item) -> None:
        from pystac.errors import STACValidationError

        broken = {**item, "properties": {**item["properties"], "datetime": None}}
        with pytest.raises(STACValidationError):
            self.check(broken)

    def test_collections(self, item, flood) -> None:
        write_item(flood.raster, item)
        path = write_collection(flood.raster.parent)
        self.check(json.loads(path.read_text()))
        self.check(json.loads(flood.raster.with_suffix(".json").read_text()))

    def test_pystac_reads_the_fields(self, pystac, item, flood) -> None:
        read = pystac.Item.from_dict(item)
        assert read.datetime == datetime(2021, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert read.ext.proj.code == item["properties"]["proj:code"]
        assert read.ext.proj.shape == item["properties"]["proj:shape"]
        classes = read.assets["classes"].ext.classification.classes
        assert [c.name for c in classes] == ["land", "water", "nodata"]
        assert [c.count for c in classes[:2]] == [t.pixels for t in flood.classes.values()]
        assert read.assets["classes"].ext.file.size == flood.raster.stat().st_size

    def test_pystac_follows_the_collection(self, pystac, item, flood) -> None:
        write_item(flood.raster, item)
        found = pystac.Collection.from_file(str(write_collection(flood.raster.parent)))
        (one,) = found.get_items()
        assert one.id == "map"
        assert one.get_collection().id == found.id
        assert Path(one.assets["classes"].get_absolute_href()) == flood.raster
