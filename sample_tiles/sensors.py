"""What a C-band radar and a multispectral scanner see of a landscape."""

from __future__ import annotations

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
    no_specks,
    noise,
    roll,
    smoothstep,
)
from numpy.typing import NDArray
from scipy import ndimage

NODATA_MS = -9999
BANDS_SAR = ("VV", "VH")
BANDS_MS = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")

BACKSCATTER_DB = {
    TREE: (-8.7, -13.9, 0.5),
    SHRUB: (-10.0, -15.8, 0.7),
    GRASS: (-11.4, -18.2, 1.0),
    CROP: (-10.6, -17.2, 1.7),
    BUILT: (-5.5, -13.0, 1.5),
    BARE: (-14.8, -22.5, 0.8),
    WETLAND: (-10.2, -16.8, 1.0),
    WATER: (-19.6, -27.6, 0.4),
}
"""Class -> VV, VH and the deviation between its parcels, dB; what Sen1Floods11 shows, rounded."""

REFLECTANCE = {
    TREE: ((205, 245, 480, 370, 2450, 1450, 700),),
    SHRUB: ((340, 420, 720, 860, 2450, 2350, 1550),),
    GRASS: (
        (360, 450, 830, 780, 2750, 2200, 1350),
        (430, 540, 920, 1080, 2500, 2600, 1750),
    ),
    CROP: (
        (300, 360, 790, 520, 3600, 1750, 850),
        (330, 410, 820, 680, 3100, 2050, 1150),
        (480, 590, 1000, 1150, 2500, 2700, 1950),
        (620, 780, 1230, 1650, 2800, 3500, 2700),
        (450, 560, 830, 1050, 1650, 2150, 1700),
        (560, 700, 1040, 1400, 2100, 2900, 2350),
        (380, 470, 690, 860, 1350, 1600, 1250),
    ),
    BUILT: ((690, 840, 1080, 1180, 1800, 1850, 1550),),
    BARE: ((700, 880, 1310, 1660, 2250, 2700, 2300), (560, 700, 1060, 1330, 1850, 2200, 1850)),
    WETLAND: ((320, 390, 660, 640, 2000, 1300, 680),),
    WATER: ((370, 480, 850, 1020, 560, 210, 150),),
}
"""Class -> typical surface reflectance x 10000 of its kinds; medians per class, rounded."""

CLEAR_LAKE = (230, 290, 430, 300, 170, 60, 40)
SHALLOWS = (415, 540, 920, 1100, 900, 520, 380)


def radar(scene: Landscape) -> NDArray[np.float32]:
    """VV and VH (2, n, n) in dB, multiples of 1/8 dB, NaN outside the swath.

    The mean of each class varies by parcel and by slope; speckle is gamma-distributed with the
    looks and the correlation of ground-range products resampled to 10 m.
    """
    rng, size = scene.plan.rng(20), scene.plan.size
    mean = _backscatter(scene, rng)
    light, shadow = _relief(scene)
    bands = []
    for band, floor in zip(mean, (-24.5, -31.0), strict=True):
        power = 10 ** ((np.where(scene.water, band, band + light)) / 10)
        power = np.where(shadow, 0.02 * power, power)
        power = ndimage.gaussian_filter(power, 0.5)
        power = power + np.where(power < 10 ** (floor / 10), 10 ** (floor / 10) * 0.25, 0)
        looks = 1.25
        speckle = ndimage.gaussian_filter(rng.gamma(looks, 1 / looks, (size, size)), 0.78)
        bands.append(10 * np.log10(np.maximum(power * speckle, 1e-5)))
    stack = np.stack(bands)
    stack[1] -= 0.9 * np.maximum(-25 - stack[1], 0)  # noise removal leaves a long tail below it
    return _outside_swath(np.round(np.maximum(stack, -48) * 8) / 8)


def _backscatter(scene: Landscape, rng: np.random.RandomState) -> Array:
    size, cover = scene.plan.size, scene.cover
    mean = np.zeros((2, size, size))
    vary = 2 * (roll(scene.parcel, 3) + roll(scene.parcel, 4) + roll(scene.parcel, 5)) - 3
    for code, (vv, vh, spread) in BACKSCATTER_DB.items():
        here = cover == code
        mean[0][here], mean[1][here] = vv, vh
        mean[:, here] += spread * vary[here]
    smooth = (cover == CROP) & (roll(scene.parcel, 6) < 0.07)  # harrowed fields, dark like water
    mean[:, smooth] += np.array([[-4.5], [-5.2]])
    mean += 0.55 * noise(rng, size, size / 6, 2.4)
    canopy = noise(rng, size, 12, 1.6)
    mean += np.where(cover == TREE, 0.8, 0.35) * canopy * ~scene.water
    mean += 0.5 * np.sin(scene.furrow * 2 * np.pi / 3.1) * (cover == CROP)
    mean[:, (cover == BUILT) & scene.street] -= 5.5
    houses = (cover == BUILT) & ~scene.street
    mean[:, houses] += 3.4 * np.abs(noise(rng, size, 6, 0.8))[houses]
    wind = smoothstep(noise(rng, size, size / 2.5, 3.6), 0.5, 1.5) * scene.water
    mean[0] += 6.6 * wind
    mean[1] += 1.5 * wind
    drowned = scene.water & ~scene.river & (noise(rng, size, size / 10, 2.6) > 1.15)
    mean[:, drowned] += np.array([[4.5], [5.0]])  # stalks and bushes standing in the water
    return mean


def _relief(scene: Landscape) -> tuple[Array, Mask]:
    """Brightening of slopes that face the sensor (in the west), dB, and radar shadow."""
    height = ndimage.gaussian_filter(scene.height_m, 1.0)
    slope = np.gradient(height, axis=1) / scene.plan.pixel_m
    tilt = np.arctan(slope)
    look = np.deg2rad(38.0)
    light = 10 * np.log10(np.maximum(np.sin(look), 0.01) / np.maximum(np.sin(look - tilt), 0.12))
    ray = np.maximum.accumulate(height + np.arange(height.shape[1]) * scene.plan.pixel_m * 0.55, 1)
    hidden = ray - height - np.arange(height.shape[1]) * scene.plan.pixel_m * 0.55 > 0.5
    return np.clip(light, -6, 4), hidden & (tilt < -0.45)


def _outside_swath(stack: Array) -> NDArray[np.float32]:
    size = stack.shape[1]
    rows, cols = np.mgrid[:size, :size]
    stack[:, cols > size * 0.965 + rows * 0.055 - 20] = np.nan
    return stack.astype(np.float32)


def optical(scene: Landscape) -> NDArray[np.int16]:
    """Surface reflectance x 10000 in bands (7, n, n), NODATA_MS in clouds and off the swath."""
    rng, size = scene.plan.rng(30), scene.plan.size
    light = _sunlight(scene)
    texture = _texture(scene, rng)
    haze = smoothstep(noise(rng, size, size / 1.5, 4.0), -0.4, 2.4)
    invalid, veil = _clouds(scene, rng)
    spectra = _spectra(scene, rng)
    bands = []
    for index, band in enumerate(spectra):
        shine = np.where(scene.water, 1.0, light * (1 + texture * (0.75, 1.0)[index > 3]))
        seen = ndimage.gaussian_filter(band * shine, 0.66)
        glow = (170, 130, 80, 55, 15, 0, 0)[index] * haze
        seen = seen + glow + veil * (2300 - 150 * index)
        step = (20, 20, 16, 16, 50, 50, 50)[index]
        seen += step * 0.1 * rng.standard_normal((size, size))
        bands.append(np.round(np.maximum(seen, 1) / step) * step)
    stack = np.stack(bands).astype(np.int16)
    stack[:, invalid] = NODATA_MS
    return stack


def _spectra(scene: Landscape, rng: np.random.RandomState) -> Array:
    size, cover = scene.plan.size, scene.cover
    out = np.zeros((7, size, size))
    pick = roll(scene.parcel, 7)
    for code, kinds in REFLECTANCE.items():
        here = cover == code
        table = np.array(kinds, float)
        out[:, here] = table[(pick[here] * len(kinds)).astype(int)].T
    dry = noise(rng, size, size / 4, 3.0)
    change = np.array([0.05, 0.06, 0.06, 0.12, -0.06, 0.10, 0.16])[:, None, None] * dry
    gain = 1 + 0.30 * (roll(scene.parcel, 8) - 0.5) + change
    out *= np.where(scene.water, 1.0, gain)
    out[:, scene.water] = _water(scene, rng)[:, scene.water]
    roofs = (cover == BUILT) & ~scene.street
    out[:, roofs] *= np.exp(0.28 * noise(rng, size, 5, 0.6))[roofs]
    gardens = roofs & (noise(rng, size, 9, 1.2) > 0.5)
    out[:, gardens] = 0.55 * out[:, gardens] + 0.45 * np.array(REFLECTANCE[GRASS][0])[:, None]
    return out


def _water(scene: Landscape, rng: np.random.RandomState) -> Array:
    """Muddy river and flood, paler where shallow; clear lakes away from the valley."""
    size = scene.plan.size
    labels, _ = ndimage.label(scene.water, np.ones((3, 3)))
    muddy = np.isin(labels, np.unique(labels[scene.river & scene.water]))
    depth = ndimage.distance_transform_edt(scene.water)
    shallow = np.exp(-depth / 4.0) * (~scene.river) * 0.8
    shallow = shallow + 0.3 * smoothstep(noise(rng, size, size / 6, 3.0), -0.2, 2.0) * ~scene.river
    mud = np.array(REFLECTANCE[WATER][0], float)[:, None, None]
    flow = 1 + 0.07 * noise(rng, size, size / 5, 3.0) - 0.08 * scene.river
    murky = (mud + (np.array(SHALLOWS, float)[:, None, None] - mud) * shallow.clip(0, 1)) * flow
    return np.where(muddy, murky, np.array(CLEAR_LAKE, float)[:, None, None] * flow)


def _sunlight(scene: Landscape) -> Array:
    """Illumination of the slopes, sun in the south-east at 50 degrees, 1 on flat ground."""
    dy, dx = np.gradient(ndimage.gaussian_filter(scene.height_m, 0.8) / scene.plan.pixel_m)
    up, azimuth = np.deg2rad(50.0), np.deg2rad(140.0)
    sun = np.array([np.sin(azimuth) * np.cos(up), -np.cos(azimuth) * np.cos(up), np.sin(up)])
    cosine = (sun[2] - 1.8 * (dx * sun[0] + dy * sun[1])) / np.sqrt(1 + dx**2 + dy**2)
    return np.clip(cosine / sun[2], 0.35, 1.6)


def _texture(scene: Landscape, rng: np.random.RandomState) -> Array:
    """Relative brightness within a class: crowns, tussocks, furrows."""
    size, cover = scene.plan.size, scene.cover
    crowns = noise(rng, size, 8, 1.8)
    soft = noise(rng, size, 40, 2.6)
    rows = np.sin(scene.furrow * 2 * np.pi / 4.3 + 6 * roll(scene.parcel, 9))
    texture = np.where(np.isin(cover, (TREE, SHRUB)), 0.10 * crowns, 0.035 * soft)
    return texture + np.where(cover == CROP, 0.025 * rows, 0) + 0.05 * soft * (cover == BARE)


def _clouds(scene: Landscape, rng: np.random.RandomState) -> tuple[Mask, Array]:
    """Pixels without data (clouds, their shadows, the wedge off the swath), and the veil around."""
    size = scene.plan.size
    puffs = noise(rng, size, size / 7, 3.4) + 0.9 * noise(rng, size, size, 4.5)
    level = np.quantile(puffs, 0.975)
    cloud = ndimage.binary_dilation(no_specks(puffs > level, 40), iterations=2)
    shadow = np.roll(
        ndimage.binary_dilation(cloud), (-int(size * 0.012), -int(size * 0.016)), (0, 1)
    )
    rows, cols = np.mgrid[:size, :size]
    wedge = cols < 0.02 * size + 0.09 * (size - rows) - 0.045 * size
    veil = 0.08 * smoothstep(puffs, level - 0.35, level)
    return cloud | shadow | wedge, veil
