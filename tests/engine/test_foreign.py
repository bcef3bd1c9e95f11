"""Networks of others: every layout gives the classes that numpy says."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from onnx_models import Net, write

import geounet
from geounet.bands import Normalizer
from geounet.classes import NODATA
from geounet.engine.select import make_engine
from geounet.errors import GeounetError, ModelError, OptionError
from geounet.scene import MemoryScene
from geounet.taper import taper

RNG = np.random.default_rng(5)
IMAGE = RNG.integers(0, 256, (3, 75, 101), dtype=np.uint8)
VALID = RNG.random((75, 101)) < 0.97
SAID = {"bands": 3, "std": 255, "classes": ["a", "b", "c"]}
TWO = {**SAID, "classes": ["off", "on"]}


def labels(path, image=IMAGE, valid=None, **options):
    """The class map, and its confidence where that is asked for."""
    grid = GeoBox(image.shape[1:], Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
    report = geounet.segment(
        MemoryScene.of(image, valid=valid, geobox=grid),
        model=path,
        out=path.with_suffix(".tif"),
        polygons=False,
        overwrite=True,
        **options,
    )
    with rasterio.open(report.raster) as out:
        found = out.read(1)
    if report.confidence is None:
        return found, report
    with rasterio.open(report.confidence) as out:
        return found, out.read(1), report


FIXED = {"size": (64, 64), "batch": 1}
LAYOUTS = {
    "as torch exports it": Net(),
    "as keras exports it": Net(layout="NHWC", end="softmax"),
    "fixed": Net(**FIXED),
    "fixed, bands last": Net(**FIXED, layout="NHWC"),
    "free batch, fixed size": Net(size=(64, 64)),
    "fixed batch of 4": Net(size=(64, 64), batch=4),
    "fixed batch of 3, free size": Net(batch=3),
    "softmax": Net(end="softmax"),
    "float16": Net(kind="float16", end="softmax"),
    "float64": Net(kind="float64"),
    "argmax": Net(end="argmax"),
    "argmax with its axis": Net(end="argmax-kept"),
    "argmax with its axis, fixed": Net(end="argmax-kept", **FIXED),
    "argmax, bands last": Net(end="argmax-kept", layout="NHWC", **FIXED),
    "argmax, bands last, no axis": Net(end="argmax", layout="NHWC"),
    "argmax as float": Net(end="argmax-float"),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("exact", [False, True], ids=["blended", "exact"])
def test_layouts(tmp_path, name: str, exact: bool) -> None:
    net = LAYOUTS[name]
    said = {**SAID, "radius": 0, "stride": 1} if exact else SAID
    path = write(tmp_path / "m.onnx", net, said)
    found, percent, report = labels(path, valid=VALID, confidence=True)
    scores = net.scores(IMAGE / 255)
    ordered = np.sort(scores, axis=0)
    # float16 has ten bits
    clear = ordered[-1] - ordered[-2] > (0.01 if net.kind == "float16" else 1e-4)
    assert clear.mean() > 0.97
    assert np.array_equal(found[VALID & clear], scores.argmax(0)[VALID & clear])
    assert (found[~VALID] == NODATA).all()
    assert report.seam == ("exact" if exact else "blend")
    odds = np.exp(scores - ordered[-1])
    sure = 100 / odds.sum(0) if not net.end.startswith("argmax") else np.full(scores.shape[1:], 100)
    assert np.abs(percent[VALID] - sure[VALID]).max() <= (1 if net.kind == "float16" else 0.51)


@pytest.mark.parametrize("kind", ["uint8", "int32"])
def test_whole_numbers_as_input(tmp_path, kind: str) -> None:
    net = Net(kind=kind)
    path = write(tmp_path / "m.onnx", net, {**SAID, "std": 1})
    found, _ = labels(path)
    assert np.array_equal(found, net.scores(IMAGE).argmax(0))


def test_whole_numbers_are_rounded_and_do_not_wrap(tmp_path) -> None:
    net = Net(kind="uint8")
    path = write(tmp_path / "m.onnx", net, {**SAID, "std": 0.5})
    found, _ = labels(path, (IMAGE + 0.3).astype(np.float32))
    expected = net.scores(np.clip(np.rint((IMAGE + 0.3) * 2), 0, 255)).argmax(0)
    assert np.array_equal(found, expected)


SINGLE = {
    "sigmoid": Net(classes=1, end="sigmoid"),
    "sigmoid without an axis": Net(classes=1, end="sigmoid", flat=True),
    "sigmoid, bands last": Net(classes=1, end="sigmoid", layout="NHWC", **FIXED),
    "logit": Net(classes=1),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.6])
def test_one_channel_and_a_threshold(tmp_path, name: str, threshold: float) -> None:
    net = SINGLE[name]
    path = write(tmp_path / "m.onnx", net, {**TWO, "threshold": threshold})
    found, percent, _ = labels(path, confidence=True)
    present = 1 / (1 + np.exp(-net.scores(IMAGE / 255)[0]))
    clear = np.abs(present - threshold) > 1e-5
    assert np.array_equal(found[clear], (present >= threshold)[clear])
    assert 0.005 < (found == 1).mean() < 0.995
    assert percent.min() >= 49
    if threshold == 0.5:
        assert np.abs(percent - 100 * np.maximum(present, 1 - present)).max() <= 0.51


def test_one_channel_of_probabilities_that_no_node_tells(tmp_path) -> None:
    """Of a node that OpenVINO does not see as a sigmoid: the JSON says it."""
    net = Net(classes=1)
    image = (RNG.random((3, 40, 50)) * 0.5).astype(np.float32)
    said = {**TWO, "std": 1, "output": "probabilities", "threshold": 0.2}
    found, _ = labels(write(tmp_path / "m.onnx", net, said), image)
    scores = net.scores(image)[0]
    clear = np.abs(scores - 0.2) > 1e-5
    assert np.array_equal(found[clear], (scores >= 0.2)[clear])


def test_codes_of_classes(tmp_path) -> None:
    classes = [{"code": c, "name": n} for c, n in ((7, "x"), (3, "y"), (200, "z"))]
    net = Net()
    found, _ = labels(write(tmp_path / "m.onnx", net, {**SAID, "classes": classes}))
    assert np.array_equal(found, np.array([7, 3, 200])[net.scores(IMAGE / 255).argmax(0)])


@pytest.mark.parametrize("extra", [{}, {"radius": 0, "stride": 1}], ids=["blended", "exact"])
def test_labels_that_no_class_has(tmp_path, extra) -> None:
    path = write(tmp_path / "m.onnx", Net(end="argmax"), {**TWO, **extra})
    with pytest.raises(ModelError, match=r"m\.onnx gives labels that are no code of its classes"):
        labels(path)
    assert not path.with_suffix(".tif").exists()


def test_missing_pixels_are_the_mean(tmp_path) -> None:
    """With 3 x 3 pixels a missing one has a say in its neighbours."""
    net = Net(deep=True)
    said = {**SAID, "mean": [10, 20, 30], "std": 50, "radius": 4, "stride": 2}
    path = write(tmp_path / "m.onnx", net, said)
    found, _ = labels(path, valid=VALID)
    mean = np.array([10, 20, 30], np.uint8)[:, None, None]
    filled, _ = labels(path, np.where(VALID, IMAGE, mean))
    assert np.array_equal(found[VALID], filled[VALID])


@pytest.mark.parametrize("size", [("height", "width"), (64, 64), (32, 32)])
def test_a_radius_makes_tiles_exact(tmp_path, size) -> None:
    """One tile, and many: the same labels; scenes that are smaller and larger than tiles."""
    net = Net(deep=True, size=size)
    path = write(tmp_path / "m.onnx", net, {**SAID, "radius": 4, "stride": 2})
    whole = write(tmp_path / "w.onnx", Net(deep=True), {**SAID, "radius": 4, "stride": 2})
    for rows, cols in ((75, 101), (9, 70), (1, 1), (3, 130), (120, 20)):
        image = RNG.integers(0, 256, (3, rows, cols), dtype=np.uint8)
        expected, one = labels(whole, image, tile=256)
        found, many = labels(path, image, **({"tile": 16} if size[0] == "height" else {}))
        assert np.array_equal(found, expected)
        assert (many.seam, many.halo) == (one.seam, one.halo) == ("exact", 4)


def test_the_stride_is_found(tmp_path) -> None:
    path = write(tmp_path / "m.onnx", Net(deep=True), SAID)
    bundle = geounet.load_model(path)
    engine = make_engine(bundle, Normalizer.of(bundle.spec.bands, bundle.spec.clip))
    assert (engine.stride, engine.halo, engine.side, engine.seam) == (2, 64, None, "blend")
    found, _ = labels(path)
    assert found.max() <= 2


def test_blended_tiles_of_a_fixed_size_see_a_mirrored_scene(tmp_path) -> None:
    """Also far outside of it: a tile that is much larger than what is left of the scene."""
    net = Net(deep=True, size=(64, 64))
    path = write(tmp_path / "m.onnx", net, {**SAID, "overlap": 16})
    image = RNG.integers(0, 256, (3, 51, 30), dtype=np.uint8)
    found, report = labels(path, image)
    assert (report.tile, report.halo) == (48, 8)
    bundle = geounet.load_model(path)
    engine = make_engine(bundle, Normalizer.of(bundle.spec.bands, bundle.spec.clip))
    # two rows of tiles: the second has three rows of the scene below the first
    padded = np.pad(image[:, :, :30], ((0, 0), (8, 0), (8, 0)), mode="reflect")
    padded = np.pad(padded, ((0, 0), (0, 53), (0, 26)), mode="constant")
    padded[:, :, 38:64] = padded[:, :, 36:10:-1]
    padded[:, 59:] = padded[:, 57:4:-1]
    tiles = np.stack([padded[:, :64, :64], padded[:, 48:112, :64]])
    odds = engine.probabilities(tiles, np.ones((2, 64, 64), bool))
    weight = taper(64, 16)[:, None]
    total = np.zeros((3, 112, 64), np.float32)
    total[:, :64] += odds[0] * weight
    total[:, 48:] += odds[1] * weight
    ordered = np.sort(total, axis=0)
    clear = (ordered[-1] - ordered[-2] > 1e-4)[8:59, 8:38]
    assert clear.mean() > 0.95
    assert np.array_equal(found[clear], total.argmax(0)[8:59, 8:38][clear])


def test_a_tile_that_the_graph_does_not_take(tmp_path) -> None:
    path = write(tmp_path / "m.onnx", Net(size=(64, 64)), SAID)
    with pytest.raises(OptionError, match=r"--tile 32: .*m\.onnx takes 64 x 64 pixels alone"):
        geounet.segment(MemoryScene.of(IMAGE), model=path, out=tmp_path / "a.tif", tile=32)


@pytest.mark.parametrize(
    ("option", "value"), [("engine", "torch"), ("device", "cuda"), ("precision", "bf16")]
)
def test_what_only_torch_has(tmp_path, option, value) -> None:
    path = write(tmp_path / "m.onnx", Net(), SAID)
    with pytest.raises(GeounetError, match=rf"--{option} {value}: .*m\.onnx is an ONNX file"):
        geounet.segment(
            MemoryScene.of(IMAGE), model=path, out=tmp_path / "a.tif", **{option: value}
        )


MISFITS = {
    "bands": (Net(bands=4), SAID, r"its input \? x 4 x \? x \? does not take 3 bands"),
    "classes": (Net(classes=5), SAID, "no channel for each of 3 classes"),
    "one channel": (Net(classes=1), SAID, "one channel, for two classes"),
    "labels": (Net(end="argmax"), {**SAID, "output": "logits"}, "whole numbers, which are no log"),
    "no labels": (Net(), {**SAID, "output": "labels"}, "gives no label of each pixel"),
    "layout": (Net(), {**SAID, "layout": "NHWC", "bands": 3}, "does not|run its graph"),
    "stride": (Net(deep=True), {**SAID, "stride": 1}, "no tile whose sides are multiples of 1"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_description_that_does_not_fit(tmp_path, name: str) -> None:
    net, said, match = MISFITS[name]
    path = write(tmp_path / "m.onnx", net, said)
    bundle = geounet.load_model(path)
    with pytest.raises(ModelError, match=match) as caught:
        make_engine(bundle, Normalizer.of(bundle.spec.bands, bundle.spec.clip))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
