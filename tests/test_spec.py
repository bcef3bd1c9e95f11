"""A spec turns into JSON and back, and one that would be illegal cannot be built."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet.bands import BandSpec
from geounet.classes import NODATA, ClassDef, ClassScheme
from geounet.errors import ModelError, OptionError
from geounet.spec import ArchSpec, ModelCard, ModelSpec
from geounet.testing.bundles import random_spec

numbers = st.floats(-1e6, 1e6)
names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
sizes = st.tuples(st.floats(0.01, 1e4), st.floats(0.01, 1e4)).map(sorted).map(tuple)
lines = st.text(st.characters(categories=("L", "N", "Zs")), min_size=1).filter(str.isprintable)
colors = st.integers(0, 0xFFFFFF).map(lambda value: f"#{value:06x}")


@st.composite
def ranges(draw):
    low, high = sorted(draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
    return low, high


@st.composite
def schemes(draw):
    codes = draw(st.lists(st.integers(0, NODATA - 1), min_size=2, max_size=6, unique=True))
    titles = draw(st.lists(lines, min_size=len(codes), max_size=len(codes), unique=True))
    return ClassScheme(
        classes=tuple(
            ClassDef(code=code, name=title, color=draw(colors))
            for code, title in zip(codes, titles, strict=True)
        )
    )


archs = st.builds(
    ArchSpec,
    name=st.sampled_from(["unet", "fcn", "segnet"]),
    width=st.integers(1, 1024),
    depth=st.integers(1, 8),
) | st.builds(ArchSpec, name=st.sampled_from(["unet-resnet34", "segformer-mit_b0"]))


@st.composite
def specs(draw):
    arch = draw(archs)
    return ModelSpec(
        name=draw(names),
        version=draw(st.text()),
        arch=arch,
        bands=tuple(
            BandSpec(name=name, mean=draw(numbers), std=draw(st.floats(1e-6, 1e6)))
            for name in draw(st.lists(names, min_size=1, max_size=13, unique=True))
        ),
        unit=draw(st.sampled_from(["reflectance", "dB", "any"])),
        clip=draw(ranges()),
        plausible=draw(ranges()),
        classes=draw(schemes()),
        pixel_size=draw(st.none() | sizes),
        card=ModelCard(
            summary=draw(st.text()),
            data=draw(st.text()),
            terms=draw(st.text()),
            limits=draw(st.text()),
            metrics=draw(st.dictionaries(st.text(), numbers | st.text())),
        ),
        seam=draw(st.sampled_from([arch.seam, "blend"])),
        bf16_agreement=draw(st.none() | st.floats(0, 1)),
    )


@given(specs())
def test_round_trip(spec):
    assert ModelSpec.from_json(spec.to_json()) == spec


@given(st.text() | st.from_regex(r'\{"spec_version": 1(, "[a-z]+": [0-9])*\}', fullmatch=True))
def test_other_text_is_refused(text):
    with pytest.raises(ModelError, match="the model's spec"):
        ModelSpec.from_json(text)


KEPT = {("version", v) for v in ("", "x")} | {("name", "x"), ("bf16_agreement", 0.5)}


@pytest.mark.parametrize("value", [0.5, -1, "", "x"])
@pytest.mark.parametrize("key", sorted(json.loads(random_spec().to_json())))
def test_field_of_another_kind(key, value):
    text = json.dumps(json.loads(random_spec().to_json()) | {key: value})
    if (key, value) in KEPT:
        assert getattr(ModelSpec.from_json(text), key) == value
        return
    with pytest.raises(ModelError, match="the model's spec") as caught:
        ModelSpec.from_json(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": "Über"}, "model name 'Über': use lower case, digits and hyphens"),
        ({"name": "a/b"}, "model name"),
        ({"name": ""}, "model name"),
        ({"name": "-"}, "model name"),
        ({"bands": ()}, "has no input bands"),
        ({"bands": (BandSpec(name="a", mean=0, std=1),) * 2}, "has a band twice: a a"),
        ({"unit": "K"}, "unit 'K': reflectance or dB or any"),
        ({"seam": "glue"}, "seam 'glue': exact or blend"),
        ({"clip": (1.0, 1.0)}, r"clip range 1\.0\.\.1\.0 is empty"),
        ({"plausible": (2.0, 1.0)}, "plausible range"),
        ({"pixel_size": (0.0, 10.0)}, "pixel size"),
        ({"pixel_size": (20.0, 10.0)}, "pixel size"),
        ({"pixel_size": (-1.0, float("nan"))}, "pixel size"),
        ({"bf16_agreement": 99.9}, "bf16_agreement 99.9 must be 0 to 1"),
    ],
)
def test_illegal_spec(change, match):
    with pytest.raises(OptionError, match=match):
        replace(random_spec(), **change)


@pytest.mark.parametrize(
    ("width", "depth"),
    [(0, 2), (2000, 2), (4, 0), (4, 9), (4.0, 2), (True, 2), (None, 2), (4, None), (None, None)],
)
def test_illegal_network(width, depth):
    with pytest.raises(OptionError, match="must be 1 to 1024 and depth"):
        ArchSpec(name="unet", width=width, depth=depth)


@pytest.mark.parametrize(
    "name", ["", "UNet", "unet-a/b", "unet-tu-hf_hub:someone/model", "..", 7, "a" * 97, "unet\n"]
)
def test_illegal_architecture(name):
    """Nothing that a library of models would fetch from somewhere."""
    with pytest.raises(OptionError, match=r"use lower case, digits and - _ \. as in unet-resnet34"):
        ArchSpec(name=name, width=4, depth=2)


def test_an_architecture_with_an_encoder():
    arch = ArchSpec(name="unet-resnet34")
    assert (arch.has_encoder, arch.seam, str(arch)) == (True, "blend", "unet-resnet34")
    ours = ArchSpec(name="unet", width=8, depth=4)
    assert (ours.has_encoder, ours.seam, str(ours)) == (False, "exact", "unet, width 8, depth 4")
    with pytest.raises(OptionError, match="unet-resnet34 has the width and depth of its encoder"):
        ArchSpec(name="unet-resnet34", width=32)
    with pytest.raises(OptionError, match="unet-resnet34 looks too far for exact tiles: its seam"):
        replace(random_spec(), arch=arch)


def test_a_spec_as_earlier_versions_wrote_it():
    """And it is still written so, where the architecture was there."""
    text = random_spec().to_json()
    assert '"arch": {\n  "depth": 2,\n  "name": "unet",\n  "width": 4\n }' in text


def test_a_spec_that_knows_no_pixel_size():
    """It says so, and does not leave it out."""
    text = replace(random_spec(), pixel_size=None).to_json()
    assert '"pixel_size": null' in text
    assert ModelSpec.from_json(text).pixel_size is None
    raw = json.loads(text)
    del raw["pixel_size"]
    with pytest.raises(ModelError, match=r"cannot be read \('pixel_size'\)"):
        ModelSpec.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"code": NODATA}, "codes are 0 to 254"),
        ({"code": -1}, "codes are 0 to 254"),
        ({"code": 1.5}, "codes are 0 to 254"),
        ({"name": ""}, "write one in a line"),
        ({"name": "a\nb"}, "write one in a line"),
        ({"color": "red"}, "write it as #rrggbb"),
        ({"color": "#ABCDEF"}, "write it as #rrggbb, lower case"),
    ],
)
def test_illegal_class(change, match):
    with pytest.raises(OptionError, match=match):
        ClassDef(**{"code": 1, "name": "water", "color": "#2166ac"} | change)


def test_illegal_scheme():
    water = ClassDef(code=1, name="water", color="#2166ac")
    with pytest.raises(OptionError, match="at least 2 classes, got 1"):
        ClassScheme(classes=(water,))
    with pytest.raises(OptionError, match=r"a class code appears twice in \[1, 1\]"):
        ClassScheme(classes=(water, replace(water, name="sea")))
    with pytest.raises(OptionError, match="a class name appears twice"):
        ClassScheme(classes=(water, replace(water, code=2)))


def test_scheme_in_words_and_colours():
    scheme = random_spec(classes=2).classes
    assert str(scheme) == "0 class 0, 1 class 1"
    assert [c.rgb for c in scheme] == [(200, 180, 140), (33, 102, 172)]
    assert scheme.nodata == NODATA
    assert len(scheme) == 2
