"""The models that ship: complete cards, sound files, and the verbs that show them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from geounet.bands import match_bands
from geounet.bundle import SUFFIX, load_bundle, save_bundle
from geounet.errors import ModelError
from geounet.models import bundled_models, load_model
from geounet.spec import ModelSpec
from geounet.testing import random_bundle
from geounet.testing.bundles import random_network, random_spec
from geounet_cli.main import main

MODELS = sorted(bundled_models())
LANDSAT = [f"SR_B{i}" for i in range(1, 8)]
SENTINEL = ["B01", "B02", "B03", "B04", "B08", "B11", "B12"]


def test_the_models_of_the_readme_are_there() -> None:
    assert MODELS == ["flood-s1", "landcover-ms", "water-ms"]


@pytest.mark.parametrize("name", MODELS)
class TestBundledModel:
    def test_is_named_as_its_file_and_small(self, name: str) -> None:
        path = bundled_models()[name]
        assert load_model(name).spec.name == name == path.stem
        assert path.stat().st_size < 5_000_000

    def test_the_card_is_complete(self, name: str) -> None:
        card = load_model(name).spec.card
        for field in ("summary", "data", "terms", "limits"):
            assert len(getattr(card, field)) > 20, field
        assert "\n" not in card.summary
        assert card.metrics
        assert {"command", "seed", "torch"} <= set(card.provenance)

    def test_the_spec_survives_json(self, name: str) -> None:
        spec = load_model(name).spec
        again = ModelSpec.from_json(spec.to_json())
        assert again.to_json() == spec.to_json()
        assert again == spec

    def test_its_bands_are_those_of_the_satellites(self, name: str) -> None:
        spec = load_model(name).spec
        assert spec.unit in ("reflectance", "dB")
        if spec.unit == "dB":
            assert match_bands(spec.band_names, ["VH", "VV"]) == (2, 1)
            return
        order = tuple(range(1, 8))
        assert match_bands(spec.band_names, SENTINEL, hint="sentinel-2") == order
        assert match_bands(spec.band_names, LANDSAT, hint="LC08") == order
        assert match_bands(spec.band_names, list(spec.band_names)[::-1]) == order[::-1]

    def test_its_numbers_make_sense(self, name: str) -> None:
        spec = load_model(name).spec
        assert all(band.std > 0 for band in spec.bands)
        low, high = spec.clip
        assert all(low < band.mean < high for band in spec.bands)
        assert 0 < spec.pixel_size[0] < spec.pixel_size[1]
        assert spec.bf16_agreement is None or 0.9 < spec.bf16_agreement <= 1
        assert spec.seam == "exact"

    def test_the_network_gives_a_logit_a_class(self, name: str) -> None:
        bundle = load_model(name)
        spec, network = bundle.spec, bundle.network
        side = 4 * network.stride
        with torch.no_grad():
            logits = network(torch.zeros(1, len(spec.bands), side, side))
        assert logits.shape == (1, len(spec.classes), side, side)
        assert torch.isfinite(logits).all()
        assert {p.dtype for p in network.parameters()} == {torch.float32}
        assert not network.training

    def test_show(self, name: str, capsys) -> None:
        assert main(["models", "show", name]) == 0
        text = capsys.readouterr().out
        card = load_model(name).spec.card
        assert text.startswith(f"{name} ")
        for title in ("data", "terms", "limits", "metrics", "provenance"):
            assert f"\n{title}\n" in text
        assert card.limits.split()[0] in text
        assert load_model(name).sha256 in text
        assert max(len(line) for line in text.splitlines() if not line.startswith("  file")) < 200

    def test_show_json(self, name: str, capsys) -> None:
        assert main(["models", "show", name, "--json"]) == 0
        assert ModelSpec.from_json(capsys.readouterr().out) == load_model(name).spec


def test_list(capsys) -> None:
    assert main(["models", "list"]) == 0
    text = capsys.readouterr().out
    for name in MODELS:
        spec = load_model(name).spec
        assert f"{name}  {spec.card.summary}" in text
        assert ", ".join(spec.band_names) in text
        assert ", ".join(spec.classes.names) in text


def test_show_a_file(tmp_path, capsys) -> None:
    path = random_bundle(tmp_path / f"mine{SUFFIX}")
    assert main(["models", "show", str(path)]) == 0
    text = capsys.readouterr().out
    assert "random 0: random weights" in text
    assert f"file:       {path}" in text
    assert "pixel size: 1 to 100 m" in text
    assert "bf16:       not measured" in text
    assert "engines:    openvino, torch" in text
    assert "metrics" not in text  # it has none


def test_show_a_model_of_pictures(tmp_path, capsys) -> None:
    spec = replace(random_spec(("gray",)), pixel_size=None)
    path = random_bundle(tmp_path / f"mine{SUFFIX}", spec)
    assert main(["models", "show", str(path)]) == 0
    assert "bands:      gray (any)" in (text := capsys.readouterr().out)
    assert "pixel size: not known" in text


def test_show_says_over_how_many_pixels_the_precisions_agree(tmp_path, capsys) -> None:
    spec = random_spec(("gray",))
    card = replace(spec.card, metrics={"bf16_agreement_pixels": 12800})
    path = random_bundle(
        tmp_path / f"mine{SUFFIX}", replace(spec, bf16_agreement=0.9995, card=card)
    )
    assert main(["models", "show", str(path)]) == 0
    told = "bf16:       99.950% of labels as in float32, over 12,800 pixels"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("name", ["flood", "no/such.geounet", "", "."])
def test_a_model_that_is_not_there(name: str, capsys) -> None:
    assert main(["models", "show", name]) == 2
    error = capsys.readouterr().err
    assert error.startswith("geounet: ")
    assert error.count("\n") == 1


def test_an_unknown_name_lists_what_there_is() -> None:
    message = r"there is no model 'flod-s1': give a path to a \.geounet or \.onnx file or one of"
    with pytest.raises(ModelError, match=message):
        load_model("flod-s1")
    with pytest.raises(ModelError, match="there is no model"):
        load_model("x" * 5000)
    with pytest.raises(ModelError, match="there is no model"):
        load_model("a\0b")


def test_a_file_beside_you_does_not_shadow_a_bundled_model(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flood-s1").write_text("something else")
    assert load_model("flood-s1").spec.name == "flood-s1"


def test_float16_weights_are_half_the_size_and_close(tmp_path) -> None:
    spec = random_spec(("red",), width=8, depth=2)
    state = random_network(spec).state_dict()
    full = save_bundle(tmp_path / f"full{SUFFIX}", spec, state)
    half = save_bundle(tmp_path / f"half{SUFFIX}", spec, state, half=True)
    assert half.stat().st_size < 0.6 * full.stat().st_size
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32))
    with torch.no_grad():
        one, other = (load_bundle(path).network(x) for path in (full, half))
    assert {p.dtype for p in load_bundle(half).network.parameters()} == {torch.float32}
    assert 0 < (one - other).abs().max() < 0.05


def test_the_spec_as_json_is_plain_data(capsys) -> None:
    assert main(["models", "show", MODELS[0], "--json"]) == 0
    raw = json.loads(capsys.readouterr().out)
    assert raw["spec_version"] == 1
    assert raw["bands"][0]["name"] == "VV"
