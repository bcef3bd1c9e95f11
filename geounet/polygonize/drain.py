"""Compiled: takes finished regions out of the front, as flat arrays of rings."""

from __future__ import annotations

from typing import Any

import numpy as np

from geounet.polygonize.compiled import jit
from geounet.polygonize.pack import free_ring, unpack_ring
from geounet.polygonize.pool import give
from geounet.polygonize.state import DONE, NONE, REGION_POOL


@jit
def _measure(s: Any) -> tuple[int, int]:
    """Corners and rings of the finished regions, closing corners included."""
    corners = rings = 0
    for i in range(s.counts[DONE]):
        ring = s.regions[s.regions[i].done].first
        while ring != NONE:
            rings += 1
            corners += s.rings[ring].size + 1
            ring = s.rings[ring].next
    return corners, rings


@jit
def _is_outer(coords: Any, start: int, stop: int) -> bool:
    """Whether a closed ring runs counter-clockwise, seen with rows growing downwards."""
    doubled = 0.0
    for k in range(start, stop - 1):
        doubled += coords[k, 0] * coords[k + 1, 1] - coords[k + 1, 0] * coords[k, 1]
    return doubled < 0


@jit
def _outer_first(coords: Any, ring_stop: Any, first_ring: int, rings: int, start: int) -> None:
    """Move the outer ring of a region before its holes."""
    begin, ring = start, first_ring
    while ring < rings and not _is_outer(coords, begin, ring_stop[ring]):
        begin = ring_stop[ring]
        ring += 1
    if ring == first_ring:
        return
    size = ring_stop[ring] - begin
    outer = np.empty((size, 2), np.float64)
    for k in range(size):
        outer[k, 0], outer[k, 1] = coords[begin + k, 0], coords[begin + k, 1]
    for k in range(begin - 1, start - 1, -1):
        coords[k + size, 0], coords[k + size, 1] = coords[k, 0], coords[k, 1]
    for k in range(size):
        coords[start + k, 0], coords[start + k, 1] = outer[k, 0], outer[k, 1]
    for k in range(ring, first_ring, -1):
        ring_stop[k] = ring_stop[k - 1] + size
    ring_stop[first_ring] = start + size


@jit
def drain(s: Any) -> Any:
    """Empty the list of finished regions.

    Returns:
        coords (corners, 2) float64 of (column, row), rings closed, outer ring first;
        ring_stop (rings,) end of each ring in coords; region_stop (regions,) end of each region in
        ring_stop; label (regions,) uint8; pixels int64, area and score float64 (sums) of each.
    """
    corners, count = _measure(s)
    regions = s.counts[DONE]
    coords = np.empty((corners, 2), np.float64)
    ring_stop = np.empty(count, np.int64)
    region_stop = np.empty(regions, np.int64)
    label = np.empty(regions, np.uint8)
    pixels = np.empty(regions, np.int64)
    area, score = np.empty(regions, np.float64), np.empty(regions, np.float64)
    top = rings = 0
    for i in range(regions):
        slot = s.regions[i].done
        region = s.regions[slot]
        label[i], pixels[i] = region.label, region.pixels
        area[i], score[i] = region.area, region.score
        first_ring, start = rings, top
        ring = region.first
        while ring != NONE:
            after = s.rings[ring].next
            top = unpack_ring(s.rings, s.blocks, s.packed, ring, coords, top)
            ring_stop[rings] = top
            rings += 1
            free_ring(s.pools, s.rings, s.blocks, ring)
            ring = after
        _outer_first(coords, ring_stop, first_ring, rings, start)
        region_stop[i] = rings
        give(s.pools, REGION_POOL, s.regions, slot)
    s.counts[DONE] = 0
    return coords, ring_stop, region_stop, label, pixels, area, score
