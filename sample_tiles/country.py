"""Puts the landscape together: terrain, flood, land cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from landscape import (
    BARE,
    BUILT,
    CROP,
    GRASS,
    SHRUB,
    TREE,
    WATER,
    WETLAND,
    Array,
    Landscape,
    Mask,
    Plan,
    brooks,
    centreline,
    erode,
    near,
    no_specks,
    noise,
    parcels,
    roll,
    smoothstep,
)
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Valley:
    """Terrain and what it was made from."""

    height: Array
    """Metres above the mean floodplain."""
    upland: Array
    """0 on the floodplain, 1 on the hills."""
    river: Array
    """Distance to the bank of the river, negative in it."""
    inner: Array
    """Positive on the inner side of bends."""
    brook: Array
    """Distance to the bank of the nearest brook."""


def shape_valley(plan: Plan) -> Valley:
    """Terrain, river and brooks."""
    size, line = plan.size, centreline(plan)
    dist, index = near(plan, line)
    upland = _upland(plan, line)
    inner = _inner_side(plan, line, index)
    width = plan.river * (1 + 0.22 * np.interp(np.arange(len(line)), *_width_wander(plan, line)))
    bank = dist - width[index] / 2
    hills = _hills(plan, upland, bank)
    brook = brooks(plan, hills[::4, ::4], (bank < 4)[::4, ::4], size / 7)
    height = hills + (1 - upland) * _floodplain(plan, bank, inner)
    height = height - 1.6 * np.exp(-np.maximum(brook, 0) / 2.5) * (0.4 + 0.6 * (1 - upland))
    return Valley(height=height, upland=upland, river=bank, inner=inner, brook=brook)


def _width_wander(plan: Plan, line: Array) -> tuple[Array, Array]:
    knots = np.arange(0, len(line) + plan.bend, plan.bend / 5)
    return knots, plan.rng(4).standard_normal(len(knots)).clip(-1.5, 1.5)


def _upland(plan: Plan, line: Array) -> Array:
    axis = ndimage.gaussian_filter1d(line, plan.bend * 0.55, axis=0, mode="nearest")
    dist, _ = near(plan, axis, step=4)
    ragged = 0.30 * noise(plan.rng(5), plan.size, plan.size / 2, 3.0)
    return smoothstep(dist / plan.valley - ragged, 0.86, 1.25)


def _inner_side(plan: Plan, line: Array, index: NDArray[np.intp]) -> Array:
    step = np.gradient(ndimage.gaussian_filter1d(line, plan.river, axis=0), axis=0)
    turn = np.gradient(np.unwrap(np.arctan2(step[:, 1], step[:, 0])))
    y, x = np.mgrid[: plan.size, : plan.size]
    away = np.stack([x - line[index, 0], y - line[index, 1]])
    side = np.sign(step[index, 0] * away[1] - step[index, 1] * away[0])
    field = ndimage.gaussian_filter(side * turn[index] * plan.bend / 6, plan.river * 0.4)
    return np.clip(field, -1.5, 1.5)


def _hills(plan: Plan, upland: Array, bank: Array) -> Array:
    rng = plan.rng(6)
    rough = noise(rng, plan.size, plan.size * 0.6, 3.4)
    broad = noise(rng, plan.size, plan.size, 4.5)
    coarse = (0.5 + 0.22 * rough + 0.32 * broad).clip(0.02) * upland + upland * 0.18
    coarse = ndimage.gaussian_filter(coarse * plan.relief_m, 1.5)[::4, ::4]
    cut = erode(coarse, (bank < 4)[::4, ::4])
    fine = ndimage.zoom(cut, 4, order=3, mode="nearest")
    return fine + upland * 0.016 * plan.relief_m * noise(rng, plan.size, 48, 2.7)


def _floodplain(plan: Plan, bank: Array, inner: Array) -> Array:
    """Metres: levees, scroll bars on the inner side of bends, old courses, back swamps."""
    rng, away = plan.rng(7), np.maximum(bank, 0)
    rough = 0.55 * noise(rng, plan.size, plan.valley, 2.9)
    wobble = away + plan.river * 0.25 * noise(rng, plan.size, plan.bend / 3, 3.5)
    wave = np.sin(2 * np.pi * wobble / (plan.river * 0.62))
    scroll = 0.75 * wave * smoothstep(inner, 0.05, 0.6) * np.exp(-away / (plan.river * 5))
    levee = 0.9 * np.exp(-away / (plan.river * 0.7)) * smoothstep(-inner, -0.5, 0.6)
    old = sum(
        np.exp(-((near(plan, centreline(plan, *shift))[0] / (plan.river * 0.33)) ** 2))
        for shift in ((0.55, 1.12), (-0.8, 0.9))
    )
    return rough + scroll + levee - 1.15 * old + 0.1


def flood(plan: Plan, valley: Valley) -> tuple[Mask, Mask]:
    """Open water, and the river bed in it."""
    bed = (valley.river < 0) | (valley.brook < -0.35)
    low = (valley.height < plan.flood_m) & (valley.upland < 0.5)
    labels, _ = ndimage.label(low | bed)
    joined = np.isin(labels, np.unique(labels[valley.river < 0])) & (labels > 0)
    ponds = ndimage.binary_opening(low & ~joined, iterations=2)
    water = joined | ponds | _lakes(plan, valley)
    water = ndimage.binary_opening(water) | bed
    return no_specks(water, 30), valley.river < 0


def _lakes(plan: Plan, valley: Valley) -> Mask:
    flat = noise(plan.rng(8), plan.size, plan.size / 6, 3.6)
    slope = ndimage.gaussian_filter(np.hypot(*np.gradient(valley.height)), 6)
    calm = slope < np.quantile(slope[valley.upland > 0.9], 0.45)
    return (flat > 2.25) & ndimage.binary_opening(calm, iterations=3) & (valley.upland > 0.8)


def _towns(plan: Plan, dry: Mask, valley: Valley) -> tuple[Mask, Mask, list[tuple[int, int]]]:
    """Built-up area, its streets, and the centres."""
    rng, size = plan.rng(9), plan.size
    slope = ndimage.gaussian_filter(np.hypot(*np.gradient(valley.height)), 8) / plan.pixel_m
    river = np.maximum(valley.river, 0) / size
    score = -np.abs(river - 0.10) * 6 - 30 * slope + 0.5 * noise(rng, size, size / 2)
    score = np.where(dry, score, -9) - 9 * ~_inside(size, 0.09)
    texture = noise(rng, size, size / 12, 2.4)
    y, x = np.mgrid[:size, :size].astype(float)
    built, streets, centres = np.zeros_like(dry), np.zeros_like(dry), []
    for radius in (0.062, 0.026, 0.022, 0.017, 0.015, 0.013, 0.012):
        row, col = np.unravel_index(np.argmax(score), score.shape)
        away = np.hypot(y - row, x - col) / (radius * size)
        area = (away - 0.42 * texture < 0.95) & dry
        angle, block = rng.uniform(0, np.pi / 2), (7.0 if plan.pixel_m < 20 else 4.0)
        grid = np.minimum(
            np.abs((x * np.cos(angle) + y * np.sin(angle)) % (block * 1.5) - 1),
            np.abs((y * np.cos(angle) - x * np.sin(angle)) % block - 1),
        )
        built |= area
        streets |= area & (grid < 0.6)
        centres.append((int(row), int(col)))
        score = score - 6 * np.exp(-((np.hypot(y - row, x - col) / (0.2 * size)) ** 2))
    return built, streets, centres


def _inside(size: int, margin: float) -> Mask:
    inside = np.zeros((size, size), dtype=bool)
    edge = int(margin * size)
    inside[edge:-edge, edge:-edge] = True
    return inside


def _roads(plan: Plan, centres: list[tuple[int, int]], wet: Mask) -> Mask:
    """Winding roads from place to place; water is crossed only where there is no other way."""
    rng, size = plan.rng(10), plan.size
    ends = [
        *centres[1:],
        (-4, int(0.8 * size)),
        (size + 4, int(0.25 * size)),
        (size // 5, size + 4),
    ]
    mask, joined = np.zeros((size, size), dtype=bool), centres[:1]
    for end in ends:
        start = min(joined, key=lambda place: _road_cost(place, end, wet))
        steps = np.linspace(0, 1, 3 * size)
        sway = ndimage.gaussian_filter1d(rng.standard_normal((2, steps.size)), size / 5, axis=1)
        sway *= 0.02 * size * np.sin(np.pi * steps) / sway.std()
        rows = start[0] * (1 - steps) + end[0] * steps + sway[0]
        cols = start[1] * (1 - steps) + end[1] * steps + sway[1]
        r, c = np.rint(rows).astype(int), np.rint(cols).astype(int)
        keep = (r >= 0) & (r < size) & (c >= 0) & (c < size)
        mask[r[keep], c[keep]] = True
        joined.append(end)
    return mask


def _road_cost(start: tuple[int, int], end: tuple[int, int], wet: Mask) -> float:
    steps = np.linspace(0, 1, 200)
    rows = np.clip(start[0] + steps * (end[0] - start[0]), 0, wet.shape[0] - 1).astype(int)
    cols = np.clip(start[1] + steps * (end[1] - start[1]), 0, wet.shape[1] - 1).astype(int)
    return float(np.hypot(end[0] - start[0], end[1] - start[1]) * (1 + 6 * wet[rows, cols].mean()))


def _cover(
    plan: Plan, valley: Valley, water: Mask, parcel: NDArray[np.uint32]
) -> NDArray[np.uint8]:
    """Land cover without towns and water."""
    rng, size = plan.rng(11), plan.size
    slope = ndimage.gaussian_filter(np.hypot(*np.gradient(valley.height)), 3) / plan.pixel_m
    patch = noise(rng, size, size / 5, 3.4)
    wood = 4.5 * slope / np.quantile(slope, 0.97) + 0.8 * patch - 3.1 + 0.9 * valley.upland
    wood = 0.35 * wood + 0.65 * _parcel_mean(wood, parcel)  # woods end where a field begins
    kind = roll(parcel, 1)
    cover = np.where(kind < 0.74, CROP, GRASS).astype(np.uint8)
    wild = (1 - valley.upland) * 1.2 + 0.5 * noise(rng, size, size / 8, 2.7) > 1.35
    cover[wild] = GRASS
    cover[(wood > -0.45) & (wood <= 0)] = GRASS
    cover[(wood > -0.12) & (wood <= 0.1)] = SHRUB
    cover[(kind > 0.965) | (wood > 0.1)] = TREE
    gallery = noise(rng, size, size / 16, 2.2)
    cover[(valley.brook < 3.2 + 2 * gallery) & (valley.upland > 0.1)] = TREE
    shore = ndimage.distance_transform_edt(~water)
    marsh = (shore < 7 + 5 * gallery) & (valley.upland < 0.3) & (patch > 0.5)
    cover[marsh] = WETLAND
    cover[(valley.river < 14 + 9 * gallery) & (gallery > 0.1) & (valley.upland < 0.9)] = TREE
    sand = (valley.inner > 0.25) & (valley.river < plan.river * 0.55 + 3 * gallery)
    cover[sand] = BARE
    return cover


def _parcel_mean(values: Array, parcel: NDArray[np.uint32]) -> Array:
    _, index = np.unique(parcel, return_inverse=True)
    flat = index.ravel()
    return (np.bincount(flat, values.ravel()) / np.bincount(flat))[flat].reshape(values.shape)


def build(plan: Plan) -> Landscape:
    """The whole landscape of a plan."""
    valley = shape_valley(plan)
    water, bed = flood(plan, valley)
    rng = plan.rng(12)
    region = np.argmax([noise(rng, plan.size, plan.size / 2, 4.0) for _ in range(4)], axis=0)
    parcel, edge, furrow = parcels(plan, region, [0.15, 0.75, 1.2, -0.2])
    cover = _cover(plan, valley, water, parcel)
    dry = ndimage.binary_erosion(~water, iterations=4) & (valley.height > plan.flood_m + 0.4)
    built, streets, centres = _towns(plan, dry, valley)
    roads = _roads(plan, centres, water)
    cover[built | (roads & ~water)] = BUILT
    cover[water & ~roads] = WATER
    farmed = np.isin(cover, (CROP, GRASS)) & (valley.upland > 0.35)
    hedge = farmed & (edge < 0.9) & (roll(parcel, 2) < 0.45)
    cover[hedge] = TREE
    return Landscape(
        plan=plan,
        height_m=valley.height,
        cover=cover,
        water=cover == WATER,
        river=bed,
        parcel=parcel,
        furrow=furrow,
        edge=edge,
        street=streets | roads,
        seam=hedge,
    )
