"""A training that is done: what was asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from geounet.train.divided import Divided
from geounet.train.fit import Trained
from geounet.train.recipe import Recipe
from geounet.train.scoring.scores import grouped
from geounet.train.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What was asked for, and what came of it."""

    settings: TrainSettings
    """What was asked for."""
    data: Divided
    """What there was to learn from."""
    recipe: Recipe
    """How it was learnt."""
    trained: Trained
    """The network and its history."""

    @property
    def scored(self) -> tuple[str, ...]:
        """Chips that the model is scored on: those set aside, or else all that it has seen."""
        return self.data.parts.validation or self.data.parts.train

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The same, by group."""
        return grouped(self.data.source.groups, self.scored)
