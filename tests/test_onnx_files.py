"""ONNX files and what is said about them: read, or refused in one line that says what to write."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
from affine import Affine
from onnx import TensorProto, helper, numpy_helper
from onnx_models import Net, write

import geounet
from geounet.bands import Normalizer
from geounet.engine.select import make_engine
from geounet.errors import ModelError, OptionError
from geounet.onnx import file as onnx_file
from geounet.onnx import wire
from geounet.onnx.describe import KEYS, read_description
from geounet_cli.main import main

SAID = {"bands": ["red", "NIR", "SWIR-1"], "classes": ["land", "water"]}
NET = Net(classes=2)


def engine_of(bundle):
    return make_engine(bundle, Normalizer.of(bundle.spec.bands, bundle.spec.clip))


def refused(path, match):
    """That a model is refused, in one line that begins with the file."""
    with pytest.raises(ModelError, match=match) as caught:
        engine_of(geounet.load_model(path))
    text = str(caught.value)
    assert text.startswith(str(path.parent))
    assert "\n" not in text
    assert len(text) < 900
    return text


def test_what_is_said(tmp_path) -> None:
    said = {
        **SAID,
        "unit": "reflectance",
        "mean": [0.1, 0.2, 0.3],
        "std": 0.5,
        "clip": [0, 1],
        "pixel_size": [10, 30],
        "summary": "water, from three bands",
        "terms": "CC0",
        "name": "lakes",
        "version": "3",
        "metrics": {"iou": 0.8},
    }
    bundle = geounet.load_model(write(tmp_path / "My Net.onnx", NET, said))
    spec = bundle.spec
    assert spec.band_names == ("red", "nir", "swir1")
    assert [b.mean for b in spec.bands] == [0.1, 0.2, 0.3]
    assert [b.std for b in spec.bands] == [0.5] * 3
    assert (spec.name, spec.version, spec.unit) == ("lakes", "3", "reflectance")
    assert (spec.clip, spec.pixel_size, spec.seam) == ((0, 1), (10, 30), "blend")
    assert (spec.card.summary, spec.card.terms) == ("water, from three bands", "CC0")
    assert spec.card.metrics == {"iou": 0.8}
    assert str(spec.arch) == "onnx"
    assert str(spec.classes) == "0 land, 1 water"
    assert spec == type(spec).from_json(spec.to_json())


def test_little_is_enough(tmp_path) -> None:
    bundle = geounet.load_model(write(tmp_path / "My Net.v2.onnx", NET, SAID))
    assert (bundle.spec.name, bundle.spec.unit) == ("my-net-v2", "any")
    assert bundle.path == str(tmp_path / "My Net.v2.onnx")


def test_the_json_may_lie_elsewhere(tmp_path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "m.onnx", NET)
    for where, file in (("a.json", "deep/m.onnx"), ("deep/b.json", "m.onnx")):
        path = tmp_path / where
        path.write_text(json.dumps({**SAID, "file": file}))
        assert geounet.load_model(path).path == str(path.parent / file)
    path = tmp_path / "deep" / "m.onnx.json"
    path.write_text(json.dumps(SAID))
    assert geounet.load_model(path).spec == geounet.load_model(tmp_path / "deep/m.onnx").spec


def test_the_hash_is_that_of_sha256sum(tmp_path) -> None:
    path = write(tmp_path / "m.onnx", NET, SAID)
    beside = tmp_path / "m.onnx.json"
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, beside)]
    lines = f"{digests[0]}  m.onnx\n{digests[1]}  m.onnx.json\n"
    assert geounet.load_model(path).sha256 == hashlib.sha256(lines.encode()).hexdigest()
    alone = write(tmp_path / "alone.onnx", NET, geounet="")
    model = onnx.load(alone)
    helper.set_model_props(model, {"geounet": json.dumps(SAID)})
    alone.write_bytes(model.SerializeToString())
    assert geounet.load_model(alone).sha256 == hashlib.sha256(alone.read_bytes()).hexdigest()


DEEPNESS = {"model_type": "Segmentor", "class_names": {0: "land", 1: "water"}}


class TestDeepness:
    def test_is_read(self, tmp_path) -> None:
        path = write(
            tmp_path / "m.onnx",
            Net(classes=2, size=(64, 64), batch=1, end="softmax"),
            **DEEPNESS,
            resolution=50,
            tiles_overlap=25,
            standardization_mean=[0.1, 0.2, 0.3],
            standardization_std=[0.5, 0.6, 0.7],
        )
        bundle = geounet.load_model(path)
        spec = bundle.spec
        assert spec.band_names == ("band1", "band2", "band3")
        assert spec.classes.names == ("land", "water")
        assert [b.mean for b in spec.bands] == pytest.approx([25.5, 51, 76.5])
        assert [b.std for b in spec.bands] == pytest.approx([127.5, 153, 178.5])
        assert spec.pixel_size == (0.5, 0.5)
        assert (bundle.graph.halo, bundle.graph.ends.side) == (8, 64)
        assert engine_of(bundle).seam == "blend"

    def test_without_standardization_bytes_become_0_to_1(self, tmp_path) -> None:
        spec = geounet.load_model(write(tmp_path / "m.onnx", NET, **DEEPNESS)).spec
        assert {(b.mean, b.std) for b in spec.bands} == {(0.0, 255.0)}

    @pytest.mark.parametrize("names", [{0: "road"}, {0: "background", 1: "road"}])
    def test_one_channel(self, tmp_path, names) -> None:
        said = {"model_type": "Segmentor", "class_names": names, "seg_thresh": 0.7}
        net = Net(classes=1, end="sigmoid")
        bundle = geounet.load_model(write(tmp_path / "m.onnx", net, **said))
        assert bundle.spec.classes.names == ("background", "road")
        assert bundle.graph.ends.threshold == 0.7
        image = np.random.default_rng(0).integers(0, 256, (1, 3, 40, 40), dtype=np.uint8)
        labels = engine_of(bundle).probabilities(image, np.ones((1, 40, 40), bool)).argmax(1)
        scores = net.scores(image[0] / 255)[0]
        assert np.array_equal(labels[0], 1 / (1 + np.exp(-scores)) >= 0.7)

    def test_python_and_lists_are_read_too(self, tmp_path) -> None:
        path = write(tmp_path / "m.onnx", NET)
        model = onnx.load(path)
        helper.set_model_props(
            model, {"model_type": "segmentor", "names": "[{0: 'land', 1: 'water'}]"}
        )
        path.write_bytes(model.SerializeToString())
        assert geounet.load_model(path).spec.classes.names == ("land", "water")

    def test_the_json_comes_first(self, tmp_path) -> None:
        path = write(tmp_path / "m.onnx", NET, {"bands": ["red", "green", "blue"]}, **DEEPNESS)
        spec = geounet.load_model(path).spec
        assert spec.band_names == ("red", "green", "blue")
        assert spec.classes.names == ("land", "water")

    @pytest.mark.parametrize(
        ("said", "match"),
        [
            ({"model_type": "Detector"}, "its metadata say that it is a Detector"),
            ({"class_names": {0: "a", 2: "b"}}, r"numbers \[0, 2\], which do not count up"),
            ({"class_names": "water"}, "its class_names are .*, and no names by number"),
            ({"seg_thresh": "much"}, "its seg_thresh is .*, and no number"),
            ({"standardization_mean": 1, "standardization_std": 2}, "are no lists of numbers"),
            ({"standardization_mean": [1], "standardization_std": [2]}, "each of 3 bands"),
            ({"class_names": {}}, 'classes is missing: write "classes"'),
        ],
    )
    def test_what_cannot_be(self, tmp_path, said, match) -> None:
        refused(write(tmp_path / "m.onnx", NET, **{**DEEPNESS, **said}), match)


SAYINGS = {
    "nothing": ({}, r'bands is missing: write "bands", .* in \S+m\.onnx\.json'),
    "no classes": ({"bands": 3}, r'classes is missing: write "classes"'),
    "unknown": ({**SAID, "scale": 3}, "there is no key 'scale': the keys are file, name"),
    "bands": ({**SAID, "bands": ["red", 3]}, "bands .*: write a list of names"),
    "number": ({**SAID, "bands": ["red", "nir", "B11"]}, "bands 'B11': a number means other"),
    "no bands": ({**SAID, "bands": 0}, "bands 0: write a list of names"),
    "twice": ({**SAID, "bands": ["red", "nir", "Red"]}, "has a band twice"),
    "one class": ({**SAID, "classes": ["a"]}, "at least 2 classes"),
    "class": ({**SAID, "classes": ["a", {"nam": "b"}]}, "class .*: write its name"),
    "code": ({**SAID, "classes": ["a", {"name": "b", "code": 255}]}, "codes are 0 to 254"),
    "color": ({**SAID, "classes": ["a", {"name": "b", "color": "red"}]}, "write it as #rrggbb"),
    "color of another type": (
        {**SAID, "classes": ["a", {"name": "b", "color": 7}]},
        "class .*: write its name",
    ),
    "no name": ({**SAID, "classes": ["a", {"name": ""}]}, "class .*: write its name"),
    "mean": ({**SAID, "mean": [1, 2]}, "mean: write one number, or one for each of 3 bands"),
    "std": ({**SAID, "std": 0}, "std > 0"),
    "nan": ({**SAID, "std": float("nan")}, "std: write one number"),
    "large": ({**SAID, "mean": 10**400}, "mean: write one number"),
    "unit": ({**SAID, "unit": "metre"}, "unit 'metre': choose reflectance, dB or any"),
    "list": ({**SAID, "unit": ["any"]}, r"unit \['any'\]: choose"),
    "clip": ({**SAID, "clip": [1, 0]}, "clip range 1.*is empty"),
    "clip text": ({**SAID, "clip": "0..1"}, "clip '0..1': write two numbers"),
    "output": ({**SAID, "output": "mask"}, "output 'mask': choose logits, probabilities or labels"),
    "layout": ({**SAID, "layout": "CHW"}, "layout 'CHW': choose NCHW or NHWC"),
    "threshold": ({**SAID, "threshold": 1}, "threshold 1: give a probability between 0 and 1"),
    "radius": ({**SAID, "radius": 5}, "radius needs stride"),
    "both": ({**SAID, "radius": 5, "stride": 1, "overlap": 3}, "give one of the two"),
    "overlap": ({**SAID, "overlap": -2}, "overlap -2: write a whole number"),
    "stride": ({**SAID, "stride": True}, "stride True: write a whole number from 1"),
    "name": ({**SAID, "name": "../x"}, "model name '../x'"),
    "flag": ({**SAID, "normalizes": 1}, "normalizes 1: write true or false"),
    "output_name": ({**SAID, "output_name": "x"}, "output_name 'x': write one of classes"),
    "metrics": ({**SAID, "metrics": 1}, "metrics 1: write an object"),
    "summary": ({**SAID, "summary": ""}, "summary '': write a text"),
}


@pytest.mark.parametrize("name", SAYINGS)
def test_what_cannot_be_said(tmp_path, name: str) -> None:
    said, match = SAYINGS[name]
    refused(write(tmp_path / "m.onnx", NET, said), match)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"radius": 32, "stride": 1}, "radius 32: too large for the 64 pixels of the graph"),
        ({"overlap": 40}, "overlap 40: more than half of the 64 pixels of the graph"),
        ({"stride": 24}, "stride 24: the graph takes 64 pixels, which is no multiple"),
    ],
)
def test_what_a_fixed_size_does_not_allow(tmp_path, said, match) -> None:
    refused(write(tmp_path / "m.onnx", Net(classes=2, size=(64, 64)), {**SAID, **said}), match)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "3"])
def test_json_that_is_none(tmp_path, text: str) -> None:
    path = write(tmp_path / "m.onnx", NET)
    (tmp_path / "m.onnx.json").write_text(text)
    refused(path, "it is no JSON")


def test_every_key_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs" / "onnx.md").read_text(encoding="utf-8")
    told = {key for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for key in
            re.findall(r"`(\w+)`", row)}  # fmt: skip
    assert told == set(KEYS)
    for example in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
        assert read_description(example)


def test_every_key_is_told() -> None:
    with pytest.raises(OptionError) as caught:
        read_description('{"x": 1}')
    assert all(key in str(caught.value) for key in KEYS)


class TestBadFiles:
    def test_missing(self, tmp_path) -> None:
        refused(tmp_path / "m.onnx", r"cannot be read \(No such file or directory\)")
        refused(tmp_path / "m.json", "cannot be read")

    @pytest.mark.parametrize("content", [b"", b"\0" * 50, b"PK\3\4abcdefgh", b"<html>", b"\x80\4"])
    def test_no_onnx(self, tmp_path, content) -> None:
        (tmp_path / "m.onnx").write_bytes(content)
        refused(tmp_path / "m.onnx", "is no ONNX model")

    @pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.99])
    def test_cut_short(self, tmp_path, share: float) -> None:
        path = write(tmp_path / "m.onnx", NET, SAID)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        refused(path, "is no ONNX model.*, or was cut short|has no opset|cannot run its graph")

    def test_huge(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(onnx_file, "_LARGEST", 100)
        refused(write(tmp_path / "m.onnx", NET, SAID), "an ONNX file has less than 2048")

    def test_several_inputs(self, tmp_path) -> None:
        model = NET.model()
        model.graph.input.append(helper.make_tensor_value_info("size", TensorProto.INT64, [2]))
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        refused(tmp_path / "m.onnx", r"takes 2 inputs \(image, size\)")

    def test_no_image(self, tmp_path) -> None:
        model = NET.model()
        del model.graph.input[0].type.tensor_type.shape.dim[3]
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        (tmp_path / "m.onnx.json").write_text(json.dumps(SAID))
        refused(tmp_path / "m.onnx", "its input image has 3 axes, and an image has 4")

    def test_no_square(self, tmp_path) -> None:
        net = Net(classes=2, size=(64, 128))
        refused(write(tmp_path / "m.onnx", net, SAID), "takes images of 64 x 128 pixels alone")

    def test_a_detector(self, tmp_path) -> None:
        model = NET.model()
        for name in ("boxes", "scores"):
            model.graph.node.append(helper.make_node("ReduceMean", ["image"], [name]))
            model.graph.output.append(helper.make_tensor_value_info(name, 1, None))
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        (tmp_path / "m.onnx.json").write_text(json.dumps(SAID))
        refused(tmp_path / "m.onnx", r"has 3 outputs \(classes, boxes, scores\)")
        said = {**SAID, "output_name": "boxes"}
        (tmp_path / "m.onnx.json").write_text(json.dumps(said))
        refused(
            tmp_path / "m.onnx",
            r"OpenVINO cannot run its graph as it is described \(.* it makes \[1,2,1,1\]",
        )
        (tmp_path / "m.onnx.json").write_text(json.dumps({**SAID, "output_name": "classes"}))
        assert engine_of(geounet.load_model(tmp_path / "m.onnx")).stride == 1

    def test_an_operation_that_there_is_not(self, tmp_path) -> None:
        model = NET.model()
        model.graph.node[0].op_type = "Convolve"
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        (tmp_path / "m.onnx.json").write_text(json.dumps(SAID))
        refused(tmp_path / "m.onnx", "OpenVINO cannot run its graph")


class TestExternalData:
    @pytest.fixture
    def path(self, tmp_path):
        """A model whose weights lie beside it, as torch writes large ones."""
        model = NET.model()
        weight = next(w for w in model.graph.initializer if w.name == "weight")
        data = numpy_helper.to_array(weight).tobytes()
        (tmp_path / "m.onnx.data").write_bytes(bytes(8) + data)
        self.point(weight, "m.onnx.data", 8, len(data))
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        (tmp_path / "m.onnx.json").write_text(json.dumps(SAID))
        return tmp_path / "m.onnx"

    def point(self, tensor, location, offset, length) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        del tensor.external_data[:]
        told = {"location": location, "offset": offset, "length": length}
        for key, value in told.items():
            tensor.external_data.add(key=key, value=str(value))

    def test_is_read(self, path, tmp_path) -> None:
        image = np.random.default_rng(0).random((1, 3, 32, 32)).astype(np.float32)
        valid = np.ones((1, 32, 32), bool)
        logits = engine_of(geounet.load_model(path)).logits(image, valid)
        np.testing.assert_allclose(logits[0], NET.scores(image[0]), atol=1e-5)
        before = geounet.load_model(path).sha256
        (tmp_path / "m.onnx.data").write_bytes(bytes(8 + 2 * 3 * 4))
        assert geounet.load_model(path).sha256 != before

    def test_missing(self, path, tmp_path) -> None:
        (tmp_path / "m.onnx.data").unlink()
        refused(path, r"keeps its weights in m\.onnx\.data, which is not beside it")

    def test_too_short(self, path, tmp_path) -> None:
        (tmp_path / "m.onnx.data").write_bytes(bytes(20))
        refused(path, r"m\.onnx\.data beside it has 20 bytes and should have 32 or more")

    @pytest.mark.parametrize(
        "place", ["/etc/hostname", "../secret", "a/b", "..", "C:\\x", "*/_ORT_MEM_ADDR_/*", ""]
    )
    def test_elsewhere(self, path, place) -> None:
        model = onnx.load(path, load_external_data=False)
        weight = next(w for w in model.graph.initializer if w.name == "weight")
        self.point(weight, place, 0, 24)
        path.write_bytes(model.SerializeToString())
        refused(path, "which is not a file beside it|which is not beside it")

    def test_in_a_node(self, tmp_path) -> None:
        model = NET.model()
        tensor = TensorProto(name="c", dims=[6], data_type=TensorProto.FLOAT)
        self.point(tensor, "secret", 0, 24)
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        (tmp_path / "m.onnx.json").write_text(json.dumps(SAID))
        refused(tmp_path / "m.onnx", "keeps data of its nodes in other files")


def test_segment_info_and_show(tmp_path, capsys) -> None:
    image = np.random.default_rng(1).random((3, 60, 80)).astype(np.float32)
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", height=60, width=80, count=3, dtype="float32",
        crs="EPSG:32633", transform=Affine(10, 0, 500_000, 0, -10, 5_000_000),
    ) as out:  # fmt: skip
        out.write(image)
        out.descriptions = ("B04", "B08", "B11")
    path = write(tmp_path / "m.onnx", NET, {**SAID, "unit": "reflectance"})
    scene = str(tmp_path / "scene.tif")
    assert main(["info", scene, "-m", str(path)]) == 0
    assert f"{path}: fits" in capsys.readouterr().out
    assert main(["models", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "network:    onnx" in shown
    assert "engines:    openvino\n" in shown
    assert "tiles:      blend, halo 64\n" in shown
    argv = ["segment", scene, "-m", str(path), "-o", str(tmp_path / "a.tif"), "--json"]
    assert main([*argv, "--no-polygons"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["model_sha256"] == geounet.load_model(path).sha256
    with rasterio.open(tmp_path / "a.tif") as out:
        assert np.array_equal(out.read(1), NET.scores(image).argmax(0))
        assert out.tags()["GEOUNET_MODEL_SHA256"] == told["model_sha256"]
    assert main([*argv, "--overwrite", "--engine", "torch"]) == 2
    assert "--engine torch: " in (error := capsys.readouterr().err)
    assert error.endswith("leave it out\n")


def test_what_needs_torch_says_so(tmp_path) -> None:
    bundle = geounet.load_model(write(tmp_path / "m.onnx", NET, SAID))
    with pytest.raises(ModelError, match=r"which only OpenVINO runs: give a \.geounet file here"):
        bundle.network  # noqa: B018


class TestWire:
    def test_what_is_written_is_read(self) -> None:
        parts = [wire.integer(1, -5), wire.string(2, "é" * 100), wire.integer(1, 1 << 40)]
        message = wire.join([*parts, wire.message(300, b"\1\2")])
        assert wire.numbers(message, 1) == [-5, 1 << 40]
        assert wire.text(message, 2) == "é" * 100
        assert [bytes(v) for v in wire.many(message, 300)] == [b"\1\2"]
        assert b"".join(f.raw for f in wire.fields(message)) == message

    def test_packed_numbers_and_fixed_sizes(self) -> None:
        packed = wire.message(4, b"\1\x96\1")
        fixed = bytes([5 << 3 | 5]) + struct.pack("<f", 1.5) + bytes([6 << 3 | 1]) + bytes(8)
        assert wire.numbers(packed + fixed, 4) == [1, 150]
        assert [f.number for f in wire.fields(packed + fixed)] == [4, 5, 6]

    @pytest.mark.parametrize("content", [b"\x0a\5ab", b"\x08", b"\x0b", b"\x08" + b"\xff" * 11])
    def test_what_is_no_message(self, content) -> None:
        with pytest.raises(ValueError, match=r"ends too early|no field|no end"):
            list(wire.fields(content))
