"""Images and labels as settings ask for them: opened, and divided by place."""

from __future__ import annotations

from dataclasses import dataclass

from geounet.train.config import request_of, val_of
from geounet.train.data import PairSource, Split, describe, open_data, split
from geounet.train.scheme import read_classes
from geounet.train.settings import LearningKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """What is trained on, and what is set aside."""

    source: PairSource
    """The data."""
    parts: Split
    """Names of its chips."""
    notes: tuple[str, ...]
    """What a person should hear of both, a line each."""

    @property
    def pixels(self) -> int:
        """Of all chips to train on."""
        return sum(self.source.size(name) for name in self.parts.train)


def divide(keys: LearningKeys, seed: int) -> Divided:
    """Open the data and set a part aside.

    Args:
        keys: Which data, and how much.
        seed: Of the choice.

    Raises:
        DataError: Everything that is wrong with images and labels.
        OptionError: Settings that cannot be.
    """
    classes = read_classes(keys.classes)
    source = open_data(request_of(keys, classes, keys.unit, keys.patch))
    told: list[str] = []
    parts = split(source, val_of(keys.val), seed, say=told.append)
    return Divided(source=source, parts=parts, notes=(*describe(source, parts), *told))
