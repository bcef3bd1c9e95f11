"""What is handed over first."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from geounet.batch.agenda import Agenda

KINDS = ("plan", "band", "follow", "finish")

tasks = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(KINDS), st.integers(0, 9)), max_size=20
)


def agenda_of(added: list[tuple[int, str, int]]) -> Agenda:
    agenda = Agenda()
    for scene, kind, row in added:
        agenda.add(scene, kind, (row,) if kind == "band" else ())
    return agenda


@given(tasks, st.integers(-2, 9))
def test_no_more_than_there_is_room_for_and_all_in_the_end(added, room) -> None:
    agenda = agenda_of(added)
    taken = list(agenda.take(room))
    assert sum(task.has_turn for task in taken) <= max(0, room)
    rest = list(agenda.take(len(added)))
    assert len(taken) + len(rest) == len(added)
    assert all(not b < a for a, b in pairwise([*taken, *rest]))


def test_earlier_scenes_and_upper_rows_first_and_followed_from_the_start() -> None:
    agenda = agenda_of(
        [(1, "plan", 0), (0, "band", 4), (0, "band", 0), (0, "follow", 0), (1, "finish", 0)]
    )
    taken = list(agenda.take(9))
    assert [(task.scene, task.kind, task.first) for task in taken] == [
        (0, "follow", 0),
        (0, "band", 0),
        (0, "band", 4),
        (1, "finish", 0),
        (1, "plan", 0),
    ]
    priorities = [task.priority for task in taken]
    assert priorities == sorted(priorities, reverse=True)


def test_who_follows_takes_no_room() -> None:
    agenda = agenda_of([(0, "band", 0), (1, "follow", 0), (1, "band", 0)])
    assert [task.kind for task in agenda.take(1)] == ["band", "follow"]
    assert list(agenda.take(0)) == []
