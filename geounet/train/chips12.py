"""Chips of 128 x 128 pixels without a CRS: seven reflectance bands, water mask, land cover.

The image files have 12 bands, of which only the first seven are a model's input: the others
(quality, elevation, land cover, water occurrence) hold or leak the answer.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from torch.utils.data import DataLoader, Dataset
from torchgeo.datasets import NonGeoDataset

from geounet.classes import ClassDef, ClassScheme
from geounet.train.sen1floods import WATER_SCHEME
from geounet.train.source import IGNORE, Chip, blank_invalid

BANDS = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
SCALE = 1e-4
SIZE = 128  # pixels, of each chip
LANDCOVER_BAND = 11  # 1-based

LANDCOVER_SCHEME = ClassScheme(
    classes=(
        ClassDef(code=10, name="tree cover", color="#006400"),
        ClassDef(code=20, name="shrubland", color="#ffbb22"),
        ClassDef(code=30, name="grassland", color="#ffff4c"),
        ClassDef(code=40, name="cropland", color="#f096ff"),
        ClassDef(code=50, name="built-up", color="#fa0000"),
        ClassDef(code=60, name="bare", color="#b4b4b4"),
        ClassDef(code=80, name="water", color="#0064c8"),
        ClassDef(code=90, name="wetland", color="#0096a0"),
        ClassDef(code=100, name="moss", color="#fae6a0"),
    )
)
"""ESA WorldCover's codes and colours, less snow and ice (70), of which the chips have 2 pixels."""

Target = Literal["water", "landcover"]


class ChipDataset(NonGeoDataset):  # type: ignore[misc]
    """All chips of the folder, read once (about 50 MB).

    Sample: ``image`` (7, height, width) float32 reflectance, NaN where there are no data; ``mask``
    (height, width) int64 class index or :data:`~geounet.train.source.IGNORE`.
    """

    def __init__(self, folder: Path, target: Target) -> None:
        self.names = tuple(sorted((p.stem for p in (folder / "images").glob("*.tif")), key=int))
        self._samples = [_read(folder, name, target) for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """The sample at that place in :attr:`names`."""
        stored, label = self._samples[index]
        image = torch.from_numpy(stored).float() * SCALE
        nothing = torch.from_numpy((stored == 0).all(axis=0))
        image[:, nothing] = float("nan")
        return {"image": blank_invalid(image), "mask": torch.from_numpy(label).long()}


class WaterLandcoverChips:
    """The folder with ``images/N.tif``, ``labels/N.png`` and ``location_groups.json``."""

    bands = BANDS

    def __init__(self, folder: Path, target: Target) -> None:
        self._dataset = ChipDataset(folder, target)
        groups = json.loads((folder / "location_groups.json").read_text())
        self.groups = tuple(tuple(str(n) for n in group) for group in groups)
        self.classes = WATER_SCHEME if target == "water" else LANDCOVER_SCHEME
        self._index = {name: i for i, name in enumerate(self._dataset.names)}

    def chips(self, names: Sequence[str]) -> Iterator[Chip]:
        """See :meth:`geounet.train.source.Source.chips`."""
        for name in names:
            sample = self._dataset[self._index[name]]
            yield Chip(name=name, image=sample["image"].numpy(), label=sample["mask"].numpy())

    def batches(
        self, names: Sequence[str], *, size: int, batch: int, steps: int, seed: int
    ) -> DataLoader[dict[str, Any]]:
        """See :meth:`geounet.train.source.Source.batches`."""
        rng = np.random.default_rng(seed)
        chosen = rng.choice([self._index[name] for name in names], steps * batch)
        corners = rng.integers(0, max(1, SIZE + 1 - size), (steps * batch, 2))
        patches = _Patches(self._dataset, chosen, corners, size)
        return DataLoader(patches, batch_size=batch)


class _Patches(Dataset[dict[str, torch.Tensor]]):
    """Cuttings of samples, in a fixed order."""

    def __init__(
        self, dataset: ChipDataset, chosen: NDArray[Any], corners: NDArray[Any], size: int
    ) -> None:
        self._dataset, self._chosen, self._corners, self._size = dataset, chosen, corners, size

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        row, col = self._corners[index]
        sample = self._dataset[int(self._chosen[index])]
        return {
            key: value[..., row : row + self._size, col : col + self._size]
            for key, value in sample.items()
        }


def _read(folder: Path, name: str, target: Target) -> tuple[NDArray[Any], NDArray[np.int8]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the chips have no CRS, we know
        with rasterio.open(folder / "images" / f"{name}.tif") as src:
            image = src.read(list(range(1, len(BANDS) + 1)))
            cover = src.read(LANDCOVER_BAND)
    if target == "landcover":
        return image, _index_of(cover, LANDCOVER_SCHEME)
    with Image.open(folder / "labels" / f"{name}.png") as mask:
        return image, _index_of(np.asarray(mask), WATER_SCHEME)


def _index_of(codes: NDArray[Any], scheme: ClassScheme) -> NDArray[np.int8]:
    table = np.full(256, IGNORE, np.int8)
    table[list(scheme.codes)] = range(len(scheme))
    return table[codes.astype(np.uint8)]
