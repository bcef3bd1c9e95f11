"""Gradient checkpointing: blocks are computed again instead of remembered.

Chen, Xu, Zhang & Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost",
https://arxiv.org/abs/1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@contextmanager
def recomputed(network: nn.Module) -> Iterator[int]:
    """Within it, a step remembers only what goes into each of :func:`blocks`.

    Law: gradients, statistics and weights are those that they would have been.

    Yields:
        The number of blocks.
    """
    chosen = blocks(network)
    for block in chosen:
        block.forward = _again(block, block.forward)
    try:
        yield len(chosen)
    finally:
        for block in chosen:
            del block.forward  # the class's own shows again


def blocks(network: nn.Module) -> list[nn.Module]:
    """The outermost members of lists and sequences that have two layers with weights or more."""
    found: list[nn.Module] = []
    for child in network.children():
        if isinstance(network, _CONTAINERS) and _layers(child) > 1:
            found.append(child)
        else:
            found.extend(blocks(child))
    return found


def _layers(module: nn.Module) -> int:
    """Layers with a kernel; norms and biases cost little and are none."""
    weights = (getattr(m, "weight", None) for m in module.modules())
    return sum(1 for w in weights if isinstance(w, nn.Parameter) and w.ndim > 1)


def _again(block: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _still(block)

    def run(*inputs: Any, **named: Any) -> Any:
        if not block.training:
            return forward(*inputs, **named)
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts, **named)

    return run


@contextmanager
def _still(block: nn.Module) -> Iterator[None]:
    """Batch norms leave their statistics alone: the first pass has counted the batch."""
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    counts = [c if (c := n.num_batches_tracked) is None else c.clone() for n in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)
