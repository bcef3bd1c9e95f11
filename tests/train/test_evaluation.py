"""``geounet evaluate MODEL --images --labels``: a bundle scored over a set."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import geopandas
import numpy as np
import pytest
import rasters
import shapely

pytest.importorskip("torchgeo")

from geounet import segment
from geounet.bundle import load_bundle
from geounet.errors import DataError, DeviceError, ModelError, OutputError, ValueRangeError
from geounet.evaluate import evaluate
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet.train.data import DataRequest, open_data
from geounet.train.evaluation import run_evaluate
from geounet.train.settings import EvaluateSettings
from geounet_cli.main import main

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # torchgeo multiplies affines
]

BANDS = ("red", "nir")
WATER_BANDS = "coastal=1,blue=2,green=3,red=4,nir=5,swir1=6,swir2=7"


def smooth(rng, size):
    """Blobs, not noise: what a network sees depends on what is around."""
    coarse = rng.normal(size=(2, size[0] // 8 + 1, size[1] // 8 + 1))
    fine = np.kron(coarse, np.ones((8, 8)))[:, : size[0], : size[1]]
    return (fine + 0.2 * rng.normal(size=fine.shape)).astype(np.float32)


@pytest.fixture
def model(tmp_path):
    return random_bundle(tmp_path / "random.geounet", random_spec(BANDS, classes=3), seed=2)


@pytest.fixture
def chips(tmp_path):
    """Folders of ten images side by side, with labels of the classes 0 and 1."""
    for i in range(10):
        rng = np.random.default_rng(i)
        data = smooth(rng, (64, 72))
        data[:, :8, :9] = np.nan
        where = rasters.at(10, 3e5 + 5000 * i)
        image = tmp_path / "images" / f"{i}.tif"
        image.parent.mkdir(exist_ok=True)
        rasters.write(image, data, names=BANDS, nodata=np.nan, transform=where)
        label = tmp_path / "labels" / f"{i}.tif"
        label.parent.mkdir(exist_ok=True)
        rasters.write(label, (data[0] > 0).astype(np.uint8), transform=where)
    return tmp_path


def asked(folder, **more):
    given = {"images": str(folder / "images"), "labels": str(folder / "labels"), "device": "cpu"}
    return EvaluateSettings(**{**given, **more})


def confusion(result):
    return np.array(result.scores.confusion)


def of_maps(folder, model, images, codes):
    """The same counts from class maps of ``segment``, by the form of the verb that takes a map."""
    total = np.zeros((codes, codes), np.int64)
    for image in images:
        out = folder / f"{image.stem}.map.tif"
        segment(image, model=model, out=out, polygons=False, precision="fp32", device="cpu")
        report = evaluate(
            out, folder / "labels" / image.name, classes={str(c): c for c in range(codes)}
        )
        total += np.array(report.confusion)
    return total


@pytest.mark.parametrize("arch", ["unet", "unet-mobilenet_v2"])
def test_what_is_scored_is_what_segment_maps(chips, arch):
    model = random_bundle(chips / "m.geounet", random_spec(BANDS, classes=3, arch=arch), seed=2)
    result = run_evaluate(model, asked(chips))
    images = sorted((chips / "images").iterdir())
    expected = of_maps(chips, model, images, 3)
    assert expected.sum() == 10 * (64 * 72 - 8 * 9)
    assert np.abs(confusion(result) - expected).sum() <= 4  # ties
    assert result.scores.ignored == 10 * 8 * 9
    assert result.scores.chips == len(result.scores.groups) == 10


def test_a_scene_that_is_cut_is_scored_as_a_whole(tmp_path, model):
    """Blocks see what lies around them, so the cut changes no label."""
    (tmp_path / "labels").mkdir()
    data = smooth(np.random.default_rng(1), (701, 830))
    data[:, 300:320, :] = np.nan
    scene = rasters.write(tmp_path / "scene.tif", data, names=BANDS, nodata=np.nan)
    label = rasters.write(tmp_path / "labels" / "scene.tif", (data[0] > 0).astype(np.uint8))
    result = run_evaluate(model, asked(tmp_path, images=str(scene), labels=str(label)))
    assert result.scores.chips > 4
    assert np.abs(confusion(result) - of_maps(tmp_path, model, [scene], 3)).sum() <= 8
    assert not np.isnan(result.scores.mean_iou.low)


def test_bands_are_found_by_name_in_each_image(chips, model):
    expected = confusion(run_evaluate(model, asked(chips)))
    for i in (0, 3, 4):
        path = chips / "images" / f"{i}.tif"
        rng = np.random.default_rng(i)
        data = smooth(rng, (64, 72))
        data[:, :8, :9] = np.nan
        write = partial(rasters.write, nodata=np.nan, transform=rasters.at(10, 3e5 + 5000 * i))
        write(path, np.stack([data[1], np.ones_like(data[0]), data[0]]), names=("nir", "x", "Red"))
    np.testing.assert_array_equal(confusion(run_evaluate(model, asked(chips))), expected)
    rasters.write(chips / "images" / "5.tif", smooth(rng, (64, 72)), names=("green", "blue"))
    with pytest.raises(DataError, match=r"needs red nir; the scene has 2 bands .*: 5\.tif$"):
        run_evaluate(model, asked(chips))


@pytest.mark.parametrize(
    ("names", "count"), [(("gray",), 1), (("band1", "band2"), 2), (("red", "nir"), 2)]
)
def test_images_without_band_names(chips, names, count):
    """By their place for a model that knows no other names; else the user says which is which."""
    model = random_bundle(chips / "m.geounet", random_spec(names), seed=2)
    for i in range(10):
        data = smooth(np.random.default_rng(i), (64, 72))[:count]
        place = rasters.at(10, 3e5 + 5000 * i)
        rasters.write(chips / "images" / f"{i}.tif", data, transform=place)
    given = ",".join(f"{name}={place}" for place, name in enumerate(names, start=1))
    expected = confusion(run_evaluate(model, asked(chips, bands=given)))
    if names == ("red", "nir"):
        with pytest.raises(DataError, match=r"say which band is which with --bands red=1,nir=2"):
            run_evaluate(model, asked(chips))
    else:
        np.testing.assert_array_equal(confusion(run_evaluate(model, asked(chips))), expected)


def test_a_class_without_a_pixel_is_fine_unless_it_is_to_be_learnt(chips, model):
    spec = load_bundle(model).spec
    result = run_evaluate(model, asked(chips))
    assert [c.labelled > 0 for c in result.scores.classes] == [True, True, False]
    assert any("2 class 2 0.00% of the labelled pixels" in line for line in result.notes)
    request = DataRequest(
        images=chips / "images", labels=chips / "labels", classes=spec.classes, unit=spec.unit
    )
    with pytest.raises(DataError, match="classes without a pixel in any label"):
        open_data(request)


def test_all_that_is_wrong_is_said_at_once_and_mended(chips, model):
    label = np.zeros((64, 72), np.int16)
    label[:, :20], label[:, 20:30], label[:, 30:50] = 7, -1, 1
    where = rasters.at(10, 3e5 + 15000)
    rasters.write(chips / "labels" / "3.tif", label, transform=where)
    with pytest.raises(DataError) as caught:
        run_evaluate(model, asked(chips))
    text = str(caught.value)
    assert text.startswith("the data cannot be used, 2 problems:")
    assert "label value -1 (640 px) is no class of random (0 class 0, 1 class 1, 2 class 2)" in text
    assert "--map=-1=CODE, or leave it out, --ignore=-1): 3.tif" in text
    assert "label value 7 (1,280 px)" in text
    assert "--map 7=CODE" in text
    result = run_evaluate(model, asked(chips, ignore="-1", map="7=2"))
    assert result.scores.classes[2].labelled == 1280 - 72
    assert result.scores.ignored == 10 * 72 + 640


def test_polygons_masks_and_groups(chips, model):
    square = shapely.box(3e5 + 300, 5e6 - 600, 3e5 + 700, 5e6 - 100)
    squares = [shapely.affinity.translate(square, 5000 * i) for i in range(10)]
    frame = geopandas.GeoDataFrame({"class": [5] * 10}, geometry=squares, crs="EPSG:32633")
    frame.to_file(chips / "drawn.gpkg")
    for i in range(10):
        path = chips / "masks" / f"{i}.tif"
        path.parent.mkdir(exist_ok=True)
        mask = np.ones((64, 72), np.uint8)
        mask[:, 60:] = 0
        rasters.write(path, mask, transform=rasters.at(10, 3e5 + 5000 * i))
    (chips / "places.json").write_text(json.dumps([["0", "1", "2"], ["3", "4"], ["5"]]))
    settings = asked(
        chips,
        labels=str(chips / "drawn.gpkg"),
        map={5: 1},
        background="class 0",
        mask=str(chips / "masks"),
        groups=chips / "places.json",
    )
    scores = run_evaluate(model, settings).scores
    assert scores.pixels == 10 * (64 * 60 - 72)
    assert scores.classes[1].labelled == 10 * 50 * 30
    assert sorted(len(group.chips) for group in scores.groups)[-3:] == [1, 2, 3]


def test_nothing_to_score(chips, model):
    for i in range(10):
        where = rasters.at(10, 3e5 + 5000 * i)
        label = np.full((64, 72), 9, np.uint8)
        rasters.write(chips / "labels" / f"{i}.tif", label, transform=where)
    with pytest.raises(DataError, match="no label holds a pixel of 0 class 0, 1 class 1"):
        run_evaluate(model, asked(chips, ignore=9))


def test_values_that_cannot_be(chips):
    """All images in another unit are refused; one is told."""
    spec = replace(random_spec(BANDS), plausible=(-3.0, 3.0))
    model = random_bundle(chips / "m.geounet", spec)
    with pytest.raises(ValueRangeError, match=r"0\.tif: band red has a median of"):
        run_evaluate(model, asked(chips, offset=100.0))
    rasters.write(
        chips / "images" / "0.tif",
        np.full((2, 64, 72), 50, np.float32),
        names=BANDS,
        transform=rasters.at(10),
    )
    result = run_evaluate(model, asked(chips))
    assert [line for line in result.notes if "0.tif: band red has a median of 50" in line]


def test_the_page_and_what_is_said(chips, model):
    said, seen = [], []
    page = chips / "page.html"
    result = run_evaluate(
        model,
        asked(chips, report=page),
        command="geounet evaluate <it>",
        say=said.append,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert tuple(said) == result.notes
    assert said[0] == "10 pairs of image and label: same stem"
    total = 10 * 64 * 72
    assert seen == [(i * total // 10, total) for i in range(11)]
    html = page.read_text(encoding="utf-8")
    for part in ("<h2>Notes", "Worst", "Best", "geounet evaluate &lt;it&gt;", result.sha256):
        assert part in html
    assert "<h2>Training" not in html
    with pytest.raises(OutputError, match="exists: pass --overwrite"):
        run_evaluate(model, asked(chips, report=page, images="nowhere"))
    told = json.loads(result.to_json())
    assert told["scores"]["mean_iou"] == result.scores.mean_iou.as_list()
    assert told["report"] == str(page)


@pytest.mark.parametrize(
    ("name", "more", "error", "message"),
    [
        ("no-model", {}, ModelError, "there is no model 'no-model'"),
        ("flood-s1", {"device": "cuda:77"}, DeviceError, "--device cuda:77: there is no such"),
    ],
)
def test_what_is_not_there(chips, name, more, error, message):
    with pytest.raises(error, match=message):
        run_evaluate(name, asked(chips, **more))


def test_floods_on_the_command_line(data, capsys):
    """Eight real chips, one of them without a label."""
    folder = data / "sen1floods11"
    where = ["--images", str(folder / "S1"), "--labels", str(folder / "labels")]
    assert main(["evaluate", "flood-s1", *where]) == 2
    assert "label value -1 (410,157 px) is no class of flood-s1" in capsys.readouterr().err
    assert main(["evaluate", "flood-s1", *where, "--ignore=-1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "geounet: 8 pairs of image and label: *_S1Hand with *_LabelHand" in err
    assert out.count("\n") == 1
    scores = json.loads(out)["scores"]
    assert (scores["chips"], scores["groups"]) == (7, 7)
    water = scores["classes"][1]
    assert water["label_pixels"] == 679_286
    value, low, high = water["iou"]
    assert 0.3 < low < 0.7 < value < 0.8 < high < 1
    assert scores["auc"][0] > 0.9


def test_chips_without_a_place_in_groups_of_a_file(data, capsys):
    folder = data / "water_landcover_12band"
    command = ["evaluate", "water-ms", "--images", str(folder / "images" / "11*.tif")]
    command += ["--labels", str(folder / "labels"), "--bands", WATER_BANDS]
    assert main(command) == 2
    assert "stores int16 without a scale tag" in capsys.readouterr().err
    command += ["--scale", "0.0001", "--groups", str(folder / "location_groups.json")]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "1 water  0." in out
    assert "95 % confidence interval over groups" in out
