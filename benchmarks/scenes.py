"""Large scenes for measuring, made from the sample scenes: mirrored copies, so without seams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

SAMPLES = Path(__file__).parents[1] / "sample_tiles"


def make_scene(path: Path, sample: str, height: int, width: int, bands: int | None = None) -> Path:
    """Write a DEFLATE-compressed, tiled GeoTIFF of ``height`` x ``width`` from a sample scene.

    Every second copy is mirrored, and noise of one stored step in two pixels keeps the copies from
    compressing alike. Written row of blocks by row of blocks.
    """
    with rasterio.open(SAMPLES / sample) as source:
        count = bands or source.count
        data = source.read(list(range(1, count + 1)))
        profile, descriptions, scales = source.profile, source.descriptions, source.scales
    pair = np.concatenate([data, data[:, ::-1]], axis=1)
    pair = np.concatenate([pair, pair[:, :, ::-1]], axis=2)
    cols = np.arange(width) % pair.shape[2]
    profile.update(
        height=height,
        width=width,
        count=count,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="DEFLATE",
        predictor=2 if data.dtype.kind in "iu" else 3,
        bigtiff="IF_SAFER",
    )
    rng = np.random.default_rng(0)
    with rasterio.open(path, "w", **profile) as target:
        target.descriptions = descriptions[:count]
        target.scales = scales[:count]
        for row in range(0, height, 512):
            rows = np.arange(row, min(row + 512, height)) % pair.shape[1]
            part = pair[:, rows][:, :, cols]
            if part.dtype.kind in "iu":
                part = np.where(
                    part == profile["nodata"], part, part + rng.integers(0, 2, part.shape)
                )
            window = rasterio.windows.Window(0, row, width, len(rows))
            target.write(part.astype(data.dtype), window=window)
    return path
