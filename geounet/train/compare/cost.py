"""What an architecture costs: parameters, floating-point operations, time and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from geounet.engine.torch import fold_batch_norm
from geounet.nn import SegmentationNetwork, build
from geounet.spec import ArchSpec
from geounet.tiling import round_up
from geounet.train.compare.memory import Load, Peak, peak_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The costs of one architecture; trained weights make no difference to them."""

    parameters: int
    """That are learnt or fixed, without the statistics of batch norms."""
    flops_per_pixel: float
    """Of inference on a tile; a multiplication and an addition are two."""
    mpx_per_s: tuple[float, ...]
    """Million pixels of a tile a second, the network alone in float32, one value a round."""
    peak: Peak
    """Memory."""
    halo: int
    """Pixels of context around a core, which are computed and thrown away in use."""
    seam: str
    """Whether tiles are exact or blended."""

    @property
    def speed(self) -> float:
        """Median of the rounds, in million pixels a second."""
        return statistics.median(self.mpx_per_s)


def measure(
    archs: Mapping[str, ArchSpec], load: Load, *, rounds: int = 5, seconds: float = 1.0
) -> dict[str, Cost]:
    """Measure the costs of some architectures side by side.

    The time of each is taken in turn, ``rounds`` times over, so that whatever else the machine does
    hits all of them alike; memory in processes of their own.

    Args:
        archs: By label.
        load: Bands, classes, and what is computed; the tile is rounded up to the largest stride.
        rounds: How often each is timed.
        seconds: At least so long each time.
    """
    networks = {k: build(a, load.bands, load.classes).eval() for k, a in archs.items()}
    tile = round_up(load.tile, max(network.stride for network in networks.values()))
    load = replace(load, tile=tile)
    speeds = inference_speed(networks, load, rounds=rounds, seconds=seconds)
    return {
        label: Cost(
            parameters=sum(p.numel() for p in network.parameters()),
            flops_per_pixel=flops_per_pixel(network, load.bands, tile),
            mpx_per_s=speeds[label],
            peak=peak_memory(archs[label], load),
            halo=network.halo,
            seam=network.seam,
        )
        for label, network in networks.items()
    }


def flops_per_pixel(network: nn.Module, bands: int, size: int) -> float:
    """Floating-point operations of a forward pass over a tile, for each of its pixels.

    Counted by :class:`torch.utils.flop_counter.FlopCounterMode`: convolutions and matrix products;
    what pooling, batch norms and interpolation take is not in it.
    """
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, bands, size, size, device=device))
    return float(counter.get_total_flops()) / size**2


def inference_speed(
    networks: Mapping[str, SegmentationNetwork], load: Load, *, rounds: int, seconds: float
) -> dict[str, tuple[float, ...]]:
    """Million pixels a second of each network, ``rounds`` values, taken in turn.

    As the engine runs them: batch norms folded, channels last, float32, one tile a pass.
    """
    x = torch.randn(1, load.bands, load.tile, load.tile, device=load.device)
    x = x.contiguous(memory_format=torch.channels_last)
    ready = {k: _prepared(network, load.device) for k, network in networks.items()}
    for network in ready.values():  # the first pass of a network prepares its kernels
        _seconds(network, x, 0.0)
    taken: dict[str, list[float]] = {label: [] for label in ready}
    for _ in range(rounds):
        for label, network in ready.items():
            taken[label].append(load.tile**2 / _seconds(network, x, seconds) / 1e6)
    return {label: tuple(values) for label, values in taken.items()}


def _prepared(network: nn.Module, device: str) -> nn.Module:
    folded = fold_batch_norm(network).to(device)
    return folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _seconds(network: nn.Module, x: torch.Tensor, least: float) -> float:
    """Mean time of a pass, over passes that last at least so many seconds together."""
    passes, start = 0, time.perf_counter()
    with torch.inference_mode():
        while not passes or time.perf_counter() - start < least:
            network(x)
            passes += 1
            if x.device.type == "cuda":
                torch.cuda.synchronize(x.device)
    return (time.perf_counter() - start) / passes
