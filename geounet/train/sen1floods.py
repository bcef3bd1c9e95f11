"""Sen1Floods11: Sentinel-1 chips in decibels with hand-drawn water labels.

Bonafilia, Tellman, Anderson & Issenberg 2020, "Sen1Floods11: a georeferenced dataset to train and
test deep learning flood algorithms for Sentinel-1", CVPR Workshops,
https://doi.org/10.1109/CVPRW50498.2020.00113. Read through torchgeo: the chips lie on the map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import IntersectionDataset, RasterDataset, stack_samples
from torchgeo.samplers import PreChippedGeoSampler, RandomGeoSampler

from geounet.classes import ClassDef, ClassScheme
from geounet.train.source import Chip, blank_invalid

WATER_SCHEME = ClassScheme(
    classes=(
        ClassDef(code=0, name="land", color="#e6dcc8"),
        ClassDef(code=1, name="water", color="#1f78b4"),
    )
)


class _Backscatter(RasterDataset):  # type: ignore[misc]
    all_bands = ("VV", "VH")


class _WaterLabels(RasterDataset):  # type: ignore[misc]
    is_image = False


class Sen1Floods11:
    """The folder with ``S1/*_S1Hand.tif`` and ``labels/*_LabelHand.tif``.

    Every chip is a group of its own: they are from different floods, or far from each other.
    """

    bands = ("VV", "VH")
    classes = WATER_SCHEME

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = tuple(
            path.name.removesuffix("_S1Hand.tif")
            for path in sorted((folder / "S1").glob("*_S1Hand.tif"))
        )

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """One chip a group."""
        return tuple((name,) for name in self._names)

    def chips(self, names: Sequence[str]) -> Iterator[Chip]:
        """See :meth:`geounet.train.source.Source.chips`."""
        for name in names:
            dataset = self._dataset([name])
            (query,) = PreChippedGeoSampler(dataset)
            sample = dataset[query]
            yield Chip(
                name=name,
                image=sample["image"].numpy(),
                label=sample["mask"].numpy().astype(np.int64),
            )

    def batches(
        self, names: Sequence[str], *, size: int, batch: int, steps: int, seed: int
    ) -> DataLoader[dict[str, Any]]:
        """See :meth:`geounet.train.source.Source.batches`."""
        dataset = self._dataset(names)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the sampler's own generator does not choose the chip
            queries = list(RandomGeoSampler(dataset, size=size, length=steps * batch))
        return DataLoader(dataset, batch_size=batch, sampler=queries, collate_fn=_collate)

    def _dataset(self, names: Sequence[str]) -> IntersectionDataset:
        images = [str(self._folder / "S1" / f"{name}_S1Hand.tif") for name in names]
        labels = [str(self._folder / "labels" / f"{name}_LabelHand.tif") for name in names]
        scenes = _Backscatter(images)
        # the pixel sizes of image and label differ by 1e-14, which is no reason to resample
        masks = _WaterLabels(labels, crs=scenes.crs, res=scenes.res)
        return IntersectionDataset(scenes, masks, transforms=_blank_invalid)


def _blank_invalid(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, "image": blank_invalid(sample["image"])}


def _collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    kept = [{key: sample[key] for key in ("image", "mask")} for sample in samples]
    batch: dict[str, Any] = stack_samples(kept)
    return batch
