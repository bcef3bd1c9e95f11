"""Rows that outlive whatever kills the batch."""

from __future__ import annotations

import json

import pytest
from mounts import small_disk

from geounet.batch.manifest import Manifest
from geounet.errors import OutputError

DONE = {"scene": "a", "output": "a.tif", "state": "done", "fingerprint": {"the scene": "1"}}


def test_rows_come_back_with_their_time(tmp_path) -> None:
    manifest = Manifest(tmp_path)
    assert list(manifest.rows()) == []
    manifest.add(scene="a", rows=(0, 7), state="done")
    manifest.add(scene="b", error="no")
    first, second = manifest.rows()
    assert (first["scene"], first["rows"], first["state"]) == ("a", [0, 7], "done")
    assert second["time"] >= first["time"]
    assert len(manifest.path.read_text().splitlines()) == 2


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_row_that_was_cut_short_costs_no_other(tmp_path, cut) -> None:
    manifest = Manifest(tmp_path)
    manifest.add(**DONE)
    whole = manifest.path.read_bytes()
    manifest.add(**DONE)
    manifest.path.write_bytes(manifest.path.read_bytes()[: len(whole) + cut])
    assert len(list(manifest.rows())) == 1
    manifest.add(scene="c")
    assert [row["scene"] for row in manifest.rows()] == ["a", "c"]


@pytest.mark.parametrize("junk", [b"\xff\xfe\n", b"[1]\n", b"{\n", b"\n\n"])
def test_what_is_no_row_is_passed_over(tmp_path, junk) -> None:
    manifest = Manifest(tmp_path)
    manifest.path.write_bytes(junk)
    manifest.add(**DONE)
    assert [row["scene"] for row in manifest.rows()] == ["a"]


def test_the_last_row_of_a_finished_scene_counts(tmp_path) -> None:
    manifest = Manifest(tmp_path)
    manifest.add(**DONE)
    manifest.add(**DONE | {"fingerprint": {"the scene": "2"}})
    manifest.add(scene="a", output="a.tif", state="failed", error="no")
    manifest.add(scene="a", output="a.tif", state="done", rows=[0, 4])
    assert manifest.finished()["a.tif"]["fingerprint"] == {"the scene": "2"}


def test_a_full_disk_is_one_line(tmp_path) -> None:
    with small_disk(tmp_path, 4096):
        (tmp_path / "full").write_bytes(b"0" * 4096)
        with pytest.raises(OutputError, match=r"manifest\.jsonl cannot be written \(No space"):
            Manifest(tmp_path).add(**DONE)


def test_each_row_is_one_line_of_json(tmp_path) -> None:
    manifest = Manifest(tmp_path)
    manifest.add(scene="a\nb", error="two\nlines")
    (line,) = manifest.path.read_text().splitlines()
    assert json.loads(line)["error"] == "two\nlines"
