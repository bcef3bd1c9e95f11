"""A graph is data: what does not fit, or asks for more, is refused in one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper

from geounet.bands import Normalizer
from geounet.bundle import load_bundle
from geounet.engine.lean import cut_decoder
from geounet.engine.openvino import OpenVinoEngine
from geounet.errors import DeviceError, ModelError
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    spec = random_spec(("red", "nir"), classes=3)
    return load_bundle(random_bundle(tmp_path_factory.mktemp("bundle") / "m.geounet", spec))


def engine(bundle):
    return OpenVinoEngine(bundle, Normalizer.of(bundle.spec.bands, bundle.spec.clip))


def refused(bundle, match):
    with pytest.raises(ModelError, match=match) as caught:
        engine(bundle)
    assert "m.geounet: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def with_graph(bundle, content: bytes):
    return replace(bundle, graph=replace(bundle.graph, onnx=content))


def edited(bundle, edit):
    """With a graph on which ``edit`` was called."""
    model = onnx.load_from_string(bundle.graph.onnx)
    edit(model.graph)
    return with_graph(bundle, model.SerializeToString())


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def test_the_good_one_is_read(good) -> None:
    engine(good)
    engine(edited(good, lambda _: None))


@pytest.mark.parametrize("content", [b"", b"\0", b"graph", bytes(1000), b"<?xml version='1.0'?>"])
def test_bytes_that_are_no_graph(good, content) -> None:
    refused(with_graph(good, content), "its graph cannot be read")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_cut_short(good, share) -> None:
    content = good.graph.onnx[: int(share * len(good.graph.onnx))]
    refused(with_graph(good, content), "its graph (cannot be|.* does not turn)")


@pytest.mark.parametrize("place", ["/etc/hostname", "../secret", "*/_ORT_MEM_ADDR_/*"])
def test_data_elsewhere(good, place) -> None:
    def point(graph):
        weight = next(i for i in graph.input if i.name == "head.bias")
        graph.input.remove(weight)
        tensor = TensorProto(name="head.bias", dims=[3], data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in (("location", place), ("offset", "8"), ("length", "12")):
            tensor.external_data.add(key=key, value=text)
        graph.initializer.append(tensor)

    refused(edited(good, point), "its graph refers to other data: get the model again")


def test_an_operation_that_there_is_not(good) -> None:
    def replace_relu(graph):
        node = next(n for n in graph.node if n.op_type == "Relu")
        node.op_type, node.domain = "Shell", "com.example"

    refused(edited(good, replace_relu), "its graph cannot be read")


def test_an_input_too_many(good) -> None:
    def add(graph):
        graph.input.append(value("other", [1]))
        graph.node.append(helper.make_node("Identity", ["other"], ["unused"]))
        graph.output.append(value("unused", [1]))

    refused(edited(good, add), "its graph (cannot be read|.* does not turn)")


def test_an_output_too_many(good) -> None:
    def add(graph):
        graph.output.append(value("encoder.0.0", ["batch", 4, "height", "width"]))

    refused(edited(good, add), "does not turn 2 bands into 3 classes")


def test_other_bands_or_classes(good) -> None:
    for bands, classes in ((("red",), 3), (("red", "nir"), 2)):
        spec = random_spec(bands, classes=classes)
        refused(
            replace(good, spec=spec),
            rf"its graph \(.*\) does not turn {len(bands)} bands into {classes} classes",
        )


def test_weights_of_another_network(good, tmp_path) -> None:
    other = load_bundle(random_bundle(tmp_path / "b.geounet", random_spec(("red", "nir"), width=8)))
    refused(replace(good, weights=other.weights), r"cannot be read \(\S+ has the shape")
    state = safetensors.torch.load(good.weights)
    del state["head.bias"]
    refused(replace(good, weights=safetensors.torch.save(state)), "cannot be read .*head.bias")
    refused(replace(good, weights=good.weights[:-9]), "the weights do not fit the spec")


def test_weights_that_are_not_finite(good) -> None:
    state = safetensors.torch.load(good.weights)
    state["head.bias"] = torch.full_like(state["head.bias"], float("inf"))
    refused(replace(good, weights=safetensors.torch.save(state)), r"head\.bias is not finite")


def test_weights_are_taken_from_the_bundle(good) -> None:
    """The graph holds none."""
    state = safetensors.torch.load(good.weights)
    bias = state["head.bias"].clone()
    state["head.bias"] = bias + torch.tensor([0.0, 5.0, 0.0])
    tiles = np.random.default_rng(0).normal(size=(1, 2, 64, 64)).astype(np.float32)
    valid = np.ones((1, 64, 64), bool)
    before = engine(good).logits(tiles, valid)
    after = engine(replace(good, weights=safetensors.torch.save(state))).logits(tiles, valid)
    difference = (after - before).mean((0, 2, 3))
    np.testing.assert_allclose(difference, [0, 5, 0], atol=1e-4)


def labels_of(made, confidence=False):
    side = 2 * made.halo + 5 * made.stride
    tiles = np.random.default_rng(0).normal(size=(1, 2, side, side)).astype(np.float32)
    valid = np.ones((1, side, side), bool)
    inner = slice(made.halo, -made.halo)
    expected = made.logits(tiles, valid).argmax(1)[:, inner, inner]
    return made.predict(tiles, valid, confidence=confidence).labels, expected


def cut_to(monkeypatch):
    """What is left of the halo, each time that a graph is cut."""
    left = []

    def noted(*args):
        left.append(cut_decoder(*args))
        return left[-1]

    monkeypatch.setattr("geounet.engine.openvino.cut_decoder", noted)
    return left


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("confidence", [False, True])
def test_the_decoder_computes_no_more_than_it_needs(
    tmp_path, monkeypatch, depth, confidence
) -> None:
    left = cut_to(monkeypatch)
    spec = random_spec(("red", "nir"), classes=3, depth=depth)
    made = engine(load_bundle(random_bundle(tmp_path / "m.geounet", spec)))
    labels, expected = labels_of(made, confidence)
    assert left == [2]
    assert np.array_equal(labels, expected)
    assert len(np.unique(labels)) > 1


def test_what_is_not_joined_like_a_unet_is_left_as_it_is(good, monkeypatch) -> None:
    """The skip stands second here: another network, or another order of channels."""
    left = cut_to(monkeypatch)

    def swap(graph):
        node = next(n for n in graph.node if n.op_type == "Concat")
        node.input[:] = node.input[::-1]

    made = engine(edited(good, swap))
    labels, expected = labels_of(made)
    assert left == [made.halo]
    assert np.array_equal(labels, expected)


def test_a_halo_that_is_too_small_is_cut_off_at_the_end(good, monkeypatch) -> None:
    left = cut_to(monkeypatch)
    made = engine(replace(good, graph=replace(good.graph, halo=good.graph.stride)))
    labels, expected = labels_of(made)
    assert left == [made.halo]
    assert np.array_equal(labels, expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_stride_that_is_not_the_networks(good, stride) -> None:
    wrong = replace(good.graph, stride=stride)
    refused(replace(good, graph=wrong), "its graph cannot be read")


def test_a_graph_that_shrinks_the_image(good) -> None:
    def pool(graph):
        last = graph.node[-1]
        last.op_type = "MaxPool"
        last.attribute.append(helper.make_attribute("kernel_shape", [2, 2]))
        last.attribute.append(helper.make_attribute("strides", [2, 2]))

    refused(edited(good, pool), r"cannot be read \(it makes \[1,3,6,10\] of \[1, 2, 12, 20\]\)")


def test_a_tile_that_cannot_be_computed(good, monkeypatch) -> None:
    def fail(*_args, **_kwargs):
        raise RuntimeError("out of\nmemory")

    made = engine(good)
    monkeypatch.setattr(made, "_model", lambda *_: fail)
    tiles, valid = np.zeros((1, 2, 64, 80), np.float32), np.ones((1, 64, 80), bool)
    told = r"a tile of 64 x 80 pixels \(out of memory\): pass a smaller --tile, or --engine torch"
    with pytest.raises(DeviceError, match=told):
        made.predict(tiles, valid, confidence=False)
