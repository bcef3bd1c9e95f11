"""What a run depends on, to tell whether an earlier one was the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from geounet.address import bare, is_remote
from geounet.fit import Fit
from geounet.options import SegmentOptions
from geounet.scene import SceneReader
from geounet.scene.remote import Watch
from geounet.tiling import TileGrid
from geounet.window import Window

if TYPE_CHECKING:
    from geounet.bundle import Bundle
    from geounet.engine import ModelEngine

Fingerprint = dict[str, str]
"""What may differ, in a word or two -> a digest of it."""


def fingerprint(
    fit: Fit,
    bundle: Bundle,
    options: SegmentOptions,
    engine: ModelEngine,
    grid: TileGrid,
    watch: Watch | None = None,
) -> Fingerprint | None:
    """All that the strips of a run depend on; None where a scene cannot be known again.

    Law: runs with the same fingerprint make the same strips. Files are told by path, size and time
    of change; remote ones by address (however it is signed), ETag or date, and size, as ``watch``
    found them, or by their header and a corner of their pixels if the server does not say.
    """
    scene = _scene(fit.scene, watch or Watch(fit.scene.info.files))
    if scene is None:
        return None
    reading = fit.normalizer
    numbers = (reading.scale, reading.offset, reading.mean, reading.std)
    device = engine.device.partition(":")[0]
    said: dict[str, Iterable[object]] = {
        "the scene": scene,
        "the model": [bundle.sha256],
        "how the scene is read": [
            fit.bands,
            reading.low,
            reading.high,
            *(n.tolist() for n in numbers),
        ],
        "--aoi": [] if options.aoi is None else _of_file(options.aoi),
        "--confidence": [options.confidence],
        "the tiles": [grid.tile, grid.halo, grid.stride, grid.whole],
        "the engine": [engine.name, _version(engine.name), device, engine.precision, engine.seam],
        "the version of geounet": [version("geounet")],
    }
    return {what: _digest(values) for what, values in said.items()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # built by hand
        return ""


def _scene(scene: SceneReader, watch: Watch) -> list[object] | None:
    info = scene.info
    if not info.files:
        return None
    told: list[object] = [info.geobox.shape, tuple(info.geobox.affine), info.bands]
    told.append(None if info.geobox.crs is None else info.geobox.crs.to_wkt())
    files = {
        file: _of_remote(file, watch) if is_remote(file) else _of_file(file)
        for file in sorted(info.files)
    }
    for file, known in files.items():
        told += known or [file]
    if not all(files.values()):
        corner = Window(row_off=0, col_off=0, height=info.block[0], width=info.block[1])
        raster = scene.read(corner.intersect(info.window), range(1, len(info.bands) + 1))
        told.append(hashlib.sha256(raster.data.tobytes()).hexdigest())
    return told


def _of_file(file: str | Path) -> list[object]:
    """Of a local file or of all in a folder; nothing of what is not there."""
    path = Path(file)
    if not path.exists():
        return []
    found = _walk(path) if path.is_dir() else [path]
    return [(str(p.absolute()), p.stat().st_size, p.stat().st_mtime_ns) for p in found]


def _of_remote(file: str, watch: Watch) -> list[object]:
    """Of a file that its server tells from earlier ones; nothing of another."""
    stamp = watch.stamp(file)
    if stamp is None or not stamp.is_sure:
        return []
    return [bare(file), stamp.etag or stamp.modified, stamp.size]


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(root) / name


def _digest(values: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(map(repr, values)).encode()).hexdigest()
