"""One contender of ``benchmarks/peers.py``, in a process and an environment of its own.

    python benchmarks/contenders.py geoai --scene scene.tif --out map.tif --model plain.pt [--best]

From a GeoTIFF to a class map, once. The last line printed is JSON: see :class:`Measured`. Imports
come before the clock starts; loading the network, and compiling it, after. No contender imports
another, and only that of geounet imports geounet.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

HALO = 96
"""Receptive radius of a U-Net of depth 4, rounded up to its stride: with this much context on each
side, and tiles that begin on multiples of the stride, a tile is exact."""

CLASSES = 4


@dataclass
class Clock:
    """Time in the network, and how many pixels it was given."""

    seconds: float = 0.0
    pixels: int = 0

    @contextlib.contextmanager
    def over(self, pixels: int) -> Iterator[None]:
        """Count what runs inside."""
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start
        self.pixels += pixels


@dataclass(kw_only=True)
class Job:
    """What a contender is given."""

    scene: Path
    out: Path
    model: Path
    """For peers a TorchScript file: stored values (batch, bands, height, width), float32, to logits
    (batch, classes, height, width). For geounet a bundle."""
    best: bool
    """The settings that are best on a CPU, and not those that it has by itself."""
    core: int
    """Pixels on a side that a tile adds to the map, in the best settings."""
    batch: int
    """Tiles a forward pass, in the best settings."""
    clock: Clock = field(default_factory=Clock)

    @property
    def tile(self) -> int:
        """Pixels on a side that the network sees, in the best settings."""
        return self.core + 2 * HALO


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a run took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of the processor, of all threads and child processes."""
    network: float
    """Seconds of ``wall`` in which the network ran."""
    network_pixels: int
    """Pixels that the network was given, halos and overlaps included."""
    peak_mb: float
    """Resident memory at its highest."""
    start_mb: float
    """The same before the scene was opened: interpreter and libraries."""


Run = Callable[[Job], None]


def load_network(job: Job) -> Any:
    """The network as a module that counts its time."""
    import torch

    inner = torch.jit.load(str(job.model)).eval()

    class Timed(torch.nn.Module):
        """Counts; on a CPU a call returns when all is computed."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Logits."""
            with job.clock.over(x.shape[0] * x.shape[2] * x.shape[3]):
                return inner(x)

    return Timed()


def read_scene(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """All bands as float32, and the profile of a class map on the same grid."""
    with rasterio.open(path) as dataset:
        return dataset.read().astype(np.float32), map_profile(dataset)


def map_profile(dataset: Any) -> dict[str, Any]:
    """Of a class map on the grid of a dataset."""
    return {**dataset.profile, "count": 1, "dtype": "uint8", "nodata": 255, "compress": "lzw"}


def write_map(path: Path, labels: np.ndarray, profile: dict[str, Any]) -> None:
    """A class map (height, width)."""
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(labels.astype(np.uint8), 1)


def geoai() -> Run:
    """``predict_geotiff``, with and without blending that favours the middle of tiles."""
    import geoai.utils
    import torch  # noqa: F401  both are imported late, but are no part of the work
    import tqdm.auto  # noqa: F401
    from geoai.inference import predict_geotiff

    geoai.utils.get_device()

    def run(job: Job) -> None:
        best = {
            "tile_size": job.tile,
            "overlap": 2 * HALO,
            "batch_size": job.batch,
            "blend_power": 4,
        }
        predict_geotiff(
            load_network(job),
            str(job.scene),
            str(job.out),
            num_classes=CLASSES,
            output_dtype="uint8",
            output_nodata=255,
            preprocess_fn=lambda tile: tile,  # the network normalises
            postprocess_fn=lambda logits: logits.argmax(0),
            verbose=False,
            **best if job.best else {},
        )

    return run


def terratorch() -> Run:
    """``tiled_inference`` of the whole scene in memory, as its segmentation task calls it."""
    import torch
    from terratorch.tasks.tiled_inference import tiled_inference

    def run(job: Job) -> None:
        data, profile = read_scene(job.scene)
        best = {
            "crop": job.tile,
            "stride": job.core,
            "delta": HALO,
            "batch_size": job.batch,
            "average_patches": False,
            "blend_overlaps": False,
        }
        logits = tiled_inference(
            load_network(job), torch.from_numpy(data)[None], **best if job.best else {}
        )
        write_map(job.out, logits.argmax(1)[0].numpy(), profile)

    return run


def monai() -> Run:
    """``sliding_window_inference`` of the whole scene in memory.

    Window and minibatch have no default; 256 px and 4 stand in its tutorials, with smaller images.
    At best the scene is mirrored around its edges, and of each window only the middle counts.
    """
    import torch
    from monai.inferers import sliding_window_inference

    def run(job: Job) -> None:
        data, profile = read_scene(job.scene)
        image, network = torch.from_numpy(data)[None], load_network(job)
        if not job.best:
            logits = sliding_window_inference(image, (256, 256), 4, network)
        else:
            image = torch.nn.functional.pad(image, (HALO,) * 4, mode="reflect")
            weights = torch.zeros(1, 1, job.tile, job.tile)
            weights[..., HALO:-HALO, HALO:-HALO] = 1
            overlap = (2 * HALO - 0.5) / job.tile  # rounded down, the step is the core then
            logits = sliding_window_inference(
                image, (job.tile,) * 2, job.batch, network, overlap, roi_weight_map=weights
            )[..., HALO:-HALO, HALO:-HALO]
        write_map(job.out, logits.argmax(1)[0].numpy(), profile)

    return run


def torchgeo() -> Run:
    """``RasterDataset``, ``GridGeoSampler`` and a loader; labels are pasted by their bounds.

    The size of a chip has no default; 256 px stand in its tutorials. Chips share nothing then.
    """
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    def run(job: Job) -> None:
        size, step, batch = (job.tile, job.core, job.batch) if job.best else (256, 256, 1)
        trim = (size - step) // 2
        network = load_network(job)
        dataset = RasterDataset(str(job.scene))
        sampler = GridGeoSampler(dataset, size=size, stride=step)
        loader = DataLoader(dataset, batch, sampler=sampler, collate_fn=stack_samples)
        with rasterio.open(job.scene) as source:
            profile, inverse = map_profile(source), ~source.transform
        labels = np.full((profile["height"], profile["width"]), 255, np.uint8)
        for sample in loader:
            found = network(sample["image"]).argmax(1).numpy()
            for chip, (x, y, _) in zip(found, sample["bounds"], strict=True):
                col, row = (round(v) for v in inverse * (x.start, y.stop))
                paste(labels, chip, row, col, trim)
        write_map(job.out, labels, profile)

    return run


def paste(labels: np.ndarray, chip: np.ndarray, row: int, col: int, trim: int) -> None:
    """Put a chip at its place, without ``trim`` pixels on each side that is not the scene's."""
    height, width = labels.shape
    size = len(chip)
    top, left = (0 if at <= 0 else at + trim for at in (row, col))
    bottom = height if row + size >= height else row + size - trim
    right = width if col + size >= width else col + size - trim
    labels[top:bottom, left:right] = chip[top - row : bottom - row, left - col : right - col]


def loop() -> Run:
    """The loop that most people write: windows with overlap, the network, the middle, written.

    By itself it has windows of 512 px of which 32 px on each side are left out.
    """
    import torch

    def run(job: Job) -> None:
        core, halo = (job.core, HALO) if job.best else (448, 32)
        network = load_network(job)
        with rasterio.open(job.scene) as source:
            height, width = source.shape
            with rasterio.open(job.out, "w", **map_profile(source)) as target:
                for row in range(0, height, core):
                    for col in range(0, width, core):
                        tile = torch.from_numpy(read_padded(source, row, col, core, halo))
                        found = network(tile[None]).argmax(1)[0, halo:-halo, halo:-halo]
                        inner = found[: height - row, : width - col].numpy().astype(np.uint8)
                        at = Window(col, row, inner.shape[1], inner.shape[0])
                        target.write(inner, 1, window=at)

    return run


def read_padded(source: Any, row: int, col: int, core: int, halo: int) -> np.ndarray:
    """A window with its halo, mirrored where it leaves the scene; its sides are multiples of 16."""
    sides, outside = [], []
    for start, size in ((row, source.height), (col, source.width)):
        inside = min(core, math.ceil((size - start) / 16) * 16)
        low, high = start - halo, start + inside + halo
        sides.append((max(low, 0), min(high, size)))
        outside.append((max(-low, 0), max(high - size, 0)))
    (top, bottom), (left, right) = sides
    window = Window(left, top, right - left, bottom - top)
    data = source.read(window=window).astype(np.float32)
    return np.pad(data, ((0, 0), *outside), mode="reflect")


def geounet(engine: str) -> Run:
    """``geounet segment --no-polygons``, with its own defaults but for the engine, in float32."""
    for late in (f"engine.{engine}", "engine.select", "segmentation", "layer", "cog"):
        importlib.import_module(f"geounet.{late}")
    import safetensors.numpy  # noqa: F401

    from geounet_cli.main import main

    def run(job: Job) -> None:
        count_engines(job.clock)
        code = main([
            "segment", str(job.scene), "-m", str(job.model), "-o", str(job.out), "--no-polygons",
            "--engine", engine, "--device", "cpu", "--precision", "fp32", "-q", "--overwrite",
        ])  # fmt: skip
        if code:
            raise SystemExit(code)

    return run


def count_engines(clock: Clock) -> None:
    """Let whatever engine is made count its time."""
    from geounet.engine import select

    make = select.make_engine

    def counted(*args: Any, **options: Any) -> Any:
        engine = make(*args, **options)
        predict = engine.predict

        def timed(tiles: np.ndarray, valid: np.ndarray, *, confidence: bool) -> Any:
            with clock.over(valid.size):
                return predict(tiles, valid, confidence=confidence)

        engine.predict = timed
        return engine

    select.make_engine = counted


CONTENDERS: dict[str, Callable[[], Run]] = {
    "geounet-torch": partial(geounet, "torch"),
    "geounet-openvino": partial(geounet, "openvino"),
    "geoai": geoai,
    "terratorch": terratorch,
    "monai": monai,
    "torchgeo": torchgeo,
    "loop": loop,
}


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


def peak_mb() -> float:
    """Resident memory at its highest, as Linux tells.

    ``ru_maxrss`` is no less than that of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(name: str, job: Job) -> Measured:
    """Run a contender once."""
    run = CONTENDERS[name]()
    guard = torch_guard(name, best=job.best)
    start_mb, cpu, wall = peak_mb(), cpu_seconds(), time.perf_counter()
    with guard:
        run(job)
    return Measured(
        wall=time.perf_counter() - wall,
        cpu=cpu_seconds() - cpu,
        network=job.clock.seconds,
        network_pixels=job.clock.pixels,
        peak_mb=peak_mb(),
        start_mb=start_mb,
    )


def torch_guard(name: str, *, best: bool) -> Any:
    """No gradients; at best without what would still be kept for them."""
    if name.startswith("geounet"):
        return contextlib.nullcontext()
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return torch.inference_mode() if best else torch.no_grad()


def main() -> None:
    """Run one, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=CONTENDERS)
    for path in ("scene", "out", "model"):
        parser.add_argument(f"--{path}", type=Path, required=True)
    parser.add_argument("--best", action="store_true", help="settings that are best on a CPU")
    parser.add_argument("--core", type=int, default=1024, help="pixels that a tile adds, at best")
    parser.add_argument("--batch", type=int, default=1, help="tiles a forward pass, at best")
    options = vars(parser.parse_args())
    print(json.dumps(asdict(measure(options.pop("name"), Job(**options)))))


if __name__ == "__main__":
    main()
