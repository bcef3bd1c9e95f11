"""The columns of a chunk as one table of 64-bit words, which compiled code can walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.layers.layout import CODE, PolygonLayout

BOOL, INT32, INT64, REAL, TEXT = range(5)

_KINDS = {"bool": BOOL, "int32": INT32, "int64": INT64, "float64": REAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The columns of a chunk in the order of the file."""

    kinds: NDArray[np.int64]
    """(fields,) ``BOOL`` to ``TEXT``."""
    words: NDArray[np.int64]
    """(n, fields) numbers; of ``REAL`` the bits, of ``TEXT`` which text."""
    texts: NDArray[np.uint8]
    """All texts, UTF-8, one after the other."""
    stops: NDArray[np.int64]
    """(texts + 1,) where each starts in ``texts``."""

    @classmethod
    def of(cls, chunk: PolygonBatch, layout: PolygonLayout) -> Self:
        """The columns of a chunk, with the names of its classes."""
        columns, kinds, names = [], [], [""]
        for field, dtype in layout.fields:
            if dtype is None:
                index, names = layout.words(chunk.columns[CODE])
                columns.append(index)
            elif dtype.kind == "f":
                columns.append(np.ascontiguousarray(chunk.columns[field]).view(np.int64))
            else:
                columns.append(chunk.columns[field].astype(np.int64))
            kinds.append(TEXT if dtype is None else _KINDS[dtype.name])
        texts = [name.encode() for name in names]
        return cls(
            kinds=np.array(kinds, np.int64),
            words=np.stack(columns, axis=1) if columns else np.empty((len(chunk), 0), np.int64),
            texts=np.frombuffer(b"".join(texts), np.uint8),
            stops=np.cumsum([0, *map(len, texts)], dtype=np.int64),
        )

    @property
    def longest(self) -> int:
        """Bytes of the longest text."""
        return int(np.diff(self.stops).max())
