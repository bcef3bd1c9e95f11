"""Slots of a pool, compiled."""

from __future__ import annotations

from typing import Any

from geounet.polygonize.compiled import jit
from geounet.polygonize.state import FREE, LIVE, NONE, TOP


@jit
def take(pools: Any, pool: int, records: Any) -> int:
    """A slot of a pool."""
    slot = pools[pool, FREE]
    if slot == NONE:
        slot = pools[pool, TOP]
        pools[pool, TOP] += 1
    else:
        pools[pool, FREE] = records[slot].next
    pools[pool, LIVE] += 1
    return slot


@jit
def give(pools: Any, pool: int, records: Any, slot: int) -> None:
    """Put a slot back."""
    records[slot].next = pools[pool, FREE]
    pools[pool, FREE] = slot
    pools[pool, LIVE] -= 1
