from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from geounet.train.source import Chip

NEEDED = ("kornia", "lightning", "segmentation_models_pytorch", "sklearn", "torchgeo")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

AT_HOME_ANYWHERE = "test_training_stack.py"

collect_ignore = (
    [p.name for p in Path(__file__).parent.glob("test_*.py") if p.name != AT_HOME_ANYWHERE]
    if MISSING
    else []
)


@pytest.fixture(scope="session")
def floods(data: Path):
    from geounet.train.sen1floods import Sen1Floods11

    return Sen1Floods11(data / "sen1floods11")


@pytest.fixture(scope="session")
def water_chips(data: Path):
    from geounet.train.chips12 import WaterLandcoverChips

    return WaterLandcoverChips(data / "water_landcover_12band", "water")


@pytest.fixture(scope="session")
def cover_chips(data: Path):
    from geounet.train.chips12 import WaterLandcoverChips

    return WaterLandcoverChips(data / "water_landcover_12band", "landcover")


class MadeUp:
    """Eight chips of two bands in which water is dark in both; chip 7 has a corner of NaN."""

    bands = ("VV", "VH")

    def __init__(self) -> None:
        from geounet.train.sen1floods import WATER_SCHEME

        self.classes = WATER_SCHEME
        self.groups = tuple((f"{i}", f"{i + 1}") for i in range(0, 8, 2))

    def chips(self, names: Sequence[str]) -> Iterator[Chip]:
        from geounet.train.source import IGNORE, Chip

        for name in names:
            rng = np.random.default_rng(int(name))
            label = np.zeros((64, 64), np.int64)
            row, col = rng.integers(0, 32, 2)
            label[row : row + 32, col : col + 32] = 1
            image = rng.normal(0, 1, (2, 64, 64)).astype(np.float32)
            image += np.where(label == 1, -20, -10) - np.array([0, 7])[:, None, None]
            image = image.astype(np.float32)
            label[0] = IGNORE
            if name == "7":
                image[:, :9, :9] = np.nan
            yield Chip(name=name, image=image, label=label)

    def batches(self, names: Sequence[str], *, size: int, batch: int, steps: int, seed: int):
        del size
        import torch
        from torch.utils.data import DataLoader, RandomSampler

        samples = [
            {"image": torch.from_numpy(c.image), "mask": torch.from_numpy(c.label)}
            for c in self.chips(names)
        ]
        generator = torch.Generator().manual_seed(seed)
        sampler = RandomSampler(samples, num_samples=steps * batch, generator=generator)
        return DataLoader(samples, batch_size=batch, sampler=sampler)


@pytest.fixture
def made_up() -> MadeUp:
    return MadeUp()


@pytest.fixture
def recipe():
    from geounet.spec import ArchSpec
    from geounet.train.recipe import Augmentation, Recipe

    return Recipe(
        name="tiny",
        arch=ArchSpec(name="unet", width=4, depth=2),
        clip=(-35.0, 5.0),
        augmentation=Augmentation(degrees=10, scale=(0.9, 1.1), offset=0.5, holes=0.2),
        steps=40,
        batch=4,
        crop=64,
        learning_rate=1e-2,
    )
