"""What is made of all class maps of a batch: items, and a mosaic; and scenes from items."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rasters
from batches import NAMES, noise

import geounet
from geounet.batch import BatchOptions, read_scenes, run_batch
from geounet.batch.manifest import Manifest
from geounet.errors import OptionError, OutputError
from geounet.mosaic import MosaicOptions, mosaic_maps
from geounet.options import SegmentOptions

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> list[Path]:
    """Two that overlap by half."""
    folder = tmp_path_factory.mktemp("overlapping")
    grid = rasters.UTM["transform"]
    return [
        rasters.write(
            folder / f"{name}.tif", noise(0, 200, 300)[:, :, cols], names=NAMES,
            transform=grid * grid.translation(cols.start, 0),
        )
        for name, cols in {"west": slice(0, 200), "east": slice(100, 300)}.items()
    ]  # fmt: skip


def options(folder: Path, model: Path, scheduler: str, **more) -> BatchOptions:
    segment = SegmentOptions(model=model, overwrite=more.pop("overwrite", False))
    return BatchOptions(folder=folder, segment=segment, scheduler=scheduler, **more)


def test_a_mosaic_and_items(scenes, batch_models, scheduler, tmp_path) -> None:
    out, said = tmp_path / "all.tif", []
    chosen = options(
        tmp_path / "out", batch_models["exact"], scheduler, mosaic=out, stac=True, max_retries=0
    )
    sources = [(str(scene),) for scene in scenes]
    report = run_batch(sources, chosen, say=said.append)
    assert (report.mosaic, report.failed) == (out, {})
    maps = [tmp_path / "out" / f"{scene.stem}.random.tif" for scene in scenes]
    layer = tmp_path / "ref.gpkg"
    mosaic_maps(maps, tmp_path / "ref.tif", MosaicOptions(polygons=layer))
    assert out.read_bytes() == (tmp_path / "ref.tif").read_bytes()
    assert out.with_suffix(".gpkg").exists()
    for path, scene in zip(maps, scenes, strict=True):
        item = json.loads(path.with_suffix(".json").read_text())
        assert (tmp_path / "out" / item["links"][0]["href"]).resolve() == scene.resolve()
        classes = item["assets"]["classes"]["classification:classes"]
        assert sum(one["count"] for one in classes if "count" in one) == 200 * 200
    collection = json.loads((tmp_path / "out" / "collection.json").read_text())
    assert collection["type"] == "Collection"
    assert said == [f"items in {tmp_path / 'out' / 'collection.json'}"]

    before = {path: path.read_bytes() for path in (out, *maps)}
    stamp = out.stat().st_mtime_ns
    again = run_batch(sources, chosen, say=said.append)
    assert (len(again.kept), again.mosaic) == (2, out)
    assert said[-1] == f"{out} is there, of the same class maps"
    assert {path: path.read_bytes() for path in before} == before
    assert out.stat().st_mtime_ns == stamp

    for lost in (out, out.with_suffix(".json")):
        lost.unlink()
        assert run_batch(sources, chosen, say=said.append).mosaic == out
        assert lost.exists()
        assert out.read_bytes() == before[out]


def test_a_mosaic_that_is_there_is_not_replaced(
    scenes, batch_models, scheduler, tmp_path, monkeypatch
) -> None:
    out = tmp_path / "all.tif"
    out.write_bytes(b"mine")
    monkeypatch.setattr("geounet.batch.run.crew", None)  # nothing is begun
    chosen = options(tmp_path / "out", batch_models["exact"], scheduler, mosaic=out)
    with pytest.raises(OutputError, match=r"all\.tif exists, and is not what this batch made"):
        run_batch([(str(scenes[0]),)], chosen, say=print)
    assert out.read_bytes() == b"mine"


def test_json_that_is_no_item_is_not_replaced(scenes, batch_models, scheduler, tmp_path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "west.random.json").write_text('{"mine": 1}')
    chosen = options(folder, batch_models["exact"], scheduler, stac=True)
    with pytest.raises(OutputError, match=r"west\.random\.json exists and is no STAC item of"):
        run_batch([(str(scenes[0]),)], chosen, say=print)


def test_no_mosaic_where_a_scene_failed(scenes, batch_models, scheduler, tmp_path) -> None:
    said, missing = [], str(tmp_path / "missing.tif")
    chosen = options(
        tmp_path / "out", batch_models["exact"], scheduler, mosaic=tmp_path / "all.tif"
    )
    report = run_batch([(str(scenes[0]),), (missing,)], chosen, say=said.append)
    assert (report.mosaic, list(report.failed), len(report.done)) == (None, [missing], 1)
    assert "is not made: a scene failed" in said[-1]
    assert not (tmp_path / "all.tif").exists()


def test_a_mosaic_is_a_geotiff(tmp_path) -> None:
    with pytest.raises(OptionError, match=r"--mosaic all\.png: it is a GeoTIFF: end it in \.tif"):
        options(tmp_path, tmp_path, "tcp://x", mosaic=Path("all.png"))


def test_scenes_of_a_catalogue(scenes, batch_models, scheduler, tmp_path, monkeypatch) -> None:
    features = [
        {
            "type": "Feature", "stac_version": "1.1.0", "id": f"{scene.stem}-item", "links": [],
            "properties": {"datetime": "2024-05-06T07:08:09Z"}, "geometry": None,
            "assets": {"image": {
                "href": scene.name, "type": "image/tiff; application=geotiff",
                "bands": [{"name": name, "eo:common_name": name} for name in NAMES],
            }},
        }
        for scene in scenes
    ]  # fmt: skip
    catalogue = scenes[0].parent / "items.json"
    catalogue.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    monkeypatch.chdir(catalogue.parent)  # where the workers are not
    found = read_scenes(["items.json"], model=batch_models["exact"])
    assert [source.name for source in found] == ["west-item", "east-item"]
    chosen = options(tmp_path / "out", batch_models["exact"], scheduler, stac=True)
    report = run_batch(found, chosen, say=print)
    assert report.failed == {}
    for scene in scenes:
        made = tmp_path / "out" / f"{scene.stem}-item.random.tif"
        geounet.segment(scene, model=batch_models["exact"], out=tmp_path / "a.tif", overwrite=True)
        assert made.read_bytes() == (tmp_path / "a.tif").read_bytes()
        item = json.loads(made.with_suffix(".json").read_text())
        assert item["properties"]["datetime"] == "2024-05-06T07:08:09Z"
    rows = list(Manifest(tmp_path / "out").rows())
    assert {row["scene"] for row in rows} == {"west-item", "east-item"}
