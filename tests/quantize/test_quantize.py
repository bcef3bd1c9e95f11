"""A model of INT8: what is written, that it runs, that seams stay exact, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
from blobs import BANDS, write_scene
from rasters import write

import geounet
from geounet.bands import Normalizer
from geounet.bundle import load_bundle, save_bundle
from geounet.engine.openvino import OpenVinoEngine
from geounet.engine.select import make_engine
from geounet.errors import DependencyError, GeounetError, ModelError, OptionError, SceneError
from geounet.onnx import save_onnx
from geounet.quantize import QuantizeOptions, quantize_model
from geounet.quantize.calibrate import float_model
from geounet.quantize.plan import layers_of, plans
from geounet.testing import random_bundle
from geounet.testing.bundles import random_network, random_spec
from geounet_cli.main import main

NEEDS_NNCF = pytest.mark.usefixtures("nncf")


def quantized(model, scene, out, **options):
    return quantize_model(
        QuantizeOptions(
            model=model, scenes=[scene], out=out, **{"bound": 1.0, "agreement": 0.0, **options}
        )
    )


@pytest.fixture(scope="module")
def result(nncf, floating, scene, tmp_path_factory):  # noqa: ARG001  it skips
    return quantized(floating, scene, tmp_path_factory.mktemp("int8") / "q.geounet")


@pytest.fixture(scope="module")
def bundle(result):
    return load_bundle(result.out)


def class_map(model, scene, folder, **options):
    report = geounet.segment(
        scene, model=model, out=folder / "map.tif", polygons=False, overwrite=True, **options
    )
    with rasterio.open(report.raster) as written:
        return report, written.read(1)


# what is written


def test_the_weights_are_of_8_bits_and_the_file_smaller(bundle, result, floating) -> None:
    assert bundle.is_int8
    assert bundle.weights is None
    model = onnx.load_from_string(bundle.graph.onnx)
    onnx.checker.check_model(model, full_check=True)
    kernels = [t for t in model.graph.initializer if len(t.dims) == 4]
    assert {t.data_type for t in kernels} == {onnx.TensorProto.INT8}
    assert len(kernels) == len(layers_of(model.graph))
    assert len(bundle.graph.onnx) < 0.6 * len(load_bundle(floating).weights)
    assert result.bytes == result.out.stat().st_size


def test_no_weight_uses_more_than_half_of_the_range(bundle) -> None:
    """Pairs of products would overflow 16 bits on CPUs without VNNI."""
    model = onnx.load_from_string(bundle.graph.onnx)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4:
            assert np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max() <= 64


def test_the_card_holds_what_was_measured(bundle, result, floating) -> None:
    spec, before = bundle.spec, load_bundle(floating)
    told = spec.card.metrics["int8"]
    assert told == json.loads(json.dumps({**result.scores, "bound": 1.0, "least_agreement": 0.0}))
    assert 0.8 < told["labels_as_in_float32"] < 1
    assert 0 < told["loss"] < 1
    assert told["loss"] == pytest.approx(1 - told["mean_iou_with_float32"], abs=1e-5)
    assert spec.name == "random-int8"
    made = spec.card.provenance["int8"]
    assert made["sha256"] == before.sha256
    assert (made["calibration_tiles"], made["held_out_tiles"]) == (5, 4)
    assert made["scenes"] == ["scene.tif"]


def test_the_loss_is_that_of_the_maps(bundle, floating, scene, tmp_path) -> None:
    """The tiles that were set aside are a sample of the scene."""
    _, int8 = class_map(bundle.path, scene, tmp_path)
    _, fp32 = class_map(floating, scene, tmp_path, precision="fp32")
    share = (int8 == fp32)[fp32 != 255].mean()
    assert share == pytest.approx(
        bundle.spec.card.metrics["int8"]["labels_as_in_float32"], abs=0.02
    )


def test_the_same_scenes_give_the_same_bytes(result, floating, scene, tmp_path) -> None:
    again = quantized(floating, scene, tmp_path / "again.geounet")
    assert again.out.read_bytes() == result.out.read_bytes()


@NEEDS_NNCF
def test_labels_count_where_they_are_classes(floating, scene, tmp_path) -> None:
    """Labels as the model makes them in float32: IoU 1 of it, and the loss is that of INT8."""
    _, labels = class_map(floating, scene, tmp_path, precision="fp32")
    labels[:, :100] = 77
    truth = write(tmp_path / "truth.tif", labels, nodata=255)
    made = quantized(floating, scene, tmp_path / "q.geounet", labels=[truth])
    with_labels = made.scores["iou_with_labels"]
    assert list(with_labels["float32"].values()) == [1.0, 1.0, 1.0]
    assert made.scores["labelled_pixels"] < made.scores["pixels"]
    lost = np.mean([1 - iou for iou in with_labels["int8"].values()])
    assert made.scores["loss"] == pytest.approx(lost, abs=1e-5)


# that it runs


def test_openvino_runs_it_and_the_report_says_int8(bundle, scene, tmp_path) -> None:
    report, labels = class_map(bundle.path, scene, tmp_path)
    assert (report.engine, report.precision, report.device) == ("openvino", "int8", "cpu")
    assert (report.model, report.seam) == ("random-int8", "exact")
    assert set(np.unique(labels)) == {0, 1, 2, 255}


@pytest.mark.parametrize("floats", ["none", "some"])
@NEEDS_NNCF
def test_seams_stay_exact(floating, scene, tmp_path, floats) -> None:
    """Tiles of 256 and 512 pixels give what one pass over the whole scene gives."""
    made = quantized(floating, scene, tmp_path / "q.geounet")
    if floats == "some":  # float32 layers before and after those of INT8
        made = tightened(floating, scene, made, tmp_path)
        assert made.plan.endswith("resolution in float32")
    maps = [class_map(made.out, scene, tmp_path, tile=tile)[1] for tile in (2048, 512, 256, 64)]
    for tiled in maps[1:]:
        np.testing.assert_array_equal(tiled, maps[0])


def tightened(model, scene, before, folder):
    """With a bound that INT8 everywhere does not keep."""
    heard = []
    options = QuantizeOptions(
        model=model,
        scenes=[scene],
        out=folder / "t.geounet",
        bound=0.4 * before.scores["loss"],
        agreement=0.0,
    )
    made = quantize_model(options, say=heard.append)
    assert heard[1].startswith("every layer in INT8: ")
    assert made.scores["loss"] <= 0.4 * before.scores["loss"]
    return made


def test_an_exported_one_gives_the_same_map(bundle, scene, tmp_path) -> None:
    path = save_onnx(tmp_path / "q.onnx", bundle, any_size=True)
    _, ours = class_map(bundle.path, scene, tmp_path)
    _, theirs = class_map(path, scene, tmp_path)
    np.testing.assert_array_equal(ours, theirs)


def test_an_exported_one_runs_elsewhere(bundle, tmp_path) -> None:
    import onnxruntime

    path = save_onnx(tmp_path / "q.onnx", bundle, side=128)
    image = np.random.default_rng(0).normal(size=(1, 2, 128, 128)).astype(np.float32)
    (theirs,) = onnxruntime.InferenceSession(path.read_bytes()).run(None, {"image": image})
    engine = OpenVinoEngine(bundle, Normalizer.of(bundle.spec.bands, bundle.spec.clip))
    ours = engine.probabilities(image, np.ones((1, 128, 128), bool))
    # a random network on noise: where runtimes round otherwise, it soon says another class
    assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.9


@pytest.mark.parametrize("arch", ["fcn", "segnet"])
@NEEDS_NNCF
def test_other_networks(scene, tmp_path, arch) -> None:
    spec = random_spec(("red", "nir"), classes=3, arch=arch)
    model = random_bundle(tmp_path / "m.geounet", spec)
    made = quantized(model, scene, tmp_path / "q.geounet")
    assert made.scores["labels_as_in_float32"] > 0.8
    maps = [class_map(made.out, scene, tmp_path, tile=tile)[1] for tile in (2048, 128)]
    np.testing.assert_array_equal(*maps)


# what is refused


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"engine": "torch"}, r"--engine torch: .*q\.geounet is of INT8, which OpenVINO runs"),
        ({"device": "cuda"}, r"--device cuda: .*q\.geounet is of INT8"),
        ({"precision": "bf16"}, r"--precision bf16: .*q\.geounet is of INT8.* that it was made of"),
        ({"precision": "fp32"}, r"--precision fp32: .*q\.geounet is of INT8, .* and in int8"),
    ],
    ids=str,
)
def test_only_openvino_runs_it(bundle, asked, message) -> None:
    normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
    with pytest.raises(OptionError, match=message):
        make_engine(bundle, normalizer, **asked)
    assert make_engine(bundle, normalizer, precision="int8").precision == "int8"


def test_int8_is_no_choice_of_a_run(floating) -> None:
    bundle = load_bundle(floating)
    normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
    with pytest.raises(OptionError, match="is not of INT8: geounet models quantize makes a model"):
        make_engine(bundle, normalizer, precision="int8")


@NEEDS_NNCF
def test_beyond_the_bound_nothing_is_written(floating, scene, tmp_path) -> None:
    told = (
        r"loses 0\.\d+ in IoU and keeps .*, beyond --bound 0 or .*; nothing is written: give more"
    )
    with pytest.raises(ModelError, match=told):
        quantized(floating, scene, tmp_path / "q.geounet", bound=0.0)
    with pytest.raises(ModelError, match=r"beyond --bound 1 or --agreement 1; nothing is written"):
        quantized(floating, scene, tmp_path / "q.geounet", agreement=1.0)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_quantised(bundle, floating, scene, tmp_path) -> None:
    out = tmp_path / "out.geounet"
    with pytest.raises(ModelError, match="is of INT8 already: give the model that it was made of"):
        quantized(bundle.path, scene, out)
    path = save_onnx(tmp_path / "m.onnx", load_bundle(floating))
    with pytest.raises(ModelError, match=r"m\.onnx is an ONNX file: quantise it with what made it"):
        quantized(path, scene, out)
    with pytest.raises(GeounetError, match=r"exists.*--overwrite"):
        quantized(floating, scene, Path(bundle.path))


@NEEDS_NNCF
def test_a_scene_of_one_tile(floating, tmp_path) -> None:
    small = write_scene(tmp_path / "small.tif", seed=1, height=256, width=256)
    with pytest.raises(SceneError, match="1 tile of 256 x 256 pixels has valid pixels, and two"):
        quantized(floating, small, tmp_path / "q.geounet")
    other = write_scene(tmp_path / "other.tif", seed=2, height=256, width=200)
    options = QuantizeOptions(
        model=floating, scenes=[small, other], out=tmp_path / "q.geounet", bound=1.0, agreement=0.0
    )
    made = quantize_model(options)
    assert (made.calibration_tiles, made.held_out_tiles) == (1, 1)


@NEEDS_NNCF
def test_labels_that_are_no_classes(floating, scene, tmp_path) -> None:
    truth = write(tmp_path / "truth.tif", np.full((600, 520), 9, np.uint8))
    with pytest.raises(SceneError, match=r"--labels: no pixel .* has a label that is a class of"):
        quantized(floating, scene, tmp_path / "q.geounet", labels=[truth])
    truth = write(tmp_path / "other.tif", np.zeros((60, 52), np.uint8))
    with pytest.raises(SceneError, match=r"the grids differ: .*other\.tif"):
        quantized(floating, scene, tmp_path / "q.geounet", labels=[truth])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "q.onnx"}, r"-o q\.onnx: a model ends in \.geounet"),
        ({"bound": -0.1}, "--bound -0.1: a loss in IoU lies between 0 and 1"),
        ({"bound": float("nan")}, "--bound nan: a loss"),
        ({"agreement": 1.1}, "--agreement 1.1: a share lies between 0 and 1"),
        ({"labels": ("a.tif", "b.tif")}, "--labels: 2 files for 1 scenes: give one for each"),
        ({"scenes": ()}, "give at least one scene"),
    ],
    ids=str,
)
def test_options_that_cannot_be(options, message) -> None:
    given = {"model": "flood-s1", "scenes": ("s.tif",), "out": "q.geounet"} | options
    with pytest.raises(OptionError, match=message):
        QuantizeOptions(**given | {"out": Path(given["out"])})


def test_what_is_not_installed_is_said_with_the_command(floating, scene, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    told = r'not installed \(.*nncf.*\): pip install "geounet\[quantize\]"'
    with pytest.raises(DependencyError, match=told):
        quantized(floating, scene, tmp_path / "q.geounet")


# the plan


@pytest.mark.parametrize("arch", ["unet", "fcn", "segnet"])
def test_the_plan_starts_with_all_and_ends_with_less(tmp_path, arch) -> None:
    path = random_bundle(tmp_path / "m.geounet", random_spec(("red", "nir"), arch=arch))
    bundle = load_bundle(path)
    graph = float_model(bundle, bundle.graph).graph
    found = list(plans(graph))
    assert found[0].floats == ()
    assert all(len(p.floats) < len(layers_of(graph)) for p in found)
    assert len({p.floats for p in found}) == len(found) >= 3


def test_layers_know_their_resolution(floating) -> None:
    bundle = load_bundle(floating)
    found = {x.name: x.reduction for x in layers_of(float_model(bundle, bundle.graph).graph)}
    assert found["encoder.0.1"] == found["decoder.1.1"] == found["head"] == 1
    assert found["encoder.1.1"] == found["decoder.0.1"] == found["up.1"] == 2
    assert found["encoder.2.1"] == found["up.0"] == 4


@pytest.mark.parametrize("arch", ["unet", "fcn", "segnet"])
def test_folding_changes_no_logit(tmp_path, arch) -> None:
    bundle = load_bundle(
        random_bundle(tmp_path / "m.geounet", random_spec(("red", "nir"), arch=arch))
    )
    model = float_model(bundle, bundle.graph)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    folded = replace(
        bundle,
        weights=None,
        graph=replace(bundle.graph, onnx=model.SerializeToString(), precision="int8"),
    )
    normalizer = Normalizer.of(bundle.spec.bands, bundle.spec.clip)
    tile = np.random.default_rng(0).normal(size=(1, 2, 64, 96)).astype(np.float32)
    valid = np.ones((1, 64, 96), bool)
    before, after = (OpenVinoEngine(b, normalizer).logits(tile, valid) for b in (bundle, folded))
    np.testing.assert_allclose(after, before, atol=1e-4)


@NEEDS_NNCF
def test_a_file_that_does_not_shrink_is_said(floating, scene, tmp_path) -> None:
    """A tiny model whose weights are stored in half: what INT8 adds to its graph is more."""
    spec = random_spec(BANDS, classes=3, width=2, depth=1)
    state = random_network(spec, 3).state_dict()
    tiny = save_bundle(tmp_path / "tiny.geounet", spec, state, half=True)
    for model, grows in ((floating, False), (tiny, True)):
        said, out = [], tmp_path / f"{model.stem}-int8.geounet"
        options = QuantizeOptions(model=model, scenes=[scene], out=out, bound=1.0, agreement=0.0)
        result = quantize_model(options, say=said.append)
        assert (result.bytes >= result.float_bytes) == grows
        assert any(f"{out} is no smaller than its model" in line for line in said) == grows


# the command


@NEEDS_NNCF
def test_the_command(floating, scene, tmp_path, capsys) -> None:
    out = tmp_path / "q.geounet"
    argv = ["models", "quantize", str(floating), str(scene), "-o", str(out), "--bound", "1"]
    argv += ["--agreement", "0"]
    assert main(argv) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"{out}\n  0.0")
    assert "mean_iou_with_float32: 0." in told.out
    assert "5 tiles to calibrate on, 4 others to measure the loss on" in told.err
    assert main([*argv, "--json", "--overwrite"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"] == "every layer in INT8"
    assert main(["models", "show", str(out)]) == 0
    assert "of labels as in float32, loss in IoU 0." in capsys.readouterr().out
    assert main([*argv, "--overwrite", "--bound", "0"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].count("nothing is written") == 1


@NEEDS_NNCF
def test_nncf_has_no_way_to_tell_its_maker() -> None:
    code = (
        "import sys; from geounet.quantize.calibrate import _library; nncf = _library()\n"
        "from nncf.telemetry import telemetry\n"
        "print(type(telemetry).__name__, 'openvino_telemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "MagicMock False\n"
