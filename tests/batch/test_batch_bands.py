"""How scenes are cut: each missing row once, and little twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from geounet.batch.bands import cut_bands
from geounet.batch.folder import Folder
from geounet.batch.job import Job, Plan
from geounet.options import SegmentOptions
from geounet.pool import EngineRecipe

RECIPE = EngineRecipe(
    model="m", sha256="", scale=(), offset=(), engine="auto", device="cpu", precision="auto"
)


def plan_of(missing, *, height=1024, width=10_980, margin=48, lead=0) -> Plan:
    job = Job(
        name="a",
        source=("a",),
        options=SegmentOptions(out=Path("a.tif")),
        pixels=1,
        place=Folder(Path()),
    )
    return Plan(
        job=job,
        recipe=RECIPE,
        fingerprint={"the scene": "1"},
        outputs=None,
        is_finished=False,
        missing=tuple(missing),
        pixel_rows={},
        height=height,
        width=width,
        margin=margin,
        lead=lead,
    )


@given(
    missing=st.sets(st.integers(0, 60), max_size=60).map(sorted),
    height=st.sampled_from([64, 512, 2048]),
    margin=st.integers(0, 400),
    lead=st.integers(0, 3),
    workers=st.integers(1, 40),
)
def test_each_missing_row_is_in_one_band(missing, height, margin, lead, workers) -> None:
    plan = plan_of(missing, height=height, width=100_000, margin=margin, lead=lead)
    bands = cut_bands(plan, workers)
    for rows in bands:
        assert list(rows) == list(range(rows[0], rows[-1] + 1))
    found = [row for rows in bands for row in rows]
    assert found == missing or (found == [] and len(list(_runs(missing))) < 2)


def _runs(rows):
    return (row for row in rows if row - 1 not in rows)


@given(workers=st.integers(1, 50), rows=st.integers(2, 400), lead=st.integers(0, 3))
def test_every_worker_has_one_and_little_is_done_twice(workers, rows, lead) -> None:
    bands = cut_bands(plan_of(range(rows), lead=lead), workers) or [tuple(range(rows))]
    assert len(bands) >= min(workers, rows)
    least = min(map(len, bands))
    assert max(map(len, bands)) <= least + 1
    if len(bands) > workers:
        assert 2 * 48 / (least * 1024) <= 1 / 4
        assert lead / least <= 1 / 8


def test_each_of_several_workers_gets_several() -> None:
    assert len(cut_bands(plan_of(range(100)), 4)) == 32


def test_what_is_read_twice_is_a_quarter_at_most() -> None:
    (*bands, _) = cut_bands(plan_of(range(64), height=500, margin=48), 8)
    assert {len(rows) for rows in bands} == {1}
    (*bands, _) = cut_bands(plan_of(range(64), height=500, margin=96), 4)
    assert {len(rows) for rows in bands} == {2}  # of one row 192 of 500 would be read twice


def test_what_is_small_or_cannot_be_known_again_is_computed_by_who_finishes_it() -> None:
    assert cut_bands(plan_of(range(10), height=256, width=1000), 2) == []
    assert cut_bands(plan_of([]), 2) == []
    assert cut_bands(plan_of([7]), 2) == []
    assert cut_bands(replace(plan_of(range(10)), fingerprint=None), 2) == []
