"""Outputs appear together under their final names, or not at all."""

from __future__ import annotations

import pytest
from mounts import read_only

from geounet.errors import OutputError
from geounet.staging import Staging, check_outputs


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_nothing_under_a_final_name_before_commit(tmp_path):
    with Staging() as staging:
        a, b = staging.stage(tmp_path / "a.tif"), staging.stage(tmp_path / "b.gpkg")
        scratch = staging.scratch(tmp_path / "a.tif")
        for path in (a, b, scratch):
            path.write_text(path.suffix)
            assert path.name.startswith(".")
        assert (a.suffix, b.suffix) == (".tif", ".gpkg")
        assert {a, b, scratch} == set(tmp_path.iterdir())
        staging.commit()
    assert content(tmp_path) == {"a.tif": ".tif", "b.gpkg": ".gpkg"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_run_leaves_nothing_and_touches_nothing(tmp_path, error):
    (tmp_path / "a.tif").write_text("earlier")
    (tmp_path / ".a.other.tif").write_text("not ours")

    def run():
        with Staging() as staging:
            path = staging.stage(tmp_path / "a.tif")
            path.write_text("new")
            path.with_name(f"{path.name}-journal").write_text("of SQLite")
            path.with_name(f"{path.name}.aux.xml").write_text("of GDAL")
            staging.scratch(tmp_path / "a.tif").write_text("x")
            raise error

    with pytest.raises(error):
        run()
    assert content(tmp_path) == {"a.tif": "earlier", ".a.other.tif": "not ours"}


def test_names_with_signs_of_patterns(tmp_path):
    (tmp_path / "ab.tif").write_text("not ours")
    with Staging() as staging:
        staging.stage(tmp_path / "[a]*.tif").write_text("x")
    assert content(tmp_path) == {"ab.tif": "not ours"}


def test_what_was_staged_and_never_written_is_no_error_without_commit(tmp_path):
    with Staging() as staging:
        staging.stage(tmp_path / "a.tif")
    assert content(tmp_path) == {}


def test_a_rename_that_fails_is_told(tmp_path):
    (tmp_path / "a.tif").mkdir()
    with Staging() as staging:
        staging.stage(tmp_path / "a.tif").write_text("x")
        with pytest.raises(OutputError, match=r"a\.tif cannot be written \(Is a directory\)"):
            staging.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_commit_keeps_the_order(tmp_path):
    with Staging() as staging:
        first, second = staging.stage(tmp_path / "1"), staging.stage(tmp_path / "2")
        first.write_text("")
        with pytest.raises(OutputError, match=r"/2 cannot be written \(No such file"):
            staging.commit()
        assert [path.name for path in tmp_path.iterdir()] == ["1"]
        assert second.name != "2"


def test_check_outputs(tmp_path):
    (tmp_path / "there.tif").write_text("x")
    (tmp_path / "folder.tif").mkdir()
    check_outputs([tmp_path / "new.tif", tmp_path / "new.gpkg"], overwrite=False)
    check_outputs([tmp_path / "there.tif"], overwrite=True)
    cases = {
        tmp_path / "gone" / "a.tif": r"the folder .*gone does not exist: make it first",
        tmp_path / "there.tif" / "a.tif": r"the folder .*there\.tif does not exist",
        tmp_path / "folder.tif": r"folder\.tif is a folder: give a file name",
        tmp_path
        / "there.tif": r"there\.tif exists: pass --overwrite to replace it, or give another name$",
    }
    for path, match in cases.items():
        with pytest.raises(OutputError, match=match):
            check_outputs([tmp_path / "new.tif", path], overwrite=False)


def test_read_only_folder(tmp_path):
    folder = tmp_path / "sealed"
    folder.mkdir()
    with (
        read_only(folder),
        pytest.raises(OutputError, match=r"is read-only: choose another$"),
    ):
        check_outputs([folder / "a.tif"], overwrite=False)
