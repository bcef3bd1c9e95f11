"""Makes the sample scenes: ``python sample_tiles/make_sample_tiles.py [FOLDER]``.

Needs numpy, scipy and rasterio. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from country import build
from landscape import Plan
from numpy.typing import NDArray
from rasterio.transform import Affine
from sensors import BANDS_MS, BANDS_SAR, NODATA_MS, optical, radar

FLOOD = Plan(seed=7)
"""A valley at 10 m, as Sentinel-1 sees it."""

RIVER = Plan(
    seed=23,
    pixel_m=30.0,
    river=17.0,
    bend=520.0,
    sinuosity=1.6,
    valley=120.0,
    heading=1.15,
    relief_m=330.0,
    flood_m=-0.2,
    field=44.0,
)

"""A valley at 30 m, as Landsat sees it."""

TRUTH_NODATA = 255
COVER_COLORS = {
    10: ("tree cover", "#006400"),
    20: ("shrubland", "#ffbb22"),
    30: ("grassland", "#ffff4c"),
    40: ("cropland", "#f096ff"),
    50: ("built-up", "#fa0000"),
    60: ("bare", "#b4b4b4"),
    80: ("water", "#0064c8"),
    90: ("wetland", "#0096a0"),
}
WATER_COLORS = {0: ("land", "#e6dcc8"), 1: ("water", "#1f78b4")}


def grid(plan: Plan, crs: str, left: float, top: float) -> dict[str, Any]:
    """CRS and transform for rasterio from the upper left corner in metres."""
    return {"crs": crs, "transform": Affine(plan.pixel_m, 0, left, 0, -plan.pixel_m, top)}


def write(
    path: Path,
    data: NDArray[np.generic],
    place: dict[str, Any],
    nodata: float,
    names: Sequence[str],
) -> None:
    """One tiled GeoTIFF; ``data`` is (bands, n, n)."""
    kind = data.dtype.kind
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=data.shape[0],
        height=data.shape[1],
        width=data.shape[2],
        dtype=data.dtype,
        **place,
        nodata=nodata,
        compress="zstd",
        zstd_level=22,
        predictor=2 if kind == "i" else 1,
        interleave="pixel",
        tiled=True,
        blockxsize=256,
        blockysize=256,
    ) as out:
        out.write(data)
        out.descriptions = tuple(names)
        if kind == "i":
            out.scales = (0.0001,) * data.shape[0]
            out.units = ("reflectance",) * data.shape[0]
        elif kind == "f":
            out.units = ("dB",) * data.shape[0]


def write_truth(
    path: Path,
    codes: NDArray[np.uint8],
    place: dict[str, Any],
    legend: dict[int, tuple[str, str]],
) -> None:
    """One class raster (n, n) with a colour table and a ``GEOUNET_CLASSES`` tag."""
    write(path, codes[None], place, TRUTH_NODATA, ["class"])
    classes = [{"code": c, "name": n, "color": h} for c, (n, h) in legend.items()]
    with rasterio.open(path, "r+") as out:
        rgb = {c: (*bytes.fromhex(h[1:]), 255) for c, (_, h) in legend.items()}
        out.write_colormap(1, {**rgb, TRUTH_NODATA: (0, 0, 0, 0)})
        out.update_tags(GEOUNET_CLASSES=json.dumps(classes))


def make_flood(folder: Path, plan: Plan = FLOOD) -> None:
    """``flood_s1.tif`` and ``flood_s1_truth.tif``."""
    place = grid(plan, "EPSG:32634", 405_000.0, 5_012_000.0)
    scene = build(plan)
    seen = radar(scene)
    write(folder / "flood_s1.tif", seen, place, np.nan, BANDS_SAR)
    truth = np.where(np.isfinite(seen).all(axis=0), scene.water, TRUTH_NODATA).astype(np.uint8)
    write_truth(folder / "flood_s1_truth.tif", truth, place, WATER_COLORS)


def make_river(folder: Path, plan: Plan = RIVER) -> None:
    """``river_ms.tif`` with its water and land cover truth."""
    place = grid(plan, "EPSG:32615", 690_000.0, 3_615_000.0)
    scene = build(plan)
    seen = optical(scene)
    write(folder / "river_ms.tif", seen, place, NODATA_MS, BANDS_MS)
    valid = seen[0] != NODATA_MS
    water = np.where(valid, scene.water, TRUTH_NODATA).astype(np.uint8)
    write_truth(folder / "river_ms_water.tif", water, place, WATER_COLORS)
    cover = np.where(valid, scene.cover, TRUTH_NODATA).astype(np.uint8)
    write_truth(folder / "river_ms_landcover.tif", cover, place, COVER_COLORS)


def main(argv: Sequence[str] | None = None) -> int:
    """Make both scenes in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    folder = parser.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    make_flood(folder)
    make_river(folder)
    for path in sorted(folder.glob("*.tif")):
        print(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
