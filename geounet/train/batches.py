"""A source, as Lightning asks for it: new patches each epoch, whole chips for validation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import lightning
import numpy as np
from torch.utils.data import DataLoader, Dataset

from geounet.train.recipe import Recipe
from geounet.train.source import Chip, Source


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """The seed of an epoch in one of several processes; that of the first is the seed itself.

    An epoch's randomness depends on nothing that happened before it, so that a run that goes on
    from a checkpoint does as one that was never stopped.
    """
    if epoch == rank == 0:
        return seed
    return int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1)[0])


class Batches(lightning.LightningDataModule):  # type: ignore[misc]
    """The batches of a run."""

    def __init__(
        self,
        recipe: Recipe,
        source: Source,
        names: Sequence[str],
        validate: Sequence[str],
        seed: int,
    ) -> None:
        super().__init__()
        self.recipe, self.source, self.seed = recipe, source, seed
        self.names, self.validate = tuple(names), tuple(validate)
        self.accumulate = 1
        """Minibatches a step."""

    def train_dataloader(self) -> Iterable[dict[str, Any]]:
        """The minibatches of whatever epoch it is."""
        return _Epochs(self)

    def val_dataloader(self) -> Any:
        """Whole chips, one by one; no loader without any."""
        if not self.validate:
            return []
        return DataLoader(
            _Chips(self.source, self.validate), batch_size=None, collate_fn=cast("Any", _as_it_is)
        )


class _Epochs:
    """Minibatches of the epoch that begins, each time they are asked for.

    Seeds everything when the first is taken, and not before: Lightning makes iterators ahead, and
    another number of them in a run that is resumed.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return self._batches.recipe.steps * self._batches.accumulate

    def __iter__(self) -> Iterator[dict[str, Any]]:
        trainer, recipe = self._batches.trainer, self._batches.recipe
        epoch, rank = trainer.current_epoch, trainer.global_rank
        seed = epoch_seed(self._batches.seed, epoch, rank)
        if epoch or rank:  # the first goes on with the randomness that the network was built with
            lightning.seed_everything(seed, verbose=False)
        parts = self._batches.accumulate
        yield from self._batches.source.batches(
            self._batches.names,
            size=recipe.crop,
            batch=recipe.batch // (parts * trainer.world_size),
            steps=recipe.steps * parts,
            seed=seed,
        )


class _Chips(Dataset[Chip]):
    def __init__(self, source: Source, names: tuple[str, ...]) -> None:
        self._source, self._names = source, names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Chip:
        (chip,) = self._source.chips([self._names[index]])
        return chip


def _as_it_is(chip: Chip) -> Chip:
    return chip
