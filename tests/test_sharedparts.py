"""Strips that several processes make and one joins meanwhile."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from geounet.errors import OutputError
from geounet.parts import Parts, was_committing
from geounet.sharedparts import FollowedParts, SharedParts, wait_for_follower
from geounet.stitch import Strip
from geounet.stripfile import strip_paths
from geounet.window import Window

SAME = {"the scene": "a"}


def strip(row: int) -> Strip:
    labels = np.full((4, 5), row, np.uint8)
    return Strip(window=window(row), labels=labels, confidence=None)


def window(row: int) -> Window:
    return Window(row_off=4 * row, col_off=0, height=4, width=5)


@pytest.fixture
def raster(tmp_path) -> Path:
    """With a folder for its strips."""
    path = tmp_path / "a.tif"
    with Parts(path, SAME, print, lasting=True):
        pass
    return path


def test_a_strip_that_is_made_later_is_waited_for(raster) -> None:
    def make() -> None:
        time.sleep(0.3)
        with SharedParts(raster, SAME) as parts:
            parts.keep(strip(0))

    with FollowedParts(raster, SAME, lambda: True) as followed:
        assert followed.has(window(0))
        maker = threading.Thread(target=make)
        maker.start()
        found = followed.strip(window(0))
        maker.join()
    assert np.array_equal(found.labels, strip(0).labels)
    assert followed.waited > 0.1


def test_it_is_waited_for_only_as_long_as_it_is_wanted(raster) -> None:
    answers = iter([True, True, False])
    with (
        pytest.raises(OutputError, match=r"a\.tif is not wanted any more"),
        FollowedParts(raster, SAME, lambda: next(answers)) as followed,
    ):
        followed.strip(window(0))
    assert next(answers, None) is None


def test_a_strip_that_is_broken_is_told(raster) -> None:
    with SharedParts(raster, SAME) as parts:
        parts.keep(strip(1))
    (path,) = strip_paths(raster.with_name(".a.tif.parts"))
    path.write_bytes(path.read_bytes()[:-3])
    with (
        FollowedParts(raster, SAME, lambda: True) as followed,
        pytest.raises(OutputError, match="cannot be read"),
    ):
        followed.strip(window(1))


def test_one_follows_at_a_time(raster, monkeypatch) -> None:
    monkeypatch.setattr("geounet.sharedparts.PATIENCE", 0)
    first = FollowedParts(raster, SAME, lambda: True)
    second = FollowedParts(raster, SAME, lambda: True)
    with first, SharedParts(raster, SAME), pytest.raises(OutputError, match="another run"), second:
        pass
    with second:
        pass


def test_another_runs_strips_are_not_followed(raster) -> None:
    followed = FollowedParts(raster, {"the scene": "b"}, lambda: True)
    with pytest.raises(OutputError, match="another run"), followed:
        pass


def test_commit_is_noted_for_the_next_run(raster) -> None:
    with FollowedParts(raster, SAME, lambda: True) as followed:
        assert not was_committing(raster)
        followed.commit()
        followed.drop()
    assert was_committing(raster)


def test_the_end_of_a_follower_is_waited_for(raster) -> None:
    entered, leave = threading.Event(), threading.Event()

    def follow() -> None:
        with FollowedParts(raster, SAME, lambda: True):
            entered.set()
            leave.wait()

    follower = threading.Thread(target=follow)
    follower.start()
    entered.wait()
    threading.Timer(0.3, leave.set).start()
    wait_for_follower(raster)
    assert leave.is_set()
    follower.join()


def test_without_a_folder_nobody_follows(tmp_path) -> None:
    wait_for_follower(tmp_path / "b.tif")
    assert list(tmp_path.iterdir()) == []
