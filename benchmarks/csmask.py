"""The cloud model of ukis-csmask in ``geounet segment``, beside its own pipeline.

    python benchmarks/csmask.py [--model 6b_l1c] [--size 2048] [--runs 5]

Needs ``pip install "ukis-csmask[cpu]"`` in the environment of geounet, and its two arrays in
``GEOUNET_DATA`` (default ``../shared/data``). Prints Markdown; see ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

import geounet
from geounet.bands import Normalizer
from geounet.engine.select import make_engine
from geounet.models import load_model

SCENES = ("sentinel2", "landsat7")
CLASSES = ("clear", "cloud", "cloud shadow")
OVERLAP = 0.2  # of a tile, in its own pipeline
SHIFT = 26  # pixels, from where its tiles begin to where those of geounet do


def describe(folder: Path, model: str) -> Path:
    """Write the JSON that runs a model of the package as it lies there; its path."""
    import ukis_csmask

    file = Path(ukis_csmask.__file__).parent / f"model_{model}.onnx"
    told = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["data"]
    mean, std = told["dataset_statistics"]["img"]
    said = {
        "file": str(file),
        "name": "csmask",
        "summary": "Clouds and their shadows from top-of-atmosphere reflectance.",
        "bands": told["dataset_statistics"]["band_names"],
        "unit": "reflectance",
        "mean": mean,
        "std": std,
        "classes": CLASSES,
        "overlap": round(OVERLAP * told["target_size"][0]),
        "terms": "Apache-2.0, German Aerospace Center (DLR)",
    }
    path = folder / "csmask.json"
    path.write_text(json.dumps(said, indent=1), encoding="utf-8")
    return path


def read_array(name: str) -> np.ndarray:
    """(height, width, bands) float32 reflectance."""
    data = Path(os.environ.get("GEOUNET_DATA", "../shared/data"))
    with np.load(data / "cloud_arrays" / f"{name}.npz") as arrays:
        return arrays["img"]


def write_scene(path: Path, array: np.ndarray, names: list[str]) -> Path:
    """An array as a GeoTIFF whose bands have names."""
    height, width, count = array.shape
    grid = {"crs": "EPSG:32632", "transform": Affine(30, 0, 500_000, 0, -30, 5_000_000)}
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, **grid}
    with rasterio.open(
        path, "w", dtype="float32", tiled=True, compress="deflate", **profile
    ) as out:
        out.write(array.transpose(2, 0, 1))
        out.descriptions = names
    return path


def theirs(array: np.ndarray, names: list[str], level: str) -> np.ndarray:
    """Its own pipeline: (height, width) classes."""
    from ukis_csmask.mask import CSmask

    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    made = CSmask(
        array,
        names,
        product_level=level,
        intra_op_num_threads=threads,
        providers=["CPUExecutionProvider"],
    )
    return made.csm[..., 0]


def theirs_from_file(scene: Path, out: Path, level: str) -> None:
    """The same from a file to a file."""
    with rasterio.open(scene) as dataset:
        array, profile = dataset.read().transpose(1, 2, 0), dataset.profile
        names = list(dataset.descriptions)
    labels = theirs(np.ascontiguousarray(array), names, level)
    profile.update(count=1, dtype="uint8", nodata=None)
    with rasterio.open(out, "w", **profile) as dataset:
        dataset.write(labels, 1)


def ours(scene: Path, out: Path, model: Path) -> None:
    """``geounet segment``, from a file to a file."""
    geounet.segment(scene, model=model, out=out, polygons=False, overwrite=True)


def with_its_tiles(array: np.ndarray, model: Path) -> np.ndarray:
    """Classes of the engine of geounet on the tiles of the package, joined by the package."""
    from ukis_csmask.utils import tile_array, untile_array

    bundle = load_model(model)
    engine = make_engine(bundle, Normalizer.of(bundle.spec.bands, bundle.spec.clip))
    side = engine.side
    tiles = tile_array(array, xsize=side, ysize=side, overlap=OVERLAP).transpose(0, 3, 1, 2)
    odds = engine.probabilities(tiles, np.ones((len(tiles), side, side), bool))
    shape = (*array.shape[:2], len(CLASSES))
    joined = untile_array(odds.transpose(0, 2, 3, 1), shape, overlap=OVERLAP, smooth_blending=True)
    return joined.argmax(2)


def agreement(folder: Path, model: Path, level: str) -> None:
    """Of its classes with ours, on its tiles and on ours, and with its own of a shifted scene."""
    names = json.loads(model.read_text(encoding="utf-8"))["bands"]
    print("| scene | its tiles, our engine | our tiles, our engine | its own, the scene shifted |")
    print("|---|---|---|---|")
    for name in SCENES:
        array = read_array(name)
        expected = theirs(array, names, level)
        scene, out = folder / f"{name}.tif", folder / f"{name}.out.tif"
        ours(write_scene(scene, array, names), out, model)
        with rasterio.open(out) as dataset:
            found = dataset.read(1)
        shifted = theirs(np.ascontiguousarray(array[SHIFT:, SHIFT:]), names, level)
        shares = [
            (with_its_tiles(array, model) == expected).mean(),
            (found == expected).mean(),
            (shifted == expected[SHIFT:, SHIFT:]).mean(),
        ]
        print(f"| {name} | " + " | ".join(f"{share:.4%}" for share in shares) + " |", flush=True)


def seconds(run: Callable[..., Any], *args: Any) -> float:
    """Of the processor, all threads together."""
    start = time.process_time()
    run(*args)
    return time.process_time() - start


def speed(folder: Path, model: Path, level: str, size: int, runs: int) -> None:
    """File to file, one after the other."""
    names = json.loads(model.read_text(encoding="utf-8"))["bands"]
    array = read_array(SCENES[0])
    times = -(-size // array.shape[0])
    mirrored = np.pad(array, ((0, 0), (0, 0), (0, 0)))
    for axis in (0, 1):
        flipped = np.flip(mirrored, axis)
        parts = [mirrored if i % 2 == 0 else flipped for i in range(times)]
        mirrored = np.concatenate(parts, axis)
    scene = write_scene(folder / "large.tif", mirrored[:size, :size], names)
    pairs = [
        (
            seconds(theirs_from_file, scene, folder / "a.tif", level),
            seconds(ours, scene, folder / "b.tif", model),
        )
        for _ in range(runs)
    ]
    ratios = [its / our for its, our in pairs]
    its, our = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    print(
        f"| {size} x {size} | {its:.1f} | {our:.1f} |"
        f" {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |",
        flush=True,
    )


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description="ukis-csmask beside geounet segment")
    parser.add_argument(
        "--model", default="6b_l1c", choices=["6b_l1c", "6b_l2a", "4b_l1c", "4b_l2a"]
    )
    parser.add_argument("--size", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    level = args.model.partition("_")[2]
    with tempfile.TemporaryDirectory() as folder:
        model = describe(Path(folder), args.model)
        print(f"## Classes that are the same: {args.model}\n")
        agreement(Path(folder), model, level)
        print("\n## From a GeoTIFF to a GeoTIFF\n")
        print(f"| pixels | ukis-csmask, s | geounet segment, s | ratio, {args.runs} pairs |")
        print("|---|---|---|---|")
        for size in args.size:
            speed(Path(folder), model, level, size, args.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
