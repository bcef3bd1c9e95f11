"""Models of INT8: smaller, faster on CPUs, and with a loss that was measured."""

from geounet.quantize.loss import Loss
from geounet.quantize.run import (
    AGREEMENT,
    BOUND,
    QuantizeOptions,
    QuantizeResult,
    quantize_model,
)

__all__ = ["AGREEMENT", "BOUND", "Loss", "QuantizeOptions", "QuantizeResult", "quantize_model"]
