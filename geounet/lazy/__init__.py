"""Labels of Dask arrays: lazy, block by block, as if the whole scene had been segmented at once.

A task holds its chunk, slices of the chunks around it, and one engine, which its process keeps. Two
engines run at once in a process only where ``OMP_NUM_THREADS`` leaves a processor for the second.
What only values tell (unit, scale) is checked in each block, with more room than for a whole scene,
as a block may be all cloud; an area of interest leaves chunks outside of it unread.
"""

from geounet.lazy.array import segment_lazily

__all__ = ["segment_lazily"]
