"""What waits for a worker, in the order in which it is handed over."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["plan", "band", "follow", "finish"]
"""See :mod:`geounet.batch.work`."""

_ORDER: Sequence[Kind] = ("finish", "follow", "band", "plan")


@dataclass(order=True, slots=True)
class Task:
    """One of a scene; earlier scenes are smaller, and are finished before others begin."""

    scene: int
    """Which."""
    stage: int
    """Place of its kind in the order of a scene's tasks."""
    first: int
    """Row of tiles, of a band."""
    rows: tuple[int, ...] = field(compare=False, default=())
    """Of a band."""
    tries: int = field(compare=False, default=0)
    """How often it has failed."""

    @property
    def kind(self) -> Kind:
        """What it does."""
        return _ORDER[self.stage]

    @property
    def priority(self) -> int:
        """Larger ones come first."""
        return -(self.scene * len(_ORDER) + self.stage)

    @property
    def has_turn(self) -> bool:
        """Whether a worker does it instead of others, and not beside them."""
        return self.kind != "follow"


class Agenda:
    """Tasks that wait."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def add(self, scene: int, kind: Kind, rows: tuple[int, ...] = (), tries: int = 0) -> None:
        """One more."""
        first = rows[0] if rows else 0
        heapq.heappush(self._tasks, Task(scene, _ORDER.index(kind), first, rows, tries))

    def take(self, room: int) -> Iterator[Task]:
        """The next ones: as many as there is room for, and those that need none before them."""
        while self._tasks and (room > 0 or not self._tasks[0].has_turn):
            task = heapq.heappop(self._tasks)
            room -= task.has_turn
            yield task
