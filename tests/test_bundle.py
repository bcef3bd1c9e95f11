"""A bundle is data: what is written is read back, and anything else is refused in one line."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from geounet.bundle import GRAPH, MANIFEST, SPEC, WEIGHTS, load_bundle, save_bundle
from geounet.errors import DependencyError, ModelError, OutputError
from geounet.testing import random_bundle
from geounet.testing.bundles import random_network, random_spec


class Trap:
    """Unpickling it would run code."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was read",)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return random_bundle(tmp_path_factory.mktemp("bundle") / "m.geounet")


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path, content, *, resign=False):
    """Write members; ``resign`` makes the hashes fit, as someone who edits on purpose would."""
    if resign:
        hashes = {k: hashlib.sha256(content[k]).hexdigest() for k in content if k != MANIFEST}
        manifest = json.loads(content[MANIFEST]) | {"sha256": hashes}
        content = content | {MANIFEST: json.dumps(manifest).encode()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def refused(path, match):
    with pytest.raises(ModelError, match=match) as caught:
        load_bundle(path).network  # noqa: B018
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("half", [False, True])
def test_round_trip(tmp_path, half):
    spec = random_spec(("red", "nir"), classes=3)
    state = random_network(spec).state_dict()
    path = save_bundle(tmp_path / "m.geounet", spec, state, half=half)
    bundle = load_bundle(path)
    assert bundle.spec == spec
    assert bundle.path == str(path)
    for name, tensor in bundle.network.state_dict().items():
        wanted = state[name].half().float() if half and tensor.is_floating_point() else state[name]
        assert torch.equal(tensor, wanted)
        assert not tensor.requires_grad
    assert not bundle.network.training
    assert list(tmp_path.iterdir()) == [path]


def test_same_model_same_bytes(tmp_path, good):
    again = random_bundle(tmp_path / "other.geounet")
    assert again.read_bytes() == good.read_bytes()
    assert load_bundle(again).sha256 == load_bundle(good).sha256
    assert load_bundle(random_bundle(again, seed=1)).sha256 != load_bundle(good).sha256


def test_channels_last_weights_are_saved(tmp_path, good):
    spec = random_spec()
    network = random_network(spec).to(memory_format=torch.channels_last)
    path = save_bundle(tmp_path / "m.geounet", spec, network.state_dict())
    assert load_bundle(path).sha256 == load_bundle(good).sha256


def test_state_of_another_network_is_not_saved(tmp_path):
    state = random_network(random_spec(width=8)).state_dict()
    with pytest.raises(ModelError, match="the weights do not fit the spec"):
        save_bundle(tmp_path / "m.geounet", random_spec(), state)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    state = random_network(random_spec()).state_dict()
    next(t for t in state.values() if t.is_floating_point()).view(-1)[0] = float("nan")
    with pytest.raises(ModelError, match="is not finite: train the model again"):
        save_bundle(tmp_path / "m.geounet", random_spec(), state)


def test_folder_that_is_absent(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        random_bundle(tmp_path / "gone" / "m.geounet")


def test_missing_and_folder(tmp_path):
    refused(tmp_path / "gone.geounet", r"cannot be read \(No such file or directory\): check the")
    refused(tmp_path, r"cannot be read \(Is a directory\)")


@given(st.data())
def test_cut_short_at_any_byte(tmp_path_factory, good, data):
    content = good.read_bytes()
    path = tmp_path_factory.mktemp("cut") / "m.geounet"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    refused(path, "is no geounet model, or was cut short .*: get it again")


@given(st.data())
def test_one_byte_changed_anywhere(tmp_path_factory, good, data):
    """It is refused, or the byte was of no meaning and the model is the same."""
    content = bytearray(good.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("flip") / "m.geounet"
    path.write_bytes(content)
    with contextlib.suppress(ModelError):
        bundle, whole = load_bundle(path), load_bundle(good)
        assert bundle == replace(whole, path=str(path))


@given(st.binary(max_size=400))
def test_random_bytes(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("noise") / "m.geounet"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"is no geounet model|holds a pickle"):
        load_bundle(path)


@pytest.mark.parametrize("name", [SPEC, WEIGHTS, GRAPH])
def test_edited(tmp_path, good, name):
    content = members(good)
    content[name] += b" "
    refused(pack(tmp_path / "m.geounet", content), rf"{name} was changed after it was saved")


# nothing is unpickled


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_pickle(tmp_path, protocol):
    path = tmp_path / "m.geounet"
    path.write_bytes(pickle.dumps(Trap(), protocol))
    refused(path, "holds a pickle, which would run code when read, and is refused: save the")


@pytest.mark.parametrize("modern", [True, False])
def test_torch_save(tmp_path, modern):
    path = tmp_path / "m.geounet"
    torch.save({"w": torch.zeros(3), "t": Trap()}, path, _use_new_zipfile_serialization=modern)
    refused(path, "holds a pickle")


def test_pickle_beside_the_members(tmp_path, good):
    content = members(good) | {"extra.pkl": pickle.dumps(Trap())}
    refused(pack(tmp_path / "m.geounet", content), "holds a pickle")


def test_pickle_in_place_of_the_weights(tmp_path, good):
    content = members(good) | {WEIGHTS: pickle.dumps(Trap())}
    refused(pack(tmp_path / "m.geounet", content, resign=True), "the weights do not fit the spec")


# archives that are no bundle


@pytest.mark.parametrize("name", [SPEC, WEIGHTS, MANIFEST])
def test_member_missing(tmp_path, good, name):
    content = members(good)
    del content[name]
    refused(pack(tmp_path / "m.geounet", content), rf"it (has no|lacks) {name}")


def test_no_weights_and_no_graph(tmp_path, good):
    content = {k: v for k, v in members(good).items() if k not in (WEIGHTS, GRAPH)}
    told = rf"cut short \('it has no {WEIGHTS}'\)"
    refused(pack(tmp_path / "m.geounet", content, resign=True), told)


def of_int8(good, **changed):
    """The members of a bundle of INT8; its graph is not looked at here."""
    content = {k: v for k, v in members(good).items() if k != WEIGHTS}
    manifest = json.loads(content[MANIFEST]) | {"version": 3}
    manifest["graph"] |= {"precision": "int8"} | changed
    return content | {MANIFEST: json.dumps(manifest).encode()}


def test_a_bundle_of_int8_has_no_weights(tmp_path, good):
    bundle = load_bundle(pack(tmp_path / "m.geounet", of_int8(good), resign=True))
    assert bundle.is_int8
    assert bundle.weights is None
    with pytest.raises(ModelError, match=r"m\.geounet is of INT8, which only OpenVINO runs: give"):
        bundle.network  # noqa: B018
    assert not load_bundle(good).is_int8


def test_weights_beside_a_graph_of_int8(tmp_path, good):
    content = of_int8(good) | {WEIGHTS: members(good)[WEIGHTS]}
    told = rf"it has, beside a graph of INT8, a {WEIGHTS}"
    refused(pack(tmp_path / "m.geounet", content, resign=True), told)


@pytest.mark.parametrize("precision", ["int4", 8, None, ["int8"]])
def test_a_precision_that_there_is_not(tmp_path, good, precision):
    content = of_int8(good, precision=precision)
    told = r"m\.geounet: a graph of precision .* cannot be"
    refused(pack(tmp_path / "m.geounet", content, resign=True), told)


def test_member_too_many(tmp_path, good):
    content = members(good) | {"../evil.py": b""}
    refused(pack(tmp_path / "m.geounet", content), r"holds files that no model has \(\.\./evil\.py")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_twice(tmp_path, good):
    path = pack(tmp_path / "m.geounet", members(good))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(SPEC, "{}")
    refused(path, r"holds files that no model has \(one twice\)")


def test_bomb(tmp_path, good):
    """70 MiB of zeros in 70 KiB are not unpacked."""
    content = members(good) | {WEIGHTS: bytes(70 << 20)}
    path = pack(tmp_path / "m.geounet", content)
    assert path.stat().st_size < 1 << 20
    refused(path, r"weights\.safetensors would unpack to 70 MiB from \d+ KiB, which no model does")


def test_archive_locked_with_a_password(tmp_path, good):
    content = bytearray(good.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + offset] |= 1
    path = tmp_path / "m.geounet"
    path.write_bytes(content)
    refused(path, "is no geounet model, or was cut short")


@pytest.mark.parametrize("version", [0, 4, "1", None])
def test_another_version(tmp_path, good, version):
    content = members(good)
    manifest = json.loads(content[MANIFEST]) | {"version": version}
    content[MANIFEST] = json.dumps(manifest).encode()
    refused(
        pack(tmp_path / "m.geounet", content),
        rf"has bundle version {version!r}; this geounet reads 1, 2, 3: install a geounet that fits",
    )


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b"7", b"{}", b'{"sha256": 3}', b"\xff", b"[" * 100_000]
)
def test_manifest_that_is_none(tmp_path, good, manifest):
    content = members(good) | {MANIFEST: manifest}
    refused(pack(tmp_path / "m.geounet", content), "is no geounet model, or was cut short")


# edited on purpose, with hashes that fit


def tampered(path, good, **changes):
    content = members(good)
    content[SPEC] = json.dumps(json.loads(content[SPEC]) | changes).encode()
    return pack(path, content, resign=True)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"spec_version": 9}, "spec has version 9; this geounet reads 1"),
        ({"surprise": 1}, "unknown keys: surprise"),
        ({"arch": {"name": "os", "width": 4, "depth": 2}}, "architecture 'os' is not one of fcn"),
        ({"arch": {"name": "unet", "width": 5, "depth": 2}}, "the weights do not fit the spec"),
        ({"arch": {"name": "unet", "width": 4.5, "depth": 2}}, "width 4.5"),
        ({"arch": {"name": "unet", "width": 10**9, "depth": 2}}, "width 1000000000"),
        ({"arch": {}}, "the model's spec cannot be read"),
        ({"bands": []}, "has no input bands"),
        ({"unit": "kelvin"}, "unit 'kelvin': reflectance or dB or any"),
        ({"clip": [float("nan"), 1]}, "clip range nan..1 is empty"),
        ({"clip": [0]}, "the model's spec cannot be read"),
    ],
)
def test_spec_that_cannot_be(tmp_path, good, changes, match):
    refused(tampered(tmp_path / "m.geounet", good, **changes), match)


def test_weights_of_another_shape_or_kind(tmp_path, good):
    content = members(good)
    state = safetensors.torch.load(content[WEIGHTS])
    name = min(n for n, tensor in state.items() if tensor.is_floating_point())
    for tensor in (torch.zeros(3), torch.full_like(state[name], float("inf"))):
        content[WEIGHTS] = safetensors.torch.save(state | {name: tensor})
        refused(
            pack(tmp_path / "m.geounet", content, resign=True), "do not fit the spec|is not finite"
        )


def test_read_from_memory_names_its_path(good):
    from geounet.bundle import read_bundle

    bundle = read_bundle(io.BytesIO(good.read_bytes()), "in memory")
    assert bundle.path == "in memory"


# the graph


def without_graph(path, good, version=1):
    """A bundle as version 1 wrote it."""
    content = {k: v for k, v in members(good).items() if k != GRAPH}
    manifest = {k: v for k, v in json.loads(content[MANIFEST]).items() if k != "graph"}
    content[MANIFEST] = json.dumps(manifest | {"version": version}).encode()
    return pack(path, content, resign=True)


@pytest.mark.parametrize("version", [1, 2])
def test_a_bundle_without_a_graph_is_read(tmp_path, good, version):
    bundle, whole = (
        load_bundle(without_graph(tmp_path / "m.geounet", good, version)),
        load_bundle(good),
    )
    assert bundle.graph is None
    assert whole.graph is not None
    assert (bundle.spec, bundle.weights) == (whole.spec, whole.weights)


def test_the_graph_has_the_stride_and_the_halo_of_the_network(good):
    bundle = load_bundle(good)
    assert (bundle.graph.stride, bundle.graph.halo) == (bundle.network.stride, bundle.network.halo)


def test_the_graph_holds_no_weights(tmp_path):
    sizes = []
    for width in (4, 32):
        spec = random_spec(width=width)
        sizes.append(len(members(random_bundle(tmp_path / "m.geounet", spec))[GRAPH]))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("arch", ["unet", "fcn", "segnet"])
def test_the_graph_is_an_onnx_model_that_takes_the_weights(tmp_path, arch, half):
    import onnx
    from onnx.reference import ReferenceEvaluator

    spec = random_spec(("red", "nir"), classes=3, arch=arch)
    state = random_network(spec).state_dict()
    path = save_bundle(tmp_path / "m.geounet", spec, state, half=half)
    bundle = load_bundle(path)
    onnx.checker.check_model(bundle.graph.onnx, full_check=True)
    x = torch.randn(2, 2, 16, 24)
    with torch.inference_mode():
        expected = bundle.network(x).numpy()
    runner = ReferenceEvaluator(onnx.load_from_string(bundle.graph.onnx))
    assert set(runner.input_names) == {"image", *bundle.tensors()}
    (found,) = runner.run(None, {"image": x.numpy(), **bundle.tensors()})
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_network_that_cannot_be_written_has_no_graph(tmp_path, monkeypatch, caplog):
    layers = SimpleNamespace(**vars(torch.nn) | {"ReLU": torch.nn.ELU})
    monkeypatch.setattr("geounet.nn.blocks.nn", layers)
    with caplog.at_level("INFO", "geounet"):
        bundle = load_bundle(random_bundle(tmp_path / "m.geounet"))
    assert bundle.graph is None
    assert "ELU cannot be written as ONNX: only torch will run it" in caplog.text


def test_saving_needs_onnx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DependencyError, match=r'needs the package onnx: pip install "geounet\[tor'):
        random_bundle(tmp_path / "m.geounet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "graph",
    [None, 7, {}, {"stride": 4}, {"stride": 0, "halo": 0}, {"stride": 4, "halo": 6}],
    ids=str,
)
def test_what_the_manifest_says_of_the_graph_cannot_be(tmp_path, good, graph):
    content = members(good)
    content[MANIFEST] = json.dumps(json.loads(content[MANIFEST]) | {"graph": graph}).encode()
    with pytest.raises(
        ModelError, match=r"m\.geounet: (a graph of stride|its graph\.onnx or what)"
    ):
        load_bundle(pack(tmp_path / "m.geounet", content))


def test_the_graph_is_missing(tmp_path, good):
    content = members(good)
    del content[GRAPH]
    with pytest.raises(ModelError, match=r"its graph\.onnx or what its manifest says .* missing"):
        load_bundle(pack(tmp_path / "m.geounet", content))
