"""``geounet evaluate``: two rasters in, a report out, whatever the strips, codes and grids."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import rasterio
import rasters
from affine import Affine
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from geounet import evaluate as module
from geounet.errors import OptionError, SceneError
from geounet.evaluate import evaluate
from geounet.legend import read_legend
from geounet.metrics import BoundaryScore, Confusion
from geounet.samegrid import check_same_grid
from geounet.scene import open_scene
from geounet_cli.main import main

GRID = Affine(10, 0, 405_000, 0, -10, 5_012_000)
CLASSES = [
    {"code": 0, "name": "land", "color": "#e6dcc8"},
    {"code": 1, "name": "water", "color": "#1f78b4"},
]


def write(path, codes, **options):
    if options.get("transform", GRID) is None:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
    return rasters.write(path, codes, **{"crs": "EPSG:32634", "transform": GRID} | options)


@pytest.fixture
def pair(tmp_path):
    """A map with names and nodata 255, and labels with -1 where nobody looked."""
    rng = np.random.default_rng(4)
    truth = (np.add.outer(np.arange(60), np.arange(50)) % 30 > 14).astype(np.int16)
    guess = np.roll(truth, 1, axis=1).astype(np.uint8)
    guess[rng.random(guess.shape) < 0.03] = 1
    guess[:5] = 255
    truth[:, :4] = -1
    pred = write(
        tmp_path / "pred.tif", guess, nodata=255, tags={"GEOUNET_CLASSES": json.dumps(CLASSES)}
    )
    return pred, write(tmp_path / "labels.tif", truth), guess, truth


def test_report_is_what_the_arrays_give(pair):
    pred, labels, guess, truth = pair
    valid = (guess != 255) & (truth != -1)
    counts, edges = Confusion(), BoundaryScore()
    counts.add(guess, truth, valid)
    edges.add(guess, truth, valid)
    report = evaluate(pred, labels, ignore=[-1])
    assert [entry.name for entry in report.classes] == ["land", "water"]
    assert [entry.score for entry in report.classes] == [counts.score(0), counts.score(1)]
    assert [entry.boundary_f1 for entry in report.classes] == [edges.f1(0), edges.f1(1)]
    assert report.overall_accuracy == counts.accuracy
    assert report.mean_iou == counts.mean_iou()
    assert report.pixels == valid.sum()
    assert report.ignored == (~valid).sum()
    assert np.array(report.confusion).sum() == report.pixels
    assert pickle.loads(pickle.dumps(report)) == report


def test_memory_law_strips_do_not_change_the_report(pair, monkeypatch):
    pred, labels, *_ = pair
    whole = evaluate(pred, labels, ignore=[-1], tolerance=3)
    monkeypatch.setattr(module, "STRIP_PIXELS", 1)  # strips of 16 rows
    assert evaluate(pred, labels, ignore=[-1], tolerance=3) == whole


def test_a_perfect_map_scores_one(pair):
    _, labels, *_ = pair
    report = evaluate(labels, labels)
    assert report.mean_iou == report.mean_f1 == report.mean_boundary_f1 == 1


def test_unknown_label_codes_are_listed_with_the_remedy(pair):
    pred, labels, *_ = pair
    report = evaluate(pred, labels)
    assert report.unknown_labels == (-1,)
    assert "counted as wrong: -1 (--ignore=-1 leaves them out, --map -1=CODE" in report.table()


def test_classes_in_neither_raster_are_null_and_said_so(pair, tmp_path):
    _, _, guess, truth = pair
    classes = [*CLASSES, {"code": 7, "name": "ice", "color": "#ffffff"}]
    pred = write(
        tmp_path / "p.tif", guess, nodata=255, tags={"GEOUNET_CLASSES": json.dumps(classes)}
    )
    labels = write(tmp_path / "l.tif", truth, nodata=-1)
    report = evaluate(pred, labels)
    told = json.loads(report.to_json())
    assert told["classes"][2]["iou"] is None
    assert told["absent_classes"] == ["ice"]
    assert report.mean_iou == np.mean([entry.score.iou for entry in report.classes[:2]])
    assert "left out of the means: ice" in report.table()
    assert "NaN" not in report.to_json()


def test_labels_without_a_boundary_give_no_boundary_score(tmp_path):
    """Polygons that touch nothing: null and a dash, and a line that says why."""
    truth = np.full((40, 40), -1, np.int16)
    truth[2:18, 2:18], truth[22:38, 22:38] = 0, 1
    guess = np.where(truth == 1, 1, 0).astype(np.uint8)
    guess[8, 8] = 1
    pred, labels = write(tmp_path / "p.tif", guess), write(tmp_path / "l.tif", truth)
    report = evaluate(pred, labels, ignore=[-1])
    told = json.loads(report.to_json())
    assert [entry["boundary_f1"] for entry in told["classes"]] == [None, None]
    assert told["mean_boundary_f1"] is None
    assert report.classes[0].score.iou == 255 / 256
    lines = report.table().splitlines()
    assert [line.split()[5] for line in lines[2:4]] == ["-", "-"]
    assert "no boundary in the labels, so no boundary F1: 0, 1" in lines


@pytest.mark.parametrize("kind", ["png", "float", "bool-like"])
def test_masks_with_other_codes_and_without_a_place(pair, tmp_path, kind):
    pred, _, guess, truth = pair
    water = truth == 1
    if kind == "png":
        labels = tmp_path / "mask.png"
        Image.fromarray(water.astype(np.uint8) * 255).save(labels)
    else:
        dtype = np.float32 if kind == "float" else np.uint8
        labels = write(tmp_path / "m.tif", (water * 255).astype(dtype), crs=None, transform=None)
    report = evaluate(pred, labels, remap={255: 1})
    valid = guess != 255
    both = ((guess == 1) & water & valid).sum()
    assert report.classes[1].score.iou == both / (((guess == 1) | water) & valid).sum()


def test_names_come_from_the_option_the_tag_the_sidecar_or_the_code(pair, tmp_path):
    pred, labels, guess, _ = pair
    given = evaluate(pred, labels, ignore=[-1], classes={"dry": 0, "wet": 1})
    assert [entry.name for entry in given.classes] == ["dry", "wet"]
    plain = write(tmp_path / "plain.tif", guess, nodata=255)
    assert [entry.name for entry in evaluate(plain, labels, ignore=[-1]).classes] == ["0", "1"]
    (tmp_path / "plain.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category>ground</Category>'
        "<Category>lake</Category><Category></Category></CategoryNames></PAMRasterBand>"
        "</PAMDataset>"
    )
    named = evaluate(plain, labels, ignore=[-1])
    assert [entry.name for entry in named.classes] == ["ground", "lake"]


def test_legend_takes_colours_from_the_colour_table(tmp_path):
    path = write(tmp_path / "c.tif", np.eye(4, dtype=np.uint8))
    with rasterio.open(path, "r+") as out:
        out.write_colormap(1, {0: (1, 2, 3, 255), 1: (255, 0, 16, 255)})
    (tmp_path / "c.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category>a</Category>'
        "<Category>b</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    legend = read_legend(path)
    assert [(c.name, c.color) for c in legend.values()] == [("a", "#010203"), ("b", "#ff0010")]


@pytest.mark.parametrize("text", ["nonsense", '{"a": 1}', '[{"code": 999}]', "[1, 2]"])
def test_someone_elses_tag_is_no_legend(tmp_path, text):
    codes = np.eye(4, dtype=np.uint8)
    assert read_legend(write(tmp_path / "t.tif", codes, tags={"GEOUNET_CLASSES": text})) == {}


MISMATCHES = {
    "shape": ({}, (30, 30), r"30 x 30 pixels against 50 x 60 .*gdalwarp -r near -t_srs EPSG:32634"),
    "crs": ({"crs": "EPSG:32633"}, None, r"is in EPSG:32633, .* in EPSG:32634: bring .*gdalwarp"),
    "shift": (
        {"transform": Affine.translation(3, 0) @ GRID},
        None,
        r"up to 0.3 pixels from .*corner 405003, 5012000 against 405000, 5012000.*-te 405000",
    ),
    "pixel": (
        {"transform": GRID @ Affine.scale(1.001)},
        None,
        r"pixel size 10.01 against 10,",
    ),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_other_grids_are_refused_with_what_differs_and_the_remedy(pair, tmp_path, case):
    options, shape, message = MISMATCHES[case]
    pred, _, _, truth = pair
    truth = truth if shape is None else truth[: shape[0], : shape[1]]
    labels = write(tmp_path / "other.tif", truth, **options)
    with pytest.raises(SceneError, match=message):
        evaluate(pred, labels)


def test_grids_that_differ_by_rounding_are_the_same(pair, tmp_path):
    pred, _, _, truth = pair
    nudged = Affine(10 + 1e-12, 0, 405_000 + 1e-7, 0, -10 - 1e-12, 5_012_000)
    labels = write(tmp_path / "nudged.tif", truth, transform=nudged)
    assert evaluate(pred, labels, ignore=[-1]).pixels > 0


def test_real_labels_fit_their_scenes(data):
    """Pixel sizes of Sen1Floods11 differ by 1e-14 between scene and label."""
    folder, sizes = data / "sen1floods11", set()
    for path in sorted((folder / "S1").glob("*.tif")):
        scene = open_scene(path).info
        label = open_scene(folder / "labels" / path.name.replace("S1", "Label")).info
        check_same_grid(scene, label)
        sizes |= {scene.geobox.affine.a, label.geobox.affine.a}
    assert len(sizes) > 1


def test_a_rotated_grid_gets_no_command_that_cannot_work(pair, tmp_path):
    turned = write(tmp_path / "r.tif", pair[2], transform=GRID @ Affine.rotation(20))
    with pytest.raises(SceneError, match=r"lies up to .* pixels from .*: cut or resample"):
        evaluate(turned, pair[1])


def test_fractions_are_no_codes(pair, tmp_path):
    _, labels, *_ = pair
    pred = write(tmp_path / "conf.tif", np.full((60, 50), 0.37, np.float32))
    with pytest.raises(SceneError, match=r"fractions such as 0.37.*not a probability"):
        evaluate(pred, labels)


def test_several_bands_are_no_class_map(tmp_path, pair):
    _, labels, *_ = pair
    Image.fromarray(np.zeros((60, 50, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(SceneError, match=r"rgb.png has 3 bands; .*gdal_translate -b N"):
        evaluate(tmp_path / "rgb.png", labels)


def test_nothing_to_score(pair):
    pred, labels, *_ = pair
    with pytest.raises(SceneError, match="no pixel can be scored"):
        evaluate(pred, labels, ignore=[-1, 0, 1])


def test_command_prints_a_table_or_one_line_of_json(pair, capsys):
    pred, labels, *_ = pair
    assert main(["evaluate", str(pred), str(labels), "--ignore", "-1"]) == 0
    table = capsys.readouterr().out
    assert "0 land" in table
    assert "overall accuracy 0.9" in table
    assert main(["evaluate", str(pred), str(labels), "--ignore=-1", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    told = json.loads(out)
    assert told["classes"][1]["name"] == "water"
    assert math.isclose(told["mean_iou"], evaluate(pred, labels, ignore=[-1]).mean_iou)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ignore=x"], "--ignore: 'x' is not a class code"),
        (["--map", "255"], "'255' is not --map A=B"),
        (["--classes", "water=one"], "--classes: 'one' is not a class code"),
        (["--tolerance", "-2"], "boundary tolerance -2.0 must be 0 to 1000 pixels"),
    ],
)
def test_command_refuses_in_one_line(pair, capsys, options, message):
    assert main(["evaluate", str(pair[0]), str(pair[1]), *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "a.tif is compared with what? Give LABELS for a class map, or --images and --labels"),
        (["b.tif", "--scale", "2"], "--scale is for a model with --images and --labels"),
        (["--images", "x"], "a.tif is scored over a set: give --labels, too"),
        (["--labels", "x"], "a.tif is scored over a set: give --images, too"),
        (["b.tif", "--images", "x", "--labels", "y"], "b.tif: --labels y says already what is"),
        (["--images", "x", "--labels", "y", "--tolerance", "2"], "--tolerance is for PRED LABELS"),
        (["--images", "x", "--labels", "y", "--classes", "a=1"], "--classes is for PRED LABELS"),
    ],
)
def test_the_two_forms_are_not_mixed(capsys, options, message):
    assert main(["evaluate", "a.tif", *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_model_needs_the_training_packages(pair, monkeypatch, capsys):
    monkeypatch.setattr("geounet_cli.evaluate.find_spec", lambda _: None)
    assert main(["evaluate", "flood-s1", "--images", "x", "--labels", "y"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("geounet: scoring a model over images needs packages that are not")
    assert err.endswith("pip install 'geounet[train]'\n")
    assert main(["evaluate", str(pair[0]), str(pair[1]), "--ignore=-1"]) == 0


def test_a_name_or_code_given_twice_is_refused(pair):
    with pytest.raises(OptionError, match="code 1 has two names, 'a' and 'b'"):
        evaluate(pair[0], pair[1], classes={"a": 1, "b": 1})


def test_evaluate_needs_no_torch():
    code = "import geounet.evaluate, geounet.quicklook, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
