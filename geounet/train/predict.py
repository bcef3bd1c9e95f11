"""Scoring forward pass over whole chips."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geounet.nn import SegmentationNetwork
from geounet.taper import tile_weight
from geounet.tiling import Tile, TileGrid, mirror_index
from geounet.train.augment import Normalize
from geounet.train.source import Chip

TILE = 1024
"""Side of the cores that a larger chip is cut into, in pixels."""

_LEAST = 1e-12  # probability: its logarithm is finite


def predictor(
    network: SegmentationNetwork, normalize: Normalize, *, tile: int = TILE
) -> Callable[[Chip], NDArray[np.float32]]:
    """The network as :func:`geounet.train.scoring.scores.score` takes it: chip -> logits."""
    return lambda chip: predict_logits(network, normalize, chip, tile=tile)


def predict_logits(
    network: SegmentationNetwork, normalize: Normalize, chip: Chip, *, tile: int = TILE
) -> NDArray[np.float32]:
    """Logits (classes, height, width) of a chip, as ``geounet segment`` would have them.

    The chip is mirrored at its edges by the halo; cores of ``tile`` pixels that lie in it are
    pasted where the network's seam is exact, so that the cut changes nothing, and blended as
    probabilities (whose logarithm is what is returned) where it is not. Runs where the network is.
    """
    grid = TileGrid.cover(
        height=chip.label.shape[0],
        width=chip.label.shape[1],
        tile=tile,
        halo=network.halo,
        stride=network.stride,
    )
    tiles = _passes(network, normalize, chip, grid)
    return _pasted(tiles, grid) if network.seam == "exact" else _blended(tiles, grid)


def predict_labels(
    network: SegmentationNetwork, normalize: Normalize, chip: Chip
) -> NDArray[np.int64]:
    """Class index (height, width) of a chip."""
    return np.asarray(predict_logits(network, normalize, chip).argmax(axis=0), np.int64)


def _passes(
    network: SegmentationNetwork, normalize: Normalize, chip: Chip, grid: TileGrid
) -> Iterator[tuple[Tile, Tensor]]:
    """Logits (classes, height, width) of each read window, mirrored outside of the chip."""
    device = next(network.parameters()).device
    image = np.where(chip.valid, chip.image, np.float32("nan"))
    for tile in grid:
        rows = mirror_index(tile.read.row_off, tile.read.row_end, grid.height)
        cols = mirror_index(tile.read.col_off, tile.read.col_end, grid.width)
        with torch.inference_mode():
            x = torch.from_numpy(image[:, rows][:, :, cols])[None]
            x = normalize(x.to(normalize.mean.device)).to(device)
            logits: Tensor = network(x.contiguous(memory_format=torch.channels_last))
            yield tile, logits[0].float().cpu()


def _pasted(tiles: Iterator[tuple[Tile, Tensor]], grid: TileGrid) -> NDArray[np.float32]:
    out = np.empty((0, grid.height, grid.width), np.float32)
    for tile, logits in tiles:
        if not len(out):
            out = np.empty((len(logits), grid.height, grid.width), np.float32)
        out[:, *tile.core.slices] = logits[:, *tile.crop.slices].numpy()
    return out


def _blended(tiles: Iterator[tuple[Tile, Tensor]], grid: TileGrid) -> NDArray[np.float32]:
    total = np.zeros((1, grid.height, grid.width), np.float32)
    weights = np.zeros((grid.height, grid.width), np.float32)
    for tile, logits in tiles:
        inside = tile.read.intersect(grid.scene)
        seen = inside.relative_to(tile.read).slices
        weight = tile_weight(tile, grid)
        if len(total) != len(logits):
            total = np.repeat(total, len(logits), axis=0)
        total[:, *inside.slices] += weight * logits.softmax(0)[:, *seen].numpy()
        weights[inside.slices] += weight
    return np.asarray(np.log(np.maximum(total / weights, _LEAST)))
