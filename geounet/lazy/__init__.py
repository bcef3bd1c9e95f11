"""Labels of Dask arrays: lazy, block by block, as if the whole scene had been segmented at once."""

from geounet.lazy.array import segment_lazily

__all__ = ["segment_lazily"]
