"""Memory that is used again for each chunk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Room:
    """Gives bytes, always the same: fresh ones would cost the system a fault a page."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def of(self, size: int) -> NDArray[np.uint8]:
        """``size`` bytes of any content, which are good until the next call."""
        if size > len(self._bytes):
            self._bytes = np.empty(size + size // 4, np.uint8)
        return self._bytes[:size]
