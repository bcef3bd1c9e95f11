"""Law 9, with real workers: the bytes of ``geounet segment``, and whatever fails fails alone."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasters
from batches import NAMES, TILE, content, noise, segmented
from mounts import read_only, small_disk

from geounet.batch import BatchOptions, BatchReport, run_batch, work
from geounet.batch.folder import Folder
from geounet.batch.job import Job, Outcome
from geounet.batch.manifest import Manifest
from geounet.errors import DeviceError, OutputError
from geounet.options import SegmentOptions

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


def batch(scenes, folder, scheduler, *, said=None, retries=2, suffix=".gpkg", **options):
    """Run one."""
    chosen = BatchOptions(
        folder=folder,
        segment=SegmentOptions(**{"tile": TILE, "confidence": True} | options),
        scheduler=scheduler,
        max_retries=retries,
        polygons=suffix,
    )
    sources = [(str(scene),) for scene in scenes]
    return run_batch(sources, chosen, say=(said if said is not None else []).append)


def rows_of(folder: Path, **wanted):
    return [
        row
        for row in Manifest(folder).rows()
        if all(row.get(key) == value for key, value in wanted.items())
    ]


@pytest.fixture(scope="module")
def expected(batch_scenes, batch_models, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("expected") / "out"
    return segmented(folder, batch_scenes, batch_models["exact"], tile=TILE, confidence=True)


@pytest.mark.parametrize("seam", ["exact", pytest.param("blend", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("small_bands")
def test_the_bytes_of_segment(batch_scenes, batch_models, scheduler, tmp_path, seam) -> None:
    options = {"smooth": True, "suffix": ".fgb"} if seam == "blend" else {}
    model, said, seen = batch_models[seam], [], []
    chosen = BatchOptions(
        folder=tmp_path / "out",
        segment=SegmentOptions(
            model=model, tile=TILE, confidence=True, smooth=options.get("smooth", False)
        ),
        scheduler=scheduler,
        polygons=options.get("suffix", ".gpkg"),
    )
    report = run_batch(
        [(str(scene),) for scene in batch_scenes],
        chosen,
        say=said.append,
        progress=lambda done, total: seen.append((done, total)),
    )
    wanted = segmented(tmp_path / "ref", batch_scenes, model, tile=TILE, confidence=True, **options)
    assert content(tmp_path / "out") == wanted
    assert [path.name for path in sorted(report.done)] == ["hill.random.tif", "valley.random.tif"]
    assert (report.failed, report.kept, said) == ({}, (), [])
    total = 1100 * 500
    assert (report.pixels, seen[0], seen[-1]) == (total, (0, total), (total, total))
    assert seen == sorted(seen)
    bands = [row for row in rows_of(tmp_path / "out", state="done") if row["rows"]]
    assert len({row["worker"] for row in bands}) == 2
    for name, height in (("valley", 900), ("hill", 200)):
        ends = sorted(row["rows"] for row in bands if Path(row["scene"]).stem == name)
        assert [start for start, _ in ends] == [0, *(stop for _, stop in ends)][:-1]
        assert ends[-1][1] == height
        (whole,) = [
            row
            for row in rows_of(tmp_path / "out", state="done", rows=None)
            if Path(row["scene"]).stem == name
        ]
        assert {"model_sha256", "input_sha256", "seconds", "worker", "time"} <= whole.keys()


def test_small_scenes_of_chosen_models(scheduler, samples, tmp_path) -> None:
    scenes = [samples / f"{name}.tif" for name in ("flood_s1", "river_ms")]
    said: list[str] = []
    report = batch(scenes, tmp_path / "out", scheduler, said=said, tile=None, confidence=False)
    names = ["flood_s1.flood-s1.tif", "river_ms.water-ms.tif"]
    assert sorted(path.name for path in report.done) == names
    assert len(said) == 2
    assert len(rows_of(tmp_path / "out")) == 2


def test_single_band_files_of_one_scene(batch_models, scheduler, tmp_path) -> None:
    files = [
        rasters.write(tmp_path / f"{name}.tif", noise(1, 100, 90)[i], names=(name,))
        for i, name in enumerate(NAMES)
    ]
    options = BatchOptions(
        folder=tmp_path / "out",
        segment=SegmentOptions(model=batch_models["exact"]),
        scheduler=scheduler,
    )
    report = run_batch([tuple(map(str, files))], options, say=print)
    assert len(report.done) == 1
    assert not list((tmp_path / "out").glob(".*"))


def damaged(out: Path) -> Path:
    """A scene with a block that cannot be decoded, where nobody looks before the network does."""
    layout = {"compress": "deflate", "tiled": True, "blockxsize": 128, "blockysize": 64}
    rasters.write(out, noise(7, 3000, 120), names=NAMES, **layout)
    with rasterio.open(out) as scene:
        at = int(scene.get_tag_item("BLOCK_OFFSET_0_38", "TIFF", bidx=1))
    content = bytearray(out.read_bytes())
    content[at : at + 100] = b"\xff" * 100
    out.write_bytes(content)
    return out


@pytest.mark.usefixtures("small_bands")
def test_a_corrupt_block_fails_its_scene_alone(
    batch_scenes, batch_models, scheduler, tmp_path, expected
) -> None:
    bad, said = damaged(tmp_path / "bad.tif"), []
    folder, model = tmp_path / "out", batch_models["exact"]
    (tmp_path / "none.tif").write_bytes(b"no raster")
    scenes = [tmp_path / "none.tif", bad, *batch_scenes]
    report = batch(scenes, folder, scheduler, said=said, retries=1, model=model)
    assert list(report.failed) == [str(tmp_path / "none.tif"), str(bad)]
    assert sorted(path.name for path in report.done) == ["hill.random.tif", "valley.random.tif"]
    found = content(folder)
    assert found.pop(".bad.random.tif.parts", None) is not None
    assert found == expected
    (row,) = rows_of(folder, state="failed", scene=str(bad))
    assert "cannot be read" in row["error"]
    assert "the same command goes on with what is finished" in row["error"]
    assert "\n" not in row["error"]
    assert row["worker"].startswith("tcp://")
    assert len(rows_of(folder, state="again", scene=str(bad))) >= 1
    assert all(line.startswith("failed: ") for line in said)
    assert [str(bad) in line for line in said] == [False, True]


@pytest.mark.usefixtures("small_bands")
def test_started_again_it_skips_what_is_done_and_goes_on_with_the_rest(
    batch_scenes, batch_models, scheduler, tmp_path, expected
) -> None:
    """As after a kill: one scene done, of the other some bands and the first half of a file."""
    folder, model = tmp_path / "out", batch_models["exact"]
    batch(batch_scenes[1:], folder, scheduler, model=model)
    once = (folder / "hill.random.tif").stat().st_mtime_ns
    options = SegmentOptions(
        model=model,
        out=folder / "valley.random.tif",
        polygons=folder / "valley.random.gpkg",
        tile=TILE,
        confidence=True,
    )
    job = Job(
        name="v", source=(str(batch_scenes[0]),), options=options, pixels=0, place=Folder(tmp_path)
    )
    plan = work.plan(job)
    work.compute(plan, [3, 4])
    work.compute(plan, [9])
    half = folder / ".valley.random.tif.parts" / "0000000000-0000000064.strip"
    half.write_bytes(b"torn")
    said: list[str] = []
    report = batch(batch_scenes, folder, scheduler, said=said, model=model)
    assert [path.name for path in report.kept] == ["hill.random.tif"]
    assert [path.name for path in report.done] == ["valley.random.tif"]
    assert (folder / "hill.random.tif").stat().st_mtime_ns == once
    (line,) = said
    assert line.endswith(
        "valley.random.tif was interrupted: going on with 192 rows that are finished"
    )
    assert content(folder) == expected
    rows = rows_of(folder, state="done", output="valley.random.tif")
    bands = [row["rows"] for row in rows if row["rows"]]
    computed = {row for start, stop in bands for row in range(start, stop)}
    assert not computed & set(range(192, 320))
    assert len(rows_of(folder, state="kept")) == 1


def test_killed_before_the_manifest_heard_of_it(
    batch_scenes, batch_models, scheduler, tmp_path, expected
) -> None:
    folder, model = tmp_path / "out", batch_models["exact"]
    folder.mkdir()
    options = SegmentOptions(
        model=model,
        out=folder / "hill.random.tif",
        polygons=folder / "hill.random.gpkg",
        tile=TILE,
        confidence=True,
    )
    job = Job(
        name="h", source=(str(batch_scenes[1]),), options=options, pixels=0, place=Folder(tmp_path)
    )
    work.finish(work.plan(job))
    assert (folder / "hill.random.tif").exists()
    report = batch(batch_scenes, folder, scheduler, model=model)
    assert len(report.done) == 2
    assert content(folder) == expected


def test_what_changed_is_refused_or_replaced(batch_models, scheduler, tmp_path) -> None:
    folder, model = tmp_path / "out", batch_models["exact"]
    scene = rasters.write(tmp_path / "a.tif", noise(1, 100, 90), names=NAMES)
    assert len(batch([scene], folder, scheduler, model=model).done) == 1
    rasters.write(scene, noise(2, 100, 90), names=NAMES)
    report = batch([scene], folder, scheduler, model=model, smooth=True, retries=0)
    (why,) = report.failed.values()
    assert why == (
        f"{folder / 'a.random.tif'} exists, and the scene and --smooth changed since it was made:"
        " pass --overwrite to replace it, or give another folder with -o"
    )
    assert not list(folder.glob(".*"))
    report = batch([scene], folder, scheduler, model=model, smooth=True, overwrite=True)
    assert len(report.done) == 1
    wanted = segmented(tmp_path / "ref", [scene], model, tile=TILE, confidence=True, smooth=True)
    assert content(folder) == wanted
    report = batch([scene], folder, scheduler, model=model, smooth=True, overwrite=True)
    assert len(report.kept) == 1


def test_a_folder_that_cannot_be_written(batch_scenes, batch_models, scheduler, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: this folder cannot be made \(File exists\): giv"):
        batch(batch_scenes, tmp_path / "file", scheduler, model=batch_models["exact"])
    with (
        read_only(tmp_path / "out"),
        pytest.raises(OutputError, match=r"out: nothing can be written there \(Read-only file sys"),
    ):
        batch(batch_scenes, tmp_path / "out", scheduler, model=batch_models["exact"])


def test_a_batch_at_a_time(batch_scenes, batch_models, scheduler, tmp_path) -> None:
    from geounet.lock import Lock

    with (
        Lock(tmp_path / ".batch.lock", OutputError()),
        pytest.raises(OutputError, match="is being filled by another batch"),
    ):
        batch(batch_scenes, tmp_path, scheduler, model=batch_models["exact"])


def test_a_worker_of_another_kind_is_refused(batch_scenes, batch_models, tmp_path) -> None:
    options = SegmentOptions(model=batch_models["exact"], out=tmp_path / "a.tif", tile=TILE)
    job = Job(
        name="a", source=(str(batch_scenes[1]),), options=options, pixels=0, place=Folder(tmp_path)
    )
    plan = work.plan(job)
    assert plan.fingerprint is not None
    other = replace(plan, fingerprint=plan.fingerprint | {"the engine": "0"})
    with pytest.raises(
        DeviceError, match=r"^this worker differs from others in the engine: pass the"
    ):
        work.compute(other, [0])
    other = replace(plan, fingerprint=plan.fingerprint | {"the scene": "0", "--aoi": "1"})
    with pytest.raises(DeviceError, match=r"others in the scene and --aoi: another file"):
        work.compute(other, [0])


@pytest.mark.usefixtures("small_bands")
def test_a_full_disk_costs_nothing_that_is_computed(batch_models, scheduler, tmp_path) -> None:
    """There is room for strips, but not for outputs as well; then there is."""
    model = batch_models["exact"]
    rng = np.random.default_rng(4)
    speckle = rng.normal(size=(2, 900, 500)).astype(np.float32)
    scene = rasters.write(tmp_path / "a.tif", speckle, names=NAMES)
    folder = tmp_path / "out"
    with small_disk(folder, 1_200_000):
        report = batch([scene], folder, scheduler, model=model, retries=0)
        (why,) = report.failed.values()
        assert "free some disk space" in why
        assert why.endswith("(the same command goes on with what is finished)")
        strips = len(list(folder.glob(".a.random.tif.parts/*.strip")))
        shutil.copytree(folder, tmp_path / "larger")
    assert strips > 3
    report = batch([scene], tmp_path / "larger", scheduler, model=model)
    wanted = segmented(tmp_path / "ref", [scene], model, tile=TILE, confidence=True)
    assert content(tmp_path / "larger") == wanted


def test_a_bug_in_one_scene_does_not_end_the_others(monkeypatch) -> None:
    def broken(_text: str) -> None:
        raise KeyError("two\nlines")

    class Here:
        address = "tcp://here"

    monkeypatch.setattr("distributed.get_worker", Here)
    outcome = work.told(broken, "a")
    assert isinstance(outcome, Outcome)
    assert outcome.error == r"KeyError: 'two\nlines'"
    assert outcome.worker == "tcp://here"


def test_the_report_is_a_line_of_json(tmp_path) -> None:
    report = BatchReport(
        manifest=tmp_path / "m",
        done=(tmp_path / "a.tif",),
        kept=(),
        mosaic=None,
        failed={"b": "no"},
        pixels=1,
        seconds=1.0,
        mpx_per_s=0.0,
    )
    assert len(report.to_json().splitlines()) == 1
    assert os.fspath(tmp_path / "a.tif") in report.to_json()
