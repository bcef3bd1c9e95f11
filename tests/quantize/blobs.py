"""Scenes to calibrate on."""

from __future__ import annotations

import numpy as np
from rasters import write

BANDS = ("red", "nir")


def write_scene(path, *, seed, height=600, width=520):
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width] / 40
    waves = np.stack([np.sin(rows + k) * np.cos(cols * (k + 1)) for k in range(2)])
    data = (waves + 0.5 * rng.normal(size=waves.shape)).astype(np.float32)
    data[:, 100:180, 200:330] = np.nan
    return write(path, data, names=BANDS, nodata=float("nan"))
