"""A made-up river landscape: eroded hills, a meandering river in flood, fields, woods, a town.

Everything follows from one seed and numpy's ``RandomState``, whose streams never change between
versions. Arrays are (n, n), row 0 in the north; lengths are pixels unless a name says metres.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

TREE, SHRUB, GRASS, CROP, BUILT, BARE, WATER, WETLAND = 10, 20, 30, 40, 50, 60, 80, 90
"""ESA WorldCover codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a landscape is made from."""

    seed: int
    """Base of every random stream."""
    size: int = 1024
    """Side in pixels, a multiple of 4."""
    pixel_m: float = 10.0
    """Pixel size in metres."""
    river: float = 16.0
    """Width of the river."""
    bend: float = 420.0
    """Length of a full meander along the channel."""
    sinuosity: float = 1.7
    """Largest angle between channel and valley axis, in radians."""
    valley: float = 150.0
    """Half the width of the floodplain."""
    heading: float = 0.5
    """Direction of the valley in radians, 0 = east, positive = south."""
    relief_m: float = 160.0
    """Height of the hills above the floodplain."""
    flood_m: float = 0.25
    """Flood level against the mean height of the floodplain."""
    field: float = 64.0
    """Side of the largest parcels."""

    def rng(self, stream: int) -> np.random.RandomState:
        """The random stream of one layer."""
        return np.random.RandomState(self.seed * 1000 + stream)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Landscape:
    """The layers a sensor looks at."""

    plan: Plan
    height_m: Array
    """Terrain in metres."""
    cover: NDArray[np.uint8]
    """WorldCover code of each pixel."""
    water: Mask
    """Open water."""
    river: Mask
    """The part of the water that is the river bed."""
    parcel: NDArray[np.uint32]
    """A random number for each parcel."""
    furrow: Array
    """Coordinate across the furrows of a parcel."""
    edge: Array
    """Distance to the parcel's border."""
    street: Mask
    """Streets of towns, roads, and tracks."""
    seam: Mask
    """Hedges and rows of trees."""


def noise(rng: np.random.RandomState, size: int, longest: float, beta: float = 3.0) -> Array:
    """Fractal noise (size, size), mean 0, deviation 1: spectrum f**-beta below ``longest`` px."""
    freq = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    power = np.maximum(freq, 1.0 / longest) ** (-beta / 2)
    power[freq < 0.5 / longest] = 0
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * power, (size, size))
    return (field - field.mean()) / field.std()


def smoothstep(x: Array, low: float, high: float) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def no_specks(mask: Mask, least: int) -> Mask:
    """Patches of fewer than ``least`` pixels take the value around them; corners join patches."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    mask = mask & (np.bincount(labels.ravel()) >= least)[labels]
    labels, _ = ndimage.label(~mask)
    return mask | (np.bincount(labels.ravel()) < least // 4)[labels]


def _wander(rng: np.random.RandomState, count: int, scale: float) -> Array:
    line = ndimage.gaussian_filter1d(rng.standard_normal(count + 8 * int(scale)), scale)
    line = line[4 * int(scale) :][:count]
    return (line - line.mean()) / line.std()


def centreline(plan: Plan, phase: float = 0.0, swing: float = 1.0) -> Array:
    """A meandering channel (points, 2) as x, y, one point a pixel, from edge to edge and beyond.

    A sine-generated curve with skewed bends (Langbein & Leopold 1966; Kinoshita's third harmonic)
    whose bends vary in length and swing.
    """
    rng, count = plan.rng(1), int(5.5 * plan.size)
    lengths = plan.bend * np.exp(0.28 * _wander(rng, count, plan.bend * 0.6))
    phi = np.cumsum(2 * np.pi / lengths) + phase
    angle = plan.sinuosity * swing * np.exp(0.18 * _wander(rng, count, plan.bend * 0.5))
    angle = np.minimum(angle, 2.05)
    theta = angle * np.sin(phi) + angle**3 * (0.03 * np.cos(3 * phi) - 0.012 * np.sin(3 * phi))
    theta += 0.22 * _wander(rng, count, plan.bend * 1.2) + 0.10 * _wander(rng, count, plan.river)
    line = np.cumsum(np.column_stack([np.cos(theta), np.sin(theta)]), axis=0)
    drift = line[-1] - line[0]
    turn = plan.heading - np.arctan2(drift[1], drift[0])
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    line = line @ spin
    return line - line[np.argmin(np.abs(np.arange(count) - count // 2))] + plan.size / 2


def _pixels(size: int) -> Array:
    rows, cols = np.mgrid[:size, :size]
    return np.column_stack([cols.ravel(), rows.ravel()]).astype(float)


def near(plan: Plan, line: Array, step: int = 1) -> tuple[Array, NDArray[np.intp]]:
    """Distance of each pixel to a line, and the index of the nearest of its points."""
    dist, index = cKDTree(line[::step]).query(_pixels(plan.size))
    shape = (plan.size, plan.size)
    return dist.reshape(shape), index.reshape(shape) * step


def drain(height: Array, outlet: Mask) -> tuple[NDArray[np.intp], list[int]]:
    """Where each cell drains to, and the cells from the outlets upstream.

    Priority flood (Barnes et al. 2014): every cell reaches an outlet, through pits if need be.
    """
    size = height.shape[1]
    rim = np.pad(np.zeros((height.shape[0] - 2, size - 2)), 1, constant_values=1e4)
    flat = (height + rim).ravel().tolist()  # so that nothing flows along the map's edge
    receiver = np.arange(height.size)
    seen = outlet.ravel().copy()
    heap = [(flat[i], i) for i in np.flatnonzero(seen).tolist()]
    heapq.heapify(heap)
    order = []
    while heap:
        level, cell = heapq.heappop(heap)
        order.append(cell)
        row, col = divmod(cell, size)
        for r in range(max(row - 1, 0), min(row + 2, height.shape[0])):
            for c in range(max(col - 1, 0), min(col + 2, size)):
                if not seen[other := r * size + c]:
                    seen[other] = True
                    receiver[other] = cell
                    heapq.heappush(heap, (max(flat[other], level), other))
    return receiver, order


def erode(height: Array, outlet: Mask, rounds: int = 8, strength: float = 0.16) -> Array:
    """Rivers cut into the hills: implicit stream power law (Braun & Willett 2013), then creep."""
    for _ in range(rounds):
        receiver, order = drain(height, outlet)
        area = accumulate(receiver, order)
        factor = (strength * np.sqrt(area)).tolist()
        z, down = height.ravel().tolist(), receiver.tolist()
        for cell in order:
            if down[cell] != cell and z[cell] > z[down[cell]]:
                z[cell] = (z[cell] + factor[cell] * z[down[cell]]) / (1 + factor[cell])
        height = ndimage.gaussian_filter(np.array(z).reshape(height.shape), 0.55)
    return height


def accumulate(receiver: NDArray[np.intp], order: list[int]) -> Array:
    """Number of cells that drain through each cell."""
    area, down = [1.0] * receiver.size, receiver.tolist()
    for cell in reversed(order):
        if down[cell] != cell:
            area[down[cell]] += area[cell]
    return np.array(area)


def brooks(plan: Plan, height: Array, outlet: Mask, least: float) -> Array:
    """Distance of each pixel to a brook, less half the brook's width, from the coarse terrain."""
    receiver, order = drain(height, outlet)
    area = accumulate(receiver, order)
    scale = plan.size / height.shape[0]
    rows, cols = np.divmod(np.arange(height.size), height.shape[1])
    place = np.column_stack([cols, rows]) * scale + scale / 2
    place += plan.rng(2).uniform(-0.5, 0.5, place.shape) * scale
    for _ in range(3):
        place = 0.5 * place + 0.5 * place[receiver]
    cells = np.flatnonzero((area > least) & (receiver != np.arange(area.size)))
    steps = np.linspace(0, 1, int(4 * scale))[:, None, None]
    track = (place[cells] * (1 - steps) + place[receiver[cells]] * steps).reshape(-1, 2)
    width = np.tile(0.35 * (area[cells] / least) ** 0.4, steps.size)
    dist, index = cKDTree(track).query(_pixels(plan.size), distance_upper_bound=40)
    index = np.minimum(index, len(width) - 1)
    return (np.minimum(dist, 40) - width[index]).reshape(plan.size, plan.size)


def parcels(
    plan: Plan, district: NDArray[np.intp], angles: list[float], depth: int = 4
) -> tuple[NDArray[np.uint32], Array, Array]:
    """Fields: rectangles split again and again, in the local direction of each district.

    Returns:
        Random number of the parcel, distance to its border, coordinate across its furrows.
    """
    angle = np.array(angles)[district]
    y, x = np.mgrid[: plan.size, : plan.size].astype(float)
    rng = plan.rng(3)
    x += plan.field * 0.25 * noise(rng, plan.size, plan.size, 4.5)
    y += plan.field * 0.25 * noise(rng, plan.size, plan.size, 4.5)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    side = np.full_like(u, plan.field)
    w, h = side * 1.2, side.copy()
    iu, iv = np.floor(u / w), np.floor(v / h)
    key = _hash(_hash(iu.astype(np.int64)) + iv.astype(np.int64) * 7919 + district * 104729)
    u, v = u - iu * w, v - iv * h
    for level in range(depth):
        at = 0.35 + 0.3 * _unit(_hash(key + 11))
        split = _unit(_hash(key + 5)) < (1.0, 0.8, 0.5, 0.28)[level]
        tall = h > w * (0.7 + 0.6 * _unit(_hash(key + 3)))
        second = np.where(tall, v > at * h, u > at * w)
        u, w = _half(u, w, at, split & ~tall, second)
        v, h = _half(v, h, at, split & tall, second)
        key = np.where(split, _hash(key * np.uint32(2) + second), key)
    edge = np.minimum(np.minimum(u, w - u), np.minimum(v, h - v))
    return key, edge, np.where(w > h, v, u)


def _half(pos: Array, length: Array, at: Array, split: Mask, second: Mask) -> tuple[Array, Array]:
    upper, lower = split & second, split & ~second
    new = np.where(upper, length * (1 - at), np.where(lower, length * at, length))
    return np.where(upper, pos - at * length, pos), new


def _hash(value: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Integers mixed to look random (the finaliser of MurmurHash3)."""
    x = (value.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return x ^ (x >> np.uint32(16))


def _unit(value: NDArray[np.uint32]) -> Array:
    return value.astype(np.float64) / 2**32


def roll(parcel: NDArray[np.uint32], salt: int) -> Array:
    """A number 0..1 for each parcel; another ``salt`` gives an independent one."""
    return _unit(_hash(parcel + np.uint32(salt)))
