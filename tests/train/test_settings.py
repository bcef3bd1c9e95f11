"""Settings: a flag and a key for each, in files that are read as they were written."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

import pytest

pytest.importorskip("omegaconf")

from geounet.errors import OptionError
from geounet.train.config import (
    arch_of,
    codes,
    mapped,
    model_name,
    parse_size,
    recipe_of,
    run_of,
    val_of,
)
from geounet.train.keys import plain, print_settings, read_settings, required, to_yaml
from geounet.train.recipe import Augmentation
from geounet.train.scheme import read_classes
from geounet.train.settings import CompareSettings, EvaluateSettings, TrainSettings
from geounet_cli.keys import add_settings, flags_of

pytestmark = pytest.mark.train

KINDS = (TrainSettings, CompareSettings, EvaluateSettings)


def some(**changes) -> TrainSettings:
    given = {"images": "i", "labels": "l", "classes": "a=0,b=1", "out": Path("m.geounet")}
    return TrainSettings(**{**given, **changes})


def parsed(kind, *flags: str) -> dict:
    parser = argparse.ArgumentParser()
    add_settings(parser, kind)
    return flags_of(parser.parse_args(flags))


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_has_a_flag_and_every_flag_a_key(kind):
    parser = argparse.ArgumentParser()
    add_settings(parser, kind)
    keys = {action.dest.removeprefix("key.") for action in parser._actions if "key." in action.dest}
    assert keys == {f.name for f in fields(kind)}
    named = {flag for action in parser._actions for flag in action.option_strings}
    assert {f"--{name.replace('_', '-')}" for name in keys} <= named
    assert all(action.help for action in parser._actions)


@pytest.mark.parametrize("changed", [False, True])
def test_a_file_that_was_written_is_read_as_it_was(tmp_path, changed):
    settings = some()
    if changed:
        settings = some(
            classes={"land": 0, "open water": {"code": 7, "color": "#0000ff"}},
            ignore=[255, 254],
            map={255: 1},
            groups=Path("some folder/groups.json"),
            lr=1e-05,
            steps=7,
            flip=False,
            summary='He said: "water", # and 1e5',
            val="groups.txt",
        )
    (tmp_path / "c.yaml").write_text(to_yaml(settings), encoding="utf-8")
    assert read_settings(TrainSettings, tmp_path / "c.yaml", {}) == settings


def test_flags_win_over_the_file_and_text_becomes_what_it_should_be(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("images: i\nlabels: l\nclasses: {a: 0, b: 1}\nout: m.geounet\nepochs: 3\n")
    flags = parsed(TrainSettings, "--epochs", "5", "--lr", "1e-4", "--no-flip", "--resume")
    settings = read_settings(TrainSettings, file, flags)
    assert (settings.epochs, settings.lr, settings.flip, settings.resume) == (5, 1e-4, False, True)
    assert settings.out == Path("m.geounet")
    assert settings.zoom is True
    shown = print_settings(TrainSettings, file, {"epochs": "6"})
    again = tmp_path / "again.yaml"
    again.write_text(shown)
    assert read_settings(TrainSettings, again, {}) == replace(
        settings, epochs=6, lr=None, flip=True, resume=False
    )


def test_what_is_printed_without_the_needed_says_so():
    shown = print_settings(TrainSettings, None, {"images": "here"})
    assert "images: here" in shown
    assert "labels: ???" in shown
    assert all(f"\n{f.name}:" in shown for f in fields(TrainSettings))


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        ("imgs: a", {}, "c.yaml: unknown key 'imgs': did you mean images?"),
        ("qqq: a", {}, "c.yaml: unknown key 'qqq': there are images, labels"),
        ("epochs: many", {}, "c.yaml: key epochs: Value 'many'"),
        ("epochs: [1]", {}, "c.yaml: key epochs: "),
        ("", {"epochs": "1.5"}, "--epochs: Value '1.5'"),
        ("", {"limit_memory": "9", "flip": "perhaps"}, "--flip: "),
        ("images: a", {}, "give --labels, --classes, --out"),
        ("- a\n- b", {}, "c.yaml is no list of keys"),
        ("images: [a", {}, "c.yaml is no YAML"),
        ("images: ${nothing}", {}, "c.yaml: "),
    ],
)
def test_what_is_wrong_with_settings_is_one_line(tmp_path, text, flags, words):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(OptionError) as error:
        read_settings(TrainSettings, file, flags)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(OptionError, match=r"nowhere\.yaml: cannot be read"):
        read_settings(TrainSettings, tmp_path / "nowhere.yaml", {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "--epochs 0: give at least 1"),
        ({"batch_size": -1}, "--batch-size -1"),
        ({"label_smoothing": 1.0}, "--label-smoothing 1"),
        ({"resume": True, "overwrite": True}, "give one of them"),
    ],
)
def test_values_that_cannot_be(changes, words):
    with pytest.raises(OptionError, match=words):
        some(**changes)


@pytest.mark.parametrize("kind", KINDS)
def test_paths_may_be_text_and_text_may_be_paths(kind):
    """A person who writes Python gives either."""
    needed = {"images": "i", "labels": "l", "classes": "a=0,b=1", "archs": "unet", "out": "o"}
    paths = {"groups": "g.csv", "mask": "m", "report": "r.html", "val": "v"}
    given = {f.name: {**needed, **paths}.get(f.name) for f in fields(kind)}
    text = {name: value for name, value in given.items() if value}
    same = {name: Path(v) for name, v in text.items() if name not in ("classes", "archs")}
    settings = kind(**text)
    assert kind(**text | same) == settings
    assert settings.groups == Path("g.csv")
    assert getattr(settings, "out", Path("o")) == Path("o")
    assert getattr(settings, "report", None) in (None, Path("r.html"), Path("o.html"))
    assert (settings.images, settings.mask) == ("i", "m")


def test_a_name_as_text_says_where_all_goes():
    settings = some(out="x/m.geounet")
    assert (settings.folder, settings.report) == (Path("x/m.run"), Path("x/m.html"))
    assert model_name(settings) == "m"
    with pytest.raises(OptionError, match="--out None: give a path"):
        some(out=None)


def test_required_is_what_has_no_default():
    assert required(TrainSettings) == ("images", "labels", "classes", "out")
    assert plain(some())["epochs"] == 30


def test_a_recipe_from_settings():
    settings = some(noise=False, zoom=False, patch=64, batch_size=4)
    arch = arch_of(settings, "unet")
    recipe = recipe_of(settings, "m", arch, (0.0, 1.0), 64 * 64 * 4 * 70)
    assert (recipe.steps, recipe.crop, recipe.batch, recipe.learning_rate) == (70, 64, 4, 3e-3)
    assert recipe.augmentation == Augmentation.usual().without("noise", "zoom")
    assert recipe_of(settings, "m", arch, (0.0, 1.0), 1).steps == 50
    assert recipe_of(settings, "m", arch, (0.0, 1.0), 10**12).steps == 1000
    other = arch_of(settings, "unet-resnet18")
    assert (other.width, other.depth) == (None, None)
    assert recipe_of(settings, "m", other, (0.0, 1.0), 1).learning_rate == 1e-3
    assert recipe_of(some(lr=0.5, steps=2), "m", other, (0.0, 1.0), 1).learning_rate == 0.5


def test_a_patch_that_a_network_cannot_halve():
    with pytest.raises(OptionError, match="--patch 100: unet needs a multiple of 16, such as 96"):
        arch_of(some(patch=100), "unet")
    with pytest.raises(OptionError, match="multiple of 32, such as 32"):
        arch_of(some(patch=16), "unet-resnet18")
    assert arch_of(some(patch=100, depth=2), "unet").depth == 2


def test_a_run_from_settings(tmp_path):
    run = run_of(some(limit_memory="2GB", device="cpu"), tmp_path, resume=True, patience=3)
    assert (run.limit_memory, run.device, run.folder) == (2 << 30, "cpu", tmp_path)
    assert (run.resume, run.patience, run.precision) == (True, 3, "auto")


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), ("4GB", 4 << 30), ("1.5 GiB", 3 << 29), ("300m", 300 << 20), ("2kB", 2048)],
)
def test_sizes(text, size):
    assert parse_size(text, "--x") == size


@pytest.mark.parametrize("text", ["", "GB", "4 apples", "-1GB"])
def test_sizes_that_are_none(text):
    with pytest.raises(OptionError, match=r"--x .*write a size"):
        parse_size(text, "--x")


def test_codes_and_maps():
    assert codes(None, "--x") == []
    assert codes("255, -1", "--x") == codes([255, -1], "--x") == [255, -1]
    assert codes(3, "--x") == [3]
    assert mapped(None, "--x") == {}
    assert mapped("255=1,2=0", "--x") == mapped({255: 1, "2": 0}, "--x") == {255: 1, 2: 0}
    with pytest.raises(OptionError, match="--x a"):
        codes("a", "--x")
    with pytest.raises(OptionError, match="write A=B"):
        mapped("1-2", "--x")


def test_what_is_set_aside():
    assert val_of("0.25") == val_of(0.25) == 0.25
    assert val_of("some/folder") == "some/folder"
    assert val_of(["a", 21]) == ["a", "21"]


def test_names_of_models():
    assert model_name(some(out=Path("x/My River_v2.geounet"))) == "my-river-v2"
    assert model_name(some(name="other")) == "other"
    assert model_name(some(out=Path("+.geounet"))) == "model"
    with pytest.raises(OptionError, match=r"end it in \.geounet"):
        model_name(some(out=Path("m.tif")))


def test_classes_as_text_mapping_and_file(tmp_path):
    wanted = read_classes("land=0, open water=7")
    assert (wanted.names, wanted.codes) == (("land", "open water"), (0, 7))
    assert wanted == read_classes({"land": 0, "open water": {"code": 7}})
    for name, text in (
        ("c.csv", "name,code\nland,0\nopen water,7\n"),
        ("c.txt", "# classes\nland=0\nopen water = 7\n"),
        ("c.json", '{"land": 0, "open water": {"code": 7}}'),
        ("c.yaml", "land: 0\nopen water: {code: 7}\n"),
    ):
        (tmp_path / name).write_text(text)
        assert read_classes(str(tmp_path / name)) == wanted, name
    colored = tmp_path / "d.csv"
    colored.write_text("land,0,#112233\nwater,1,#AABBCC\n")
    assert [c.color for c in read_classes(str(colored))] == ["#112233", "#aabbcc"]


def test_every_class_has_a_colour_of_its_own():
    many = read_classes({f"kind {i}": i for i in range(40)})
    assert len({c.color for c in many}) == 40
    assert len({c.color for c in read_classes("water=0,lake=1,river=2")}) == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("classes.txt", "no such file"),
        ("a=0,b", "has the code"),
        ("a=0", "^--classes a=0: .* at least 2 .* as in land=0,water=1"),
        ("a=0,b=0", "^--classes a=0,b=0: .*code appears twice"),
        ("a=x,b=1", "class a has the code 'x'"),
        ({"a": 0, "b": None}, "class b has the code None"),
        ({"a": 0, "b": True}, "class b has the code True"),
    ],
)
def test_classes_that_are_none(given, words):
    with pytest.raises(OptionError, match=words):
        read_classes(given)


@pytest.mark.parametrize("text", ["a,b,c,d\n", "a\n"])
def test_a_file_that_holds_no_classes(tmp_path, text):
    (tmp_path / "c.csv").write_text(f"land,0\n{text}")
    with pytest.raises(OptionError, match="write name=code"):
        read_classes(str(tmp_path / "c.csv"))
