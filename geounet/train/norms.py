"""Batch norms with statistics of the whole training part instead of a batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.data import DataLoader

from geounet.train.augment import Augment
from geounet.train.whiten import Whitened


def batch_norms(network: nn.Module) -> Iterator[nn.BatchNorm2d]:
    """The batch norms of a network."""
    return (module for module in network.modules() if isinstance(module, nn.BatchNorm2d))


def calibrate(
    network: Whitened, augment: Augment, batches: DataLoader[dict[str, torch.Tensor]]
) -> None:
    """Set the statistics of each batch norm to their mean over these batches."""
    network.train()
    for norm in batch_norms(network):
        norm.reset_running_stats()
        norm.momentum = None  # plain mean over all batches
    with torch.no_grad():
        for batch in batches:
            network(augment(batch["image"], batch["mask"])[0])
    for norm in batch_norms(network):
        norm.momentum = 0.1


def freeze(network: nn.Module) -> None:
    """Use the statistics as they are; scale and shift of the norms still learn."""
    for norm in batch_norms(network):
        norm.eval()
