"""Measures ``geounet segment``: exactness, memory, speed, engines, COG. Run by ``make bench``.

    python benchmarks/segment.py [exactness] [memory] [speed] [engines] [cog] [--model water-ms]
        [--int8 FILE.geounet]
    python benchmarks/segment.py speed --model random32 --size 8192
    python benchmarks/segment.py --quick        a few minutes: small scenes, one run of each
    python benchmarks/segment.py --keep FOLDER  parts that FOLDER holds already are not run again

``random32`` is a U-Net of width 32 and depth 4 with random weights, for six bands. Prints
Markdown. See ``benchmarks/README.md`` for how to read it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from scenes import SAMPLES, make_scene

from geounet.engine import ModelEngine
from geounet.engine.device import cpu_has_bf16
from geounet.engine.select import make_engine
from geounet.feed import StripFeeder
from geounet.fit import Fit, fit_scene
from geounet.models import load_model
from geounet.scene import MemoryScene, open_scene
from geounet.spec import ModelSpec
from geounet.stitch import segment_strip
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet.tiling import TileGrid, mirror_index, round_up
from geounet.writer import RasterLayout, StripWriter

SAMPLE = {"flood-s1": "flood_s1.tif"}
"""Sample scene by model; the multispectral one otherwise."""

HEIGHTS = (4096, 8192, 16384, 32768)
"""Rows of the scenes whose peak memory is measured; the ratio is of the last to the first."""

_CHILD = """
import json, sys, time
from pathlib import Path
from geounet_cli.main import main
code = main(sys.argv[1:])
# not ru_maxrss, which is no less than that of the process that started this one
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
print(json.dumps({"code": code, "peak_mb": peak, "cpu": time.process_time()}))
"""


def segment_child(scene: Path, out: Path, *options: str) -> dict[str, float]:
    """Run ``geounet segment`` in a process of its own: its report, peak memory in MB, CPU seconds.

    Those include starting Python and importing, about two seconds.
    """
    command = [sys.executable, "-c", _CHILD, "segment", str(scene), "-o", str(out)]
    command += ["--overwrite", "--json", "-q", *options]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {**json.loads(lines[-2]), **json.loads(lines[-1])}


def read_labels(path: Path) -> np.ndarray:
    """A class map."""
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def whole_scene(scene: Path, model: str, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels of one forward pass over the mirror-padded scene, and the margin of the best class."""
    import torch

    bundle = load_model(model)
    fit = fit_scene(open_scene(scene), bundle.spec)
    info = fit.scene.info
    engine = make_engine(bundle, fit.normalizer, device="cpu", precision=precision)
    raster = fit.scene.read(info.window, fit.bands)
    halo = engine.halo
    rows = mirror_index(-halo, round_up(info.height, engine.stride) + halo, info.height)
    cols = mirror_index(-halo, round_up(info.width, engine.stride) + halo, info.width)
    data, valid = raster.data[:, rows][:, :, cols], raster.valid[rows][:, cols]
    logits = torch.from_numpy(engine.logits(data[None], valid[None]))[0]
    logits = logits[:, halo : halo + info.height, halo : halo + info.width]
    best = logits.topk(2, dim=0)
    codes = np.array(bundle.spec.classes.codes, np.uint8)
    labels = np.where(raster.valid, codes[best.indices[0].numpy()], 255)
    return labels, (best.values[0] - best.values[1]).numpy()


def exactness(model: str, folder: Path, size: int) -> None:
    """Labels for three tile sizes against one pass over the whole scene."""
    scene = make_scene(folder / "exact.tif", SAMPLE.get(model, "river_ms.tif"), size, size)
    print(f"\n## Exactness: {model}, {size} x {size}\n")
    print("| precision | tile | labels unlike one whole-scene pass | largest margin |")
    print("|---|---|---|---|")
    for precision in ("fp32", "bf16") if cpu_has_bf16() else ("fp32",):
        expected, margin = whole_scene(scene, model, precision)
        for tile in (256, 512, 1024):
            out = folder / "exact.out.tif"
            segment_child(scene, out, "-m", model, "--no-polygons", "--tile", str(tile),
                          "--precision", precision)  # fmt: skip
            differ = read_labels(out) != expected
            largest = f"{margin[differ].max():.1e}" if differ.any() else "-"
            print(f"| {precision} | {tile} | {differ.sum()} of {differ.size} | {largest} |")


def memory(model: str, folder: Path, width: int, heights: Sequence[int] = HEIGHTS) -> None:
    """Peak memory at several heights, by engine."""
    sample, bands = SAMPLE.get(model, "river_ms.tif"), bands_of(model)
    print(f"\n## Peak memory: {model_name(model)}, {width} px wide, classes + polygons\n")
    print(
        "| engine | tile | " + " | ".join(f"{height} rows, MB" for height in heights) + " | ratio |"
    )
    print("|---|" + "---|" * (len(heights) + 2))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("openvino", "torch")}
    for height in heights:
        scene = make_scene(folder / f"memory{height}.tif", sample, height, width, bands)
        for name, each in found.items():
            options = ("-m", model, "--engine", name, "--device", "cpu", "--precision", "fp32")
            each.append(segment_child(scene, folder / "memory.out.tif", *options))
        scene.unlink()
    for name, each in found.items():
        peaks = [got["peak_mb"] for got in each]
        cells = [name, str(each[-1]["tile"]), *(f"{peak:.0f}" for peak in peaks)]
        print("| " + " | ".join(cells) + f" | {peaks[-1] / peaks[0]:.3f} |")


def network_alone(scene: MemoryScene, model: str, tile: int) -> float:
    """Seconds for the engine on the same tiles, fed from memory, labels thrown away."""
    bundle = load_model(model)
    fit = fit_scene(open_scene(scene), bundle.spec)
    return engine_alone(make_engine(bundle, fit.normalizer), fit, tile)


def engine_alone(engine: ModelEngine, fit: Fit, tile: int) -> float:
    """The same for an engine that was made already."""
    info = fit.scene.info
    grid = TileGrid.cover(
        height=info.height, width=info.width, tile=tile, halo=engine.halo, stride=engine.stride
    )
    feeds = list(StripFeeder(scene=fit.scene, bands=fit.bands, grid=grid))
    start = time.perf_counter()
    for feed in feeds:
        segment_strip(engine, feed, grid, confidence=False)
    return time.perf_counter() - start


def in_memory(scene: Path) -> MemoryScene:
    """A scene, decoded."""
    reader = open_scene(scene)
    bands = range(1, len(reader.info.bands) + 1)
    return MemoryScene(
        raster=reader.read(reader.info.window, bands),
        names=tuple(band.name for band in reader.info.bands),
        scale=reader.info.bands[0].scale,
    )


def engines(model: str, folder: Path, size: int, runs: int = 5, int8: Path | None = None) -> None:
    """Each engine alone on the CPU, fed from memory with the same tiles, interleaved."""
    scene = in_memory(
        make_scene(folder / "engines.tif", SAMPLE.get(model, "river_ms.tif"), size, size)
    )
    bundle = load_model(model)
    fit = fit_scene(open_scene(scene), bundle.spec)
    asked = [("torch", "fp32"), ("openvino", "fp32")]
    asked += [("torch", "bf16")] if cpu_has_bf16() else []
    made = {
        f"{name} {precision}": make_engine(
            bundle, fit.normalizer, engine=name, device="cpu", precision=precision
        )
        for name, precision in asked
    }
    if int8 is not None:
        made["openvino int8"] = make_engine(load_model(int8), fit.normalizer)
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for run in range(-1, runs):  # the first one compiles, and does not count
        for name, engine in made.items():
            took = engine_alone(engine, fit, tile=1024)
            seconds[name] += [took] if run >= 0 else []
    print(f"\n## Engines: {model}, {size} x {size}, tile 1024, {runs} interleaved runs\n")
    print("| engine | Mpx/s (output pixels) | over torch fp32 |")
    print("|---|---|---|")
    for name, took in seconds.items():
        rates = [size * size / s / 1e6 for s in took]
        ratios = [a / b for a, b in zip(seconds["torch fp32"], took, strict=True)]
        print(f"| {name} | {_spread(rates)} | {_spread(ratios)} |")


def speed(model: str, folder: Path, size: int, runs: int = 5) -> None:
    """End to end against the network alone, interleaved."""
    sample, bands = SAMPLE.get(model, "river_ms.tif"), bands_of(model)
    scene = make_scene(folder / "speed.tif", sample, size, size, bands)
    held, out = in_memory(scene), folder / "speed.out.tif"
    steps = {"classes + polygons": (), "classes": ("--no-polygons",)}
    tile = int(segment_child(scene, out, "-m", model)["tile"])
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    alone_rates = []
    for run in range(runs):
        for name, options in steps.items():
            cpu = time.process_time()
            alone = network_alone(held, model, tile)
            cpu = time.process_time() - cpu
            whole = segment_child(scene, out, "-m", model, *options)
            ratios[name].append((alone / whole["seconds"], cpu / whole["cpu"]))
            alone_rates.append(size * size / alone / 1e6)
            print(f"run {run}, {name}: {ratios[name][-1]}", file=sys.stderr)
    print(f"\n## Speed: {model}, {size} x {size}, tile {tile}, {runs} interleaved runs\n")
    print(f"network alone: {_spread(alone_rates)} Mpx/s (output pixels)\n")
    print("| written | speed over the network alone | CPU of the network alone over all |")
    print("|---|---|---|")
    for name, values in ratios.items():
        times, cpus = zip(*values, strict=True)
        print(f"| {name} | {_spread(times)} | {_spread(cpus)} |")


def cog(model: str, folder: Path, size: int, runs: int = 5) -> None:
    """A class map into a COG: in one pass, and by GDAL's driver from a finished GeoTIFF."""
    scene = make_scene(folder / "cog.in.tif", SAMPLE.get(model, "river_ms.tif"), size, size)
    segment_child(scene, folder / "cog.labels.tif", "-m", model, "--no-polygons")
    labels = read_labels(folder / "cog.labels.tif")
    geobox = open_scene(scene).info.geobox
    found: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(runs):
        for name, write in (("in one pass", _one_pass), ("GDAL's driver", _two_passes)):
            out, cpu = folder / "cog.out.tif", time.process_time()
            waited = write(labels, geobox, out, folder / "cog.scratch")
            cpu = time.process_time() - cpu
            found.setdefault(name, []).append((cpu, waited, out.stat().st_size / 1e6))
            out.unlink()
    print(f"\n## COG: {model}, {size} x {size}, {runs} interleaved runs\n")
    print("| made | CPU s | s after the last strip | CPU over one pass | MB |")
    print("|---|---|---|---|---|")
    for name, each in found.items():
        cpus, waits, sizes = zip(*each, strict=True)
        ratios = [a / b[0] for a, b in zip(cpus, found["in one pass"], strict=True)]
        print(
            f"| {name} | {_spread(cpus)} | {_spread(waits)} | {_spread(ratios)} | {sizes[0]:.2f} |"
        )


def _one_pass(labels: np.ndarray, geobox: GeoBox, out: Path, scratch: Path) -> float:
    """Write strips; gives the seconds after the last one."""
    layout = RasterLayout(geobox=geobox, georeferenced=True, description="class", resampling="MODE")
    writer = StripWriter(out, scratch, layout)
    for row in range(0, len(labels), 1024):
        writer.write(labels[row : row + 1024])
    start = time.perf_counter()
    writer.finish()
    return time.perf_counter() - start


def _two_passes(labels: np.ndarray, geobox: GeoBox, out: Path, scratch: Path) -> float:
    """The same with GDAL: a quick codec first, DEFLATE then."""
    height, width = labels.shape
    with rasterio.open(
        scratch, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8",
        nodata=255, crs=geobox.crs.to_wkt(), transform=geobox.affine, tiled=True, blockxsize=512,
        blockysize=512, compress="ZSTD", zstd_level=1,
    ) as dataset:  # fmt: skip
        for row in range(0, height, 512):
            rows = labels[row : row + 512]
            dataset.write(rows, 1, window=rasterio.windows.Window(0, row, width, len(rows)))
    start = time.perf_counter()
    rasterio.shutil.copy(
        scratch, out, driver="COG", compress="DEFLATE", overview_resampling="MODE",
        num_threads="ALL_CPUS",
    )  # fmt: skip
    scratch.unlink()
    return time.perf_counter() - start


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def bands_of(model: str) -> int | None:
    """How many of the sample's bands a scene gets; None: all."""
    return 6 if model.endswith(".geounet") else None


def model_name(model: str) -> str:
    """As tables call it."""
    return Path(model).stem


def random_model(folder: Path) -> str:
    """A bundle of random weights for the first six bands of the multispectral sample."""
    with rasterio.open(SAMPLES / "river_ms.tif") as sample:
        names = sample.descriptions[:6]
    spec = random_spec(names, classes=4, width=32, depth=4)
    return str(random_bundle(folder / "random32.geounet", spec))


def describe(spec: ModelSpec) -> str:
    """One line on the network."""
    return f"{spec.arch.name}, width {spec.arch.width}, depth {spec.arch.depth}"


PARTS: dict[str, tuple[Any, int, int]] = {
    "exactness": (exactness, 3072, 512),
    "memory": (memory, 4096, 512),
    "speed": (speed, 4096, 512),
    "engines": (engines, 2048, 512),
    "cog": (cog, 8192, 1024),
}
"""What measures a part, and the side of its scene, in full and with --quick."""


def measured(part: str, model: str, folder: Path, args: argparse.Namespace) -> str:
    """A part as Markdown."""
    measure, size, small = PARTS[part]
    more: dict[str, Any] = {"int8": args.int8} if part == "engines" else {}
    if part == "memory":
        more["heights"] = (512, 1024) if args.quick else args.heights
    elif part != "exactness":
        more["runs"] = args.runs
    with contextlib.redirect_stdout(io.StringIO()) as text:
        measure(model, folder, args.size or (small if args.quick else size), **more)
    return text.getvalue()


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--model", default="water-ms")
    parser.add_argument("--runs", type=int, help="of speed, engines and cog (default: 5)")
    parser.add_argument("--size", type=int, help="side in pixels (width, for memory)")
    parser.add_argument("--heights", type=int, nargs="+", default=HEIGHTS, help="for memory")
    parser.add_argument("--folder", type=Path, help="where scenes are made (default: temporary)")
    parser.add_argument("--int8", type=Path, help="MODEL as geounet models quantize made it")
    parser.add_argument("--quick", action="store_true", help="small scenes, one run: a trial")
    parser.add_argument("--keep", type=Path, help="folder of finished parts, which are not redone")
    args = parser.parse_args()
    args.runs = args.runs or (1 if args.quick else 5)
    return args


def told(part: str, args: argparse.Namespace) -> str:
    """What a kept part depends on, beside the code."""
    parts = [Path(args.model).stem, args.size, args.runs, "quick" if args.quick else "full"]
    parts += args.heights if part == "memory" else []
    parts += [args.int8.stem] if part == "engines" and args.int8 else []
    return "-".join(map(str, parts))


def main() -> None:
    """Run what was asked for, or all."""
    args = parse()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        model = random_model(Path(folder)) if args.model == "random32" else args.model
        print(f"{args.model}: {describe(load_model(model).spec)}", flush=True)
        for part in args.parts or PARTS:
            kept = None if args.keep is None else args.keep / f"{part}-{told(part, args)}.md"
            if kept is not None and kept.exists():
                text = kept.read_text(encoding="utf-8")
            else:
                text = measured(part, model, Path(folder), args)
                if kept is not None:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_text(text, encoding="utf-8")
            print(text, end="", flush=True)


if __name__ == "__main__":
    main()
