"""Finished strips on disk: what is read back is what was kept, or there is nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mounts import read_only, small_disk

from geounet.errors import OutputError
from geounet.parts import Parts, remove_parts, was_committing
from geounet.sharedparts import SharedParts
from geounet.stitch import Strip
from geounet.stripfile import read_strip
from geounet.window import Window

SAME = {"the scene": "1", "the model": "2"}
WIDTH = 7


def strip_of(row: int, height: int = 4, *, confidence: bool = False, seed: int = 0) -> Strip:
    rng = np.random.default_rng((seed, row))
    labels, percent = rng.integers(0, 256, (2, height, WIDTH), np.uint8)
    return Strip(
        window=Window(row_off=row, col_off=0, height=height, width=WIDTH),
        labels=labels,
        confidence=percent if confidence else None,
    )


def equal(one: Strip, other: Strip) -> bool:
    return (
        one.window == other.window
        and np.array_equal(one.labels, other.labels)
        and (one.confidence is None) == (other.confidence is None)
        and (one.confidence is None or np.array_equal(one.confidence, other.confidence))
    )


def found_by(parts) -> list[Strip]:
    """What an earlier run has left, in order."""
    windows = [read_strip(path).window for path in sorted(parts._found)]
    assert all(map(parts.has, windows))
    return [parts.strip(window) for window in windows]


class KilledError(BaseException):
    """Stands for the end of the process."""


def end(raster, strips, error, now=SAME, heard=None):
    """A run that keeps strips and ends with an error; ``heard`` takes what it said and found."""
    heard = [] if heard is None else heard
    said = []
    with Parts(raster, now, said.append) as parts:
        heard += [said, found_by(parts)]
        for strip in strips:
            parts.keep(strip)
        raise error


@pytest.fixture
def run(tmp_path):
    """A run of ``a.tif`` that is killed when it has kept strips: what it said and found."""

    def begin(*strips, now=SAME):
        heard = []
        with pytest.raises(KilledError):
            end(tmp_path / "a.tif", strips, KilledError(), now, heard)
        return tuple(heard)

    return begin


@given(heights=st.lists(st.integers(1, 5), min_size=1, max_size=5), confidence=st.booleans())
def test_what_was_kept_comes_back(heights, confidence) -> None:
    starts = [sum(heights[:i]) for i in range(len(heights))]
    strips = [
        strip_of(row, height, confidence=confidence)
        for row, height in zip(starts, heights, strict=True)
    ]
    said: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        raster = Path(folder) / "a.tif"
        with pytest.raises(KilledError):
            end(raster, strips, KilledError())
        with Parts(raster, SAME, said.append) as parts:
            found = found_by(parts)
            parts.drop()
        assert len(found) == len(strips)
        assert all(equal(*pair) for pair in zip(found, strips, strict=True))
        (line,) = said
        assert line == (
            f"an earlier run of {raster} was interrupted: going on with {sum(heights)} rows that"
            " are finished"
        )
        assert list(Path(folder).iterdir()) == []


def test_a_strip_that_is_there_is_not_kept_again(run) -> None:
    run(strip_of(0), strip_of(4))
    run(strip_of(0, seed=1), strip_of(8))
    _, found = run()
    assert all(equal(a, strip_of(b)) for a, b in zip(found, (0, 4, 8), strict=True))


@pytest.mark.parametrize("keep", [0, 20, -1])
def test_a_broken_strip_is_made_anew_and_the_others_stay(run, tmp_path, keep) -> None:
    run(strip_of(0), strip_of(4), strip_of(8))
    path = tmp_path / ".a.tif.parts" / "0000000004-0000000008.strip"
    path.write_bytes(path.read_bytes()[:keep])
    said, found = run(strip_of(4, seed=1))
    assert "going on with 8 rows that are finished" in said[0]
    assert [strip.window.row_off for strip in found] == [0, 8]
    _, found = run()
    assert len(found) == 3
    assert equal(found[1], strip_of(4, seed=1))


def test_a_changed_byte_is_noticed(run, tmp_path) -> None:
    run(strip_of(0, 40))
    path = tmp_path / ".a.tif.parts" / "0000000000-0000000040.strip"
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)
    assert run()[1] == []


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (SAME | {"the model": "3"}, "the model"),
        ({"the scene": "0", "the model": "3"}, "the scene and the model"),
        (SAME | {"--aoi": "4"}, "--aoi"),
    ],
)
def test_another_run_starts_anew_and_says_why(run, tmp_path, now, what) -> None:
    run(strip_of(0), strip_of(4))
    said, found = run(strip_of(0, 6), now=now)
    (line,) = said
    assert line == (
        f"an earlier run of {tmp_path / 'a.tif'} was interrupted, and {what} changed since then:"
        " starting anew"
    )
    assert found == []
    assert [strip.window.height for strip in run(now=now)[1]] == [6]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_a_broken_record_starts_anew(run, tmp_path, content) -> None:
    run(strip_of(0))
    (tmp_path / ".a.tif.parts" / "run.json").write_bytes(content)
    assert run() == ([], [])


def test_an_error_leaves_nothing(tmp_path) -> None:
    with pytest.raises(ZeroDivisionError):
        end(tmp_path / "a.tif", [strip_of(0)], ZeroDivisionError())
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_says_that_the_same_command_goes_on(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        end(tmp_path / "a.tif", [strip_of(0)], KeyboardInterrupt())
    assert str(caught.value) == (
        f"the same command goes on with what is finished of {tmp_path / 'a.tif'}"
    )
    assert [path.name for path in tmp_path.iterdir()] == [".a.tif.parts"]


def test_an_interruption_without_a_strip_leaves_nothing(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        end(tmp_path / "a.tif", [], KeyboardInterrupt())
    assert caught.value.args == ()
    assert list(tmp_path.iterdir()) == []


def test_renaming_is_noted(tmp_path) -> None:
    raster = tmp_path / "a.tif"
    assert not was_committing(raster)
    with Parts(raster, SAME, print) as parts:
        assert not was_committing(raster)
        parts.commit()
        assert was_committing(raster)
        parts.drop()
    assert not was_committing(raster)


def test_one_process_at_a_time(tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; from geounet.parts import Parts\n"
        "with Parts(Path('a.tif'), {}, print):\n"
        "    print('has it', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"has it\n"
        refusal = r"a\.tif is being written by another run: wait for it, or give another name with"
        with pytest.raises(OutputError, match=refusal), Parts(tmp_path / "a.tif", SAME, print):
            pass
        other.kill()
    with Parts(tmp_path / "a.tif", SAME, print) as parts:
        parts.drop()


def test_where_nothing_can_be_written_the_run_goes_on_without(tmp_path) -> None:
    with read_only(tmp_path), Parts(tmp_path / "a.tif", SAME, print) as parts:
        assert not parts.has(strip_of(0).window)
        parts.keep(strip_of(0))
        parts.commit()
        parts.drop()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_meanwhile_gets_the_room_back(tmp_path) -> None:
    large = strip_of(0, 4000)
    with small_disk(tmp_path, 32_768), Parts(tmp_path / "a.tif", SAME, print) as parts:
        parts.keep(large)
        assert (tmp_path / ".a.tif.parts").exists()
        parts.keep(strip_of(4000, 4000))
        assert list(tmp_path.iterdir()) == []
        parts.keep(strip_of(8000))
        parts.commit()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KilledError, ZeroDivisionError, KeyboardInterrupt, None])
def test_lasting_strips_stay_until_they_are_removed(tmp_path, error) -> None:
    raster = tmp_path / "a.tif"
    with (
        pytest.raises(error) if error else nullcontext(),
        Parts(raster, SAME, print, lasting=True) as parts,
    ):
        parts.keep(strip_of(0))
        if error:
            raise error
        parts.commit()
        parts.drop()
    with Parts(raster, SAME, print, lasting=True) as parts:
        assert [equal(found, strip_of(0)) for found in found_by(parts)] == [True]
    assert was_committing(raster) == (error is None)
    remove_parts(raster)
    assert list(tmp_path.iterdir()) == []
    remove_parts(raster)


def test_lasting_strips_survive_a_full_disk(tmp_path) -> None:
    raster = tmp_path / "a.tif"
    room = r"strips of a\.tif cannot be kept \(No space left on device\): free some disk space"
    with small_disk(tmp_path, 49_152):
        with Parts(raster, SAME, print, lasting=True) as parts:
            parts.keep(strip_of(0))
            parts.keep(strip_of(4, 4000))
            with pytest.raises(OutputError, match=room):
                parts.keep(strip_of(4004, 4000))
        with Parts(raster, SAME, print, lasting=True) as parts:
            assert [strip.window.row_off for strip in found_by(parts)] == [0, 4]
        with pytest.raises(OutputError, match=room), SharedParts(raster, SAME) as shared:
            shared.keep(strip_of(4004, 4000))
        remove_parts(raster)


def test_workers_share_the_folder_that_a_run_has_made(tmp_path) -> None:
    raster = tmp_path / "a.tif"
    with Parts(raster, SAME, print, lasting=True) as parts:
        parts.keep(strip_of(4))
        busy = r"a\.tif is being written by another run"
        with pytest.raises(OutputError, match=busy), SharedParts(raster, SAME):
            pass
    with SharedParts(raster, SAME) as one, SharedParts(raster, SAME) as other:
        one.keep(strip_of(0))
        other.keep(strip_of(8))
        other.keep(strip_of(0))
        assert [one.has(strip_of(row).window) for row in (0, 4, 8, 12)] == [True] * 3 + [False]
        assert equal(other.strip(strip_of(0).window), strip_of(0))
        with pytest.raises(OutputError, match=busy), Parts(raster, SAME, print):
            pass
    with Parts(raster, SAME, print, lasting=True) as parts:
        found = found_by(parts)
        assert all(equal(a, strip_of(b)) for a, b in zip(found, (0, 4, 8), strict=True))
    assert sorted(p.name for p in (tmp_path / ".a.tif.parts").glob("*.partial")) == []
    remove_parts(raster)


@pytest.mark.parametrize("now", [SAME | {"the model": "3"}, {"the scene": "0"}])
def test_a_worker_of_another_run_is_refused(tmp_path, now) -> None:
    raster = tmp_path / "a.tif"
    with Parts(raster, SAME, print, lasting=True):
        pass
    with (
        pytest.raises(OutputError, match="is being written by another run"),
        SharedParts(raster, now),
    ):
        pass


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path) -> None:
    with (
        pytest.raises(OutputError, match=r"strips of a\.tif cannot be kept \(No such file"),
        SharedParts(tmp_path / "a.tif", SAME),
    ):
        pass
