"""A bundle as one ONNX file: the same classes here, in another runtime, and in Deepness."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from onnx.reference import ReferenceEvaluator

import geounet
from geounet.bands import Normalizer
from geounet.bundle import load_bundle
from geounet.engine.select import make_engine
from geounet.errors import ModelError, OptionError, OutputError
from geounet.onnx import export_onnx, save_onnx
from geounet.scene import MemoryScene
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet_cli.main import main

RNG = np.random.default_rng(9)


def spec_of(arch="unet"):
    """One that clips, and whose mean is far from 0."""
    spec = random_spec(("red", "nir"), classes=3, arch=arch)
    bands = tuple(
        replace(b, mean=m, std=s) for b, m, s in zip(spec.bands, (40, -3), (9, 2), strict=True)
    )
    return replace(spec, bands=bands, clip=(-8, 60), plausible=(-500, 500), pixel_size=(8, 12.5))


@pytest.fixture(scope="module", params=["unet", "fcn", "segnet"])
def bundle(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return load_bundle(random_bundle(folder / "m.geounet", spec_of(request.param)))


def image(side=64):
    return np.stack([RNG.normal(40, 18, (side, side)), RNG.normal(-3, 4, (side, side))])


def engine_of(model):
    normalizer = Normalizer.of(model.spec.bands, model.spec.clip)
    return make_engine(model, normalizer, engine="openvino")


@pytest.mark.parametrize("any_size", [False, True], ids=["fixed", "any size"])
def test_it_is_the_same_model(bundle, tmp_path, any_size: bool) -> None:
    side = bundle.graph.stride * 8 + 2 * bundle.graph.halo
    path = save_onnx(
        tmp_path / "m.onnx", bundle, **({"any_size": True} if any_size else {"side": side})
    )
    again = geounet.load_model(path)
    for what in ("name", "version", "bands", "unit", "clip", "plausible", "classes", "pixel_size",
                 "card", "seam"):  # fmt: skip
        assert getattr(again.spec, what) == getattr(bundle.spec, what), what
    one, other = engine_of(bundle), engine_of(again)
    assert (one.halo, one.stride, one.seam) == (other.halo, other.stride, other.seam)
    assert other.side == (None if any_size else side)
    x = image(side)[None].astype(np.float32)
    valid = RNG.random((1, side, side)) < 0.9
    np.testing.assert_allclose(one.logits(x, valid), other.logits(x, valid), atol=1e-4)


def test_any_runtime_gives_its_probabilities(bundle) -> None:
    model = onnx.load_from_string(export_onnx(bundle, any_size=True))
    onnx.checker.check_model(model, full_check=True)
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["probabilities"]
    x = image()[None].astype(np.float32)
    (odds,) = ReferenceEvaluator(model).run(None, {"image": x})
    expected = engine_of(bundle).probabilities(x, np.ones((1, 64, 64), bool))
    np.testing.assert_allclose(odds, expected, atol=1e-4)
    assert np.ptp(expected[:, 0]) > 0.1


def test_deepness_gives_the_same_classes(bundle) -> None:
    """With what it does before and after a network, in its own words and numbers."""
    model = onnx.load_from_string(export_onnx(bundle))
    said = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert said["model_type"] == "Segmentor"
    assert said["class_names"] == {str(i): name for i, name in enumerate(bundle.spec.classes.names)}
    assert said["resolution"] == pytest.approx(1000)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    side = said["tile_size"]
    assert shape == [1, 2, side, side]
    assert side * said["tiles_overlap"] / 100 >= 2 * bundle.graph.halo
    assert said["seg_small_segment"] == 0
    small = onnx.load_from_string(export_onnx(bundle, any_size=True))
    raw = image().transpose(1, 2, 0)
    x = np.float32(raw[None] * 1.0 / 255.0)
    x = (x - np.array(said["standardization_mean"])) / np.array(said["standardization_std"])
    fed = np.transpose(x, (0, 3, 1, 2)).astype(np.float32)
    (odds,) = ReferenceEvaluator(small).run(None, {"image": fed})
    odds[odds < said["seg_thresh"]] = 0
    valid = np.ones((1, 64, 64), bool)
    expected = engine_of(bundle).probabilities(image_of(raw), valid)
    ordered = np.sort(expected, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 1e-3
    assert np.array_equal(odds.argmax(1)[clear], expected.argmax(1)[clear])
    assert clear.mean() > 0.9


def image_of(raw):
    return raw.transpose(2, 0, 1)[None].astype(np.float32)


@pytest.mark.parametrize("any_size", [False, True], ids=["fixed", "any size"])
def test_segment_gives_the_same_map(tmp_path, any_size: bool) -> None:
    bundle = load_bundle(random_bundle(tmp_path / "m.geounet", spec_of()))
    path = save_onnx(
        tmp_path / "m.onnx", bundle, **({"any_size": True} if any_size else {"side": 96})
    )
    grid = GeoBox((150, 210), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
    data = np.stack([RNG.normal(40, 18, (150, 210)), RNG.normal(-3, 4, (150, 210))])
    data = data.astype(np.float32)
    data[0, 20:40, 100:160] = np.nan
    maps = []
    for model in (bundle.path, path):
        scene = MemoryScene.of(data, geobox=grid, names=("red", "nir"))
        options = {"polygons": False, "confidence": True, "engine": "openvino"}
        report = geounet.segment(scene, model=model, out=tmp_path / f"{len(maps)}.tif", **options)
        assert report.seam == "exact"
        assert report.model == "random"
        with rasterio.open(report.raster) as one, rasterio.open(report.confidence) as other:
            maps.append((one.read(1), other.read(1).astype(int)))
    assert np.array_equal(maps[0][0], maps[1][0])
    assert np.abs(maps[0][1] - maps[1][1]).max() <= 1


def test_a_model_to_be_blended(tmp_path) -> None:
    spec = replace(spec_of(), seam="blend")
    bundle = load_bundle(random_bundle(tmp_path / "m.geounet", spec))
    again = geounet.load_model(save_onnx(tmp_path / "m.onnx", bundle))
    assert (again.spec.seam, again.graph.halo) == ("blend", bundle.graph.halo)


def test_the_same_model_gives_the_same_bytes(bundle) -> None:
    assert export_onnx(bundle) == export_onnx(bundle)


def test_command(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["models", "export", "flood-s1", "--onnx"]) == 0
    assert capsys.readouterr().out == "flood-s1.onnx\n"
    assert geounet.load_model("flood-s1.onnx").spec.card == geounet.load_model("flood-s1").spec.card
    assert main(["models", "export", "flood-s1", "--onnx"]) == 2
    assert "flood-s1.onnx exists: pass --overwrite" in capsys.readouterr().err
    argv = ["models", "export", "flood-s1", "--onnx", "--overwrite", "-o", "flood-s1.onnx"]
    assert main([*argv, "--tile", "288"]) == 0
    assert geounet.load_model("flood-s1.onnx").graph.ends.side == 288


def test_what_cannot_be_exported(bundle, tmp_path) -> None:
    path = save_onnx(tmp_path / "m.onnx", bundle)
    with pytest.raises(ModelError, match=r"m\.onnx is an ONNX file already: copy it"):
        export_onnx(geounet.load_model(path))
    with pytest.raises(ModelError, match="has no graph, so it cannot be exported"):
        export_onnx(replace(bundle, graph=None))
    stride, least = bundle.graph.stride, 2 * bundle.graph.halo + bundle.graph.stride
    for side in (least - stride, least + 1, 0, -stride):
        with pytest.raises(OptionError, match=rf"--tile {side}: give a multiple of {stride}, "):
            export_onnx(bundle, side=side)
    with pytest.raises(OptionError, match=r"-o \S+m\.pb: end it in \.onnx"):
        save_onnx(tmp_path / "m.pb", bundle)
    with pytest.raises(OutputError, match="does not exist: make it first"):
        save_onnx(tmp_path / "no" / "m.onnx", bundle)
    with pytest.raises(OutputError, match="exists"):
        save_onnx(path, bundle)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
