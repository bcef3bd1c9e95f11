"""Which scenes are meant, and what is refused before any work is done."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rasters

from geounet.batch import BatchOptions, read_scenes
from geounet.batch.files import files_of
from geounet.batch.scenes import make_jobs
from geounet.errors import GeounetError, OptionError, OutputError, SceneError
from geounet.options import SegmentOptions

DB = np.full((2, 40, 30), -12, np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """With three scenes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("b", "a", "c d"):
        rasters.write(tmp_path / "in" / f"{name}.tif", DB, names=("VV", "VH"))
    return tmp_path


def options_for(folder, **segment) -> BatchOptions:
    return BatchOptions(folder=folder / "out", segment=SegmentOptions(**segment))


def test_paths_globs_and_urls_each_once(folder) -> None:
    assert read_scenes(["in/b.tif", "in/*.tif", "https://host/x.tif?a=*"]) == [
        ("in/b.tif",),
        ("in/a.tif",),
        ("in/c d.tif",),
        ("https://host/x.tif?a=*",),
    ]
    (folder / "in" / "[x].tif").write_bytes(b"")
    assert read_scenes(["in/[x].tif"]) == [("in/[x].tif",)]


@pytest.mark.parametrize("name", ["list.txt", "@list.txt", "@list"])
def test_a_list_names_a_scene_a_line(folder, name) -> None:
    text = "in/a.tif  # the first\n\n# nothing\nB1.TIF B2.TIF\n'in/c d.tif'\n"
    (folder / name.removeprefix("@")).write_text(text)
    assert read_scenes([name]) == [("in/a.tif",), ("B1.TIF", "B2.TIF"), ("in/c d.tif",)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x*.tif"], r"x\*\.tif matches no file: check the pattern"),
        (["@none.txt"], r"none\.txt: this list of scenes cannot be read \(No such file"),
        (["empty.txt"], "no scene is named"),
        (["open.txt"], r"open\.txt, line 2: a quotation mark is not closed"),
        (["binary.txt"], r"binary\.txt: this list of scenes cannot be read \(it is not UTF-8"),
    ],
)
def test_what_names_no_scene_is_refused(folder, arguments, message) -> None:
    (folder / "empty.txt").write_text("# nothing\n")
    (folder / "open.txt").write_text("a.tif\n'b.tif\n")
    (folder / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SceneError, match=message):
        read_scenes(arguments)


def test_outputs_are_named_after_scene_and_model(folder) -> None:
    found = make_jobs(read_scenes(["in/a.tif"]), options_for(folder, confidence=True), {})
    (job,) = found.jobs
    assert job.pixels == 40 * 30
    assert job.source == (str(folder / "in" / "a.tif"),)
    assert sorted(path.name for path in job.outputs) == [
        "a.flood-s1.confidence.tif",
        "a.flood-s1.gpkg",
        "a.flood-s1.qml",
        "a.flood-s1.tif",
        "a.flood-s1.tif.aux.xml",
    ]
    options = BatchOptions(
        folder=folder, segment=SegmentOptions(model="flood-s1"), polygons=".parquet"
    )
    (job,) = make_jobs([("in/a.tif",)], options, {}).jobs
    assert job.options.polygons == folder / "a.flood-s1.parquet"
    options = options_for(folder, polygons=False)
    assert make_jobs([("in/a.tif",)], options, {}).jobs[0].options.polygons is False


def test_what_cannot_be_opened_or_has_no_model_is_left_out(folder) -> None:
    (folder / "in" / "bad.tif").write_bytes(b"no raster")
    rasters.write(folder / "in" / "red.tif", DB[:1], names=("red",))
    sources = [("in/bad.tif",), ("in/none.tif",), ("in/red.tif",), ("in/a.tif",)]
    found = make_jobs(sources, options_for(folder), {})
    assert [job.name for job in found.jobs] == ["in/a.tif"]
    assert list(found.unreadable) == ["in/bad.tif", "in/none.tif", "in/red.tif"]
    assert "no bundled model reads its bands (red)" in found.unreadable["in/red.tif"]


def test_two_scenes_of_one_name_are_refused(folder) -> None:
    (folder / "other").mkdir()
    rasters.write(folder / "other" / "a.tif", DB, names=("VV", "VH"))
    message = r"in/a\.tif and other/a\.tif would both become a\.flood-s1\.tif: give one of them"
    with pytest.raises(OptionError, match=message):
        make_jobs([("in/a.tif",), ("other/a.tif",)], options_for(folder), {})


def test_outputs_that_exist_are_refused_all_at_once(folder) -> None:
    (folder / "out").mkdir()
    for name in ("a.flood-s1.tif", "b.flood-s1.gpkg"):
        (folder / "out" / name).write_text("mine")
    sources, options = read_scenes(["in/*.tif"]), options_for(folder)
    message = r"a\.flood-s1\.tif, b\.flood-s1\.gpkg exist in .*out, and are not what this batch"
    with pytest.raises(OutputError, match=message):
        make_jobs(sources, options, {})
    assert len(make_jobs(sources, options_for(folder, overwrite=True), {}).jobs) == 3


def test_outputs_of_the_manifest_are_known_until_somebody_changes_them(folder) -> None:
    (folder / "out").mkdir()
    raster = folder / "out" / "a.flood-s1.tif"
    raster.write_text("ours")
    files = {name: list(told) for name, told in files_of([raster]).items()}
    rows = {raster.name: {"fingerprint": {"the scene": "1"}, "files": files}}
    (job,) = make_jobs([("in/a.tif",)], options_for(folder), rows).jobs
    assert job.finished == {"the scene": "1"}
    raster.write_text("changed")
    with pytest.raises(OutputError, match="are not what this batch made"):
        make_jobs([("in/a.tif",)], options_for(folder), rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "--workers 0: give 1 or more"),
        ({"workers": 2, "scheduler": "tcp://a:1"}, "a scheduler has workers of its own"),
        ({"max_retries": -1}, "--max-retries -1: give 0 or more"),
        ({"polygons": ".shp"}, "--polygons shp: choose gpkg, fgb, parquet, geojson"),
    ],
)
def test_options_outside_their_limits(tmp_path, options, message) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        BatchOptions(folder=tmp_path, segment=SegmentOptions(), **options)


def test_several_devices_and_names_of_outputs_are_refused(tmp_path) -> None:
    with pytest.raises(OptionError, match="each worker of a batch has one device"):
        BatchOptions(folder=tmp_path, segment=SegmentOptions(device="cuda:0,cuda:1"))
    with pytest.raises(OptionError, match="named after their scenes"):
        BatchOptions(folder=tmp_path, segment=SegmentOptions(out=Path("a.tif")))


def test_a_model_that_is_not_there_is_refused(folder) -> None:
    with pytest.raises(GeounetError, match="there is no model"):
        make_jobs([("in/a.tif",)], options_for(folder, model="none"), {})
