"""What torch says when a device has too little memory."""

from __future__ import annotations

import torch

_TEXTS = (
    "out of memory",  # MPS, and CUDA where memory is pinned
    "can't allocate memory",  # CPU
    "_STATUS_ALLOC_FAILED",  # cuDNN and cuBLAS
    "Invalid buffer size",  # MPS, one tensor larger than any buffer
)


def out_of_memory(error: BaseException) -> bool:
    """Whether this is torch's error of a device, or of a CPU, without memory.

    Only CUDA's allocator has a class of error for it; all others tell it in the text of a
    :class:`RuntimeError`.
    """
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS)


def give_back(device: torch.device) -> None:
    """Return what torch keeps of a GPU's memory for later, so that it can be cut anew."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
