"""Scenes of batches, and what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import geounet

HEIGHT, WIDTH, TILE = 900, 500, 64
NAMES = ("red", "nir")


def noise(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    coarse = np.random.default_rng(seed).normal(size=(2, -(-height // 8), -(-width // 8)))
    return np.kron(coarse, np.ones((8, 8)))[:, :height, :width].astype(np.float32)


def content(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of all outputs, hidden files too."""
    found = {path.name: path for path in folder.iterdir() if path.name != "manifest.jsonl"}
    return {name: path.read_bytes() if path.is_file() else b"" for name, path in found.items()}


def segmented(folder: Path, scenes: list[Path], model: Path, **options) -> dict[str, bytes]:
    """What ``geounet segment`` makes."""
    suffix = options.pop("suffix", ".gpkg")
    folder.mkdir()
    for scene in scenes:
        stem = folder / f"{scene.stem}.random"
        layer = {"polygons": f"{stem}{suffix}"} | options
        geounet.segment(scene, model=model, out=f"{stem}.tif", **layer)
    return content(folder)
