"""Two streams of a CUDA GPU: tiles come and labels go while others are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Streams:
    """Copies to a GPU on a stream of its own, and from it without waiting.

    Laws: nothing is computed of an array before its copy has ended; the memory that it takes on the
    GPU goes to no other while it is computed with; a result is read when its copy has ended, not
    before. Copies go through pinned memory, which torch keeps until they have ended.

    Threads: the one that made it, whose current stream is the one that computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._computes = torch.cuda.current_stream(device)
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def put(self, arrays: Sequence[NDArray[Any]]) -> list[Tensor]:
        """Arrays on the GPU; what is computed next waits for them, what was begun does not."""
        with torch.cuda.stream(self._copies):
            there = [_pinned(array).to(self._device, non_blocking=True) for array in arrays]
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(self._copies)
        self._computes.wait_event(copied)
        for tensor in there:  # or its memory could go to a copy that does not wait for computing
            tensor.record_stream(self._computes)
        return there

    def take(self, tensors: Sequence[Tensor]) -> Callable[[], list[NDArray[Any]]]:
        """Send back what is being computed; what is given waits for it, and gives it."""
        here = [_blank(tuple(t.shape), t.dtype).copy_(t, non_blocking=True) for t in tensors]
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(self._computes)

        def wait() -> list[NDArray[Any]]:
            arrived.synchronize()
            return [tensor.numpy() for tensor in here]

        return wait


def _pinned(array: NDArray[Any]) -> Tensor:
    """A copy that a GPU can fetch by itself."""
    here = _blank(array.shape, torch.from_numpy(np.empty(0, array.dtype)).dtype)
    here.numpy()[...] = array
    return here


def _blank(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, pin_memory=True)
