"""Strips of any height into bands of always the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError
from geounet.polygonize.corners import OUTSIDE
from geounet.polygonize.meridian import NO_CUT, Meridian
from geounet.polygonize.tracing import Tracing

BAND = 96
"""Rows that are traced at once: fewer are joined more often, what is known of more of them does not
fit into a core's own cache."""

MOST_BANDS = 5
"""Bands traced as one where there is little in them, since each costs a millisecond by itself."""

MUCH = 600
"""Changes of label along every eighth row, which make some 6000 corners, and half of that cache."""

_SAMPLED = 8

_MOST_PIXELS = 5 << 19
"""Of bands that are traced as one; wide ones have enough in them."""

SIMPLIFIED_BAND = 256
"""The same where borders are simplified, each as far as the end of a band."""

LARGEST = (1 << 31) - 1
"""Label."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelBand:
    """Rows to trace."""

    labels: NDArray[np.int32]
    """(rows + 1, width + 2): the row above first, a margin of OUTSIDE at either side; nodata is
    OUTSIDE, too."""
    row: int
    """Of the raster, of the first row."""
    confidence: NDArray[np.uint8] | None
    """(rows, width)."""


def band_rows(tracing: Tracing) -> tuple[int, int]:
    """Rows of a band, and of the tallest."""
    if tracing.simplify is not None:
        return SIMPLIFIED_BAND, SIMPLIFIED_BAND
    width = tracing.geobox.shape[1]
    return BAND, BAND * max(1, min(MOST_BANDS, _MOST_PIXELS // (BAND * width)))


class Bands:
    """Cuts a raster into bands, counted from its top; taller ones where there are few borders.

    Law: the bands do not depend on how the rows were cut into strips.

    Args:
        tracing: What is traced.
        meridian: Where the raster is cut: labels and confidence get a column of nothing there.
    """

    def __init__(self, tracing: Tracing, meridian: Meridian | None = None) -> None:
        self._tracing = tracing
        self._height, self._width = tracing.geobox.shape
        self._meridian = None if meridian is None or meridian.cut == NO_CUT else meridian
        self._columns = self._width + (self._meridian is not None)
        self._rows, self._tallest = band_rows(tracing)
        self._row = self._filled = self._changes = 0
        self._labels = self._empty()
        self._confidence = np.zeros((self._tallest + 1, self._columns), np.uint8)

    def add(
        self, labels: NDArray[np.integer[Any]], confidence: NDArray[np.uint8] | None
    ) -> Iterator[LabelBand]:
        """Take rows; gives the bands that are full and not the last (to be exhausted).

        Raises:
            OptionError: An array has another shape or type, a label is out of range, or there
                are too many rows.
        """
        self._check(labels, confidence)
        labels, confidence = self._parted(labels), self._parted(confidence)
        done = 0
        while done < len(labels):
            taken = min(self._rows - self._filled % self._rows, len(labels) - done)
            self._put(labels[done : done + taken])
            if confidence is not None:
                into = slice(self._filled, self._filled + taken)
                self._confidence[into] = confidence[done : done + taken]
            self._filled += taken
            done += taken
            if self._filled % self._rows == 0 and self._is_full():
                yield self._take(self._filled)

    def rest(self) -> LabelBand:
        """The last band, with a row of nothing below it, at which all borders close.

        Raises:
            OptionError: Rows are missing.
        """
        given = self._row + self._filled
        if given != self._height:
            raise OptionError(f"{given} rows were given of the {self._height} of the raster")
        self._labels[self._filled + 1] = OUTSIDE
        return self._take(self._filled + 1)

    def _is_full(self) -> bool:
        """Whether what there is, some whole bands, is to be traced."""
        if self._row + self._filled >= self._height:
            return False
        if self._filled < self._tallest:
            rows = self._labels[self._filled - self._rows + 1 : self._filled + 1 : _SAMPLED]
            self._changes += int(np.count_nonzero(rows[:, 1:] != rows[:, :-1]))
        return self._filled == self._tallest or self._changes >= MUCH

    def _put(self, labels: NDArray[np.integer[Any]]) -> None:
        whole = self._labels[1 + self._filled : 1 + self._filled + len(labels)]
        whole[:, 0] = whole[:, -1] = OUTSIDE
        rows = whole[:, 1:-1]
        rows[:] = labels
        if self._tracing.nodata not in (None, OUTSIDE):
            rows[labels == self._tracing.nodata] = OUTSIDE
        if self._meridian is not None:
            self._meridian.compare(self._row + self._filled, rows)
            rows[:, self._meridian.cut] = OUTSIDE

    def _parted(self, values: Any) -> Any:
        """With a column more where the raster is cut."""
        if self._meridian is None or values is None:
            return values
        return np.insert(values, self._meridian.cut, 0, axis=1)

    def _take(self, rows: int) -> LabelBand:
        labels, confidence = self._labels[: rows + 1], None
        if self._tracing.confidence:
            confidence = self._confidence[:rows].copy()
        self._labels = self._empty()
        self._labels[0] = labels[rows]
        band = LabelBand(labels=labels, row=self._row, confidence=confidence)
        self._row += rows
        self._filled = self._changes = 0
        return band

    def _empty(self) -> NDArray[np.int32]:
        labels = np.empty((self._tallest + 2, self._columns + 2), np.int32)
        labels[0] = OUTSIDE  # the rest is no memory until rows come
        return labels

    def _check(self, labels: Any, confidence: Any) -> None:
        shape = (len(labels), self._width)
        if labels.shape != shape or not np.issubdtype(labels.dtype, np.integer):
            raise OptionError(
                f"labels of shape {labels.shape} and type {labels.dtype} must be {shape} integers"
            )
        if (confidence is not None) != self._tracing.confidence:
            raise OptionError("confidence is given for every strip or for none")
        self._check_range(labels)
        if confidence is not None and (confidence.shape, confidence.dtype) != (shape, np.uint8):
            raise OptionError(
                f"confidence of shape {confidence.shape} and type {confidence.dtype} must be"
                f" {shape}, uint8"
            )
        if self._row + self._filled + len(labels) > self._height:
            raise OptionError(f"there are more rows than the {self._height} of the raster")

    def _check_range(self, labels: NDArray[np.integer[Any]]) -> None:
        """Refuse what would be another label, or none, as an int32."""
        types = np.iinfo(labels.dtype)
        lowest = OUTSIDE if self._tracing.nodata == OUTSIDE else OUTSIDE + 1
        if types.min >= lowest and types.max <= LARGEST:
            return
        wrong = (labels <= OUTSIDE) | (labels > LARGEST)
        if self._tracing.nodata is not None:
            wrong &= labels != self._tracing.nodata
        if wrong.any():
            raise OptionError(
                f"label {labels[wrong][0]} must be from {OUTSIDE + 1} to {LARGEST}, or nodata"
            )
