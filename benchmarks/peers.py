"""``geounet segment`` beside other ways to map a large scene. Run by ``make bench-peers``.

    python benchmarks/peers.py [--size 2048] [--runs 5] [--width 32] [--threads 2] [--only NAME ...]
    python benchmarks/peers.py --tune           how the best settings were found: one run of each

Same weights, same scene, same machine: from a GeoTIFF on disk to a class map on disk, each run in a
process of its own (``contenders.py``), peers in an environment of their own. Prints Markdown. See
``benchmarks/README.md`` for how to read it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from contenders import CLASSES, HALO, Measured
from scenes import SAMPLES, make_scene

SAMPLE = "river_ms.tif"
BANDS = 6
HERE = Path(__file__).parent
PEERS = ("geoai", "terratorch", "monai", "torchgeo", "loop")
OURS = ("geounet-torch", "geounet-openvino")


@dataclass(frozen=True)
class Entry:
    """One row of the table."""

    name: str
    """As ``contenders.py`` calls it."""
    best: bool = False
    """With the settings that are best on a CPU."""

    @property
    def title(self) -> str:
        """As the table calls it."""
        if self.name in OURS:
            return self.name
        return f"{self.name}, {'best' if self.best else 'as it comes'}"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all runs share."""

    folder: Path
    scene: Path
    python: Path
    """Interpreter of the peers."""
    threads: int
    core: int
    batch: int

    @property
    def out(self) -> Path:
        """Where maps are written."""
        return self.folder / "map.tif"

    def run(self, entry: Entry) -> Measured:
        """Run one contender; its map lies at :attr:`out`.

        Raises:
            SystemExit: It failed; its last lines are printed.
        """
        ours = entry.name in OURS
        model = "m.geounet" if ours else "fast.pt" if entry.best else "plain.pt"
        options = {
            "scene": self.scene, "out": self.out, "model": self.folder / model,
            "core": self.core, "batch": self.batch,
        }  # fmt: skip
        command = [sys.executable if ours else str(self.python), HERE / "contenders.py", entry.name]
        command += [text for key, value in options.items() for text in (f"--{key}", str(value))]
        command += ["--best"] if entry.best else []
        self.out.unlink(missing_ok=True)
        environ = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if done.returncode or not self.out.exists():
            raise SystemExit(f"{entry.title} failed:\n" + "\n".join(done.stderr.splitlines()[-15:]))
        return Measured(**json.loads(done.stdout.splitlines()[-1]))


def export(folder: Path, width: int) -> None:
    """Write one random U-Net as a bundle, and as TorchScript from stored values to logits.

    ``plain.pt`` is the network as it was trained, ``fast.pt`` has batch norms folded into the
    convolutions and all in channels_last, as the torch engine of geounet.
    """
    import torch

    from geounet.bands import BandSpec, Normalizer
    from geounet.bundle import save_bundle
    from geounet.engine.torch import fold_batch_norm
    from geounet.testing.bundles import random_network, random_spec

    with rasterio.open(SAMPLES / SAMPLE) as source:
        data = source.read(range(1, BANDS + 1), masked=True) * source.scales[0]
        names, scales, nodata = source.descriptions[:BANDS], source.scales[:BANDS], source.nodata
    bands = tuple(
        BandSpec(name=name, mean=float(band.mean()), std=float(band.std()))
        for name, band in zip(names, data, strict=True)
    )
    spec = random_spec(names, classes=CLASSES, width=width, depth=4, unit="reflectance")
    spec = dataclasses.replace(spec, bands=bands, clip=(0.0, 1.0))
    network = random_network(spec)
    save_bundle(folder / "m.geounet", spec, network.state_dict())
    normalizer = Normalizer.of(bands, spec.clip, scales)
    example = torch.zeros(1, BANDS, 256, 256)
    for name, inner in (("plain", network), ("fast", fold_batch_norm(network))):
        layout = torch.channels_last if name == "fast" else torch.contiguous_format
        module = from_stored(inner.to(memory_format=layout), normalizer, nodata, layout).eval()
        with torch.no_grad():
            torch.jit.trace(module, example).save(str(folder / f"{name}.pt"))


def from_stored(network: object, normalizer: object, nodata: float, layout: object) -> object:
    """A module that normalises as geounet does, invalid pixels being the mean, then a network."""
    import torch

    low, high = normalizer.low, normalizer.high
    constants = {
        key: torch.from_numpy(getattr(normalizer, key)).reshape(1, -1, 1, 1)
        for key in ("scale", "offset", "mean", "std")
    }

    class FromStored(torch.nn.Module):
        """Stored values (batch, bands, height, width) to logits."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            for key, value in constants.items():
                self.register_buffer(key, value)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Logits (batch, classes, height, width)."""
            valid = (x != nodata).all(1, keepdim=True)
            x = ((x * self.scale + self.offset).clamp(low, high) - self.mean) / self.std
            x = torch.where(valid, x, torch.zeros((), dtype=x.dtype))
            return self.network(x.contiguous(memory_format=layout))

    return FromStored()


def prepare(args: argparse.Namespace, folder: Path) -> tuple[Bench, np.ndarray]:
    """Scene, weights, and the labels of one pass over the whole scene."""
    from segment import whole_scene

    export(folder, args.width)
    bench = Bench(
        folder=folder,
        scene=make_scene(folder / "scene.tif", SAMPLE, args.size, args.size, BANDS),
        python=args.python,
        threads=args.threads,
        core=args.core,
        batch=args.batch,
    )
    return bench, whole_scene(bench.scene, str(folder / "m.geounet"), "fp32")[0]


def agreement(out: Path, expected: np.ndarray) -> tuple[float, float]:
    """Share of valid pixels with the expected label: away from the scene's edges, and of all."""
    with rasterio.open(out) as dataset:
        same = dataset.read(1) == expected
    valid, inner = expected != 255, (slice(HALO, -HALO),) * 2
    return float(same[inner][valid[inner]].mean()), float(same[valid].mean())


def rounds(entries: Sequence[Entry], runs: int) -> Iterator[Entry]:
    """All contenders, and again in reverse, so that what drifts hits both ends alike."""
    for run in range(runs):
        yield from entries if run % 2 == 0 else reversed(entries)


def compare(bench: Bench, expected: np.ndarray, entries: Sequence[Entry], runs: int) -> None:
    """Measure all, interleaved, and print the tables."""
    found: dict[str, list[Measured]] = {entry.title: [] for entry in entries}
    same: dict[str, tuple[float, float]] = {}
    for entry in rounds(entries, runs):
        got = bench.run(entry)
        found[entry.title].append(got)
        same[entry.title] = agreement(bench.out, expected)
        line = {"contender": entry.title, **dataclasses.asdict(got), "same": same[entry.title]}
        print(json.dumps(line), file=sys.stderr, flush=True)
    print_rates(found, same, expected.size / 1e6)
    print_ratios(found)


def print_rates(
    found: dict[str, list[Measured]], same: dict[str, tuple[float, float]], mpx: float
) -> None:
    """What each took, and what came out."""
    columns = (
        "contender", "Mpx/s", "CPU s a Mpx", "time in the network", "pixels computed over written",
        "labels of one pass, inside", "all", "peak MB", "before the scene",
    )  # fmt: skip
    print("\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for title, each in found.items():
        inside, everywhere = same[title]
        print(
            f"| {title} | {spread([mpx / m.wall for m in each])}"
            f" | {spread([m.cpu / mpx for m in each])}"
            f" | {statistics.median(m.network / m.wall for m in each):.0%}"
            f" | {each[0].network_pixels / mpx / 1e6:.2f} | {inside:.4%} | {everywhere:.3%}"
            f" | {max(m.peak_mb for m in each):.0f} | {max(m.start_mb for m in each):.0f} |"
        )


def print_ratios(found: dict[str, list[Measured]]) -> None:
    """How many times as long as geounet each took, by runs of one round."""
    print("\n| it took | " + " | ".join(f"CPU over {t} | wall" for t in OURS) + " |")
    print("|---|" + "---|---|" * len(OURS))
    for title, each in found.items():
        cells = []
        for mine in OURS:
            pairs = list(zip(each, found[mine], strict=True))
            cells += [spread([a.cpu / b.cpu for a, b in pairs])]
            cells += [spread([a.wall / b.wall for a, b in pairs])]
        if title not in OURS:
            print(f"| {title} | " + " | ".join(cells) + " |")


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def tune(bench: Bench, expected: np.ndarray, names: Sequence[str]) -> None:
    """Peers with several tiles and minibatches, one run each."""
    print("\n| contender | core | tiles a pass | CPU s a Mpx | Mpx/s | labels, inside | peak MB |")
    print("|---|---|---|---|---|---|---|")
    size = len(expected)
    tries = [(core, batch) for core in (256, 512, 1024) for batch in (1, 4) if 2 * core <= size]
    for core, batch in tries:
        for name in names if batch == 1 else [n for n in names if n != "loop"]:  # one by one
            tuned = dataclasses.replace(bench, core=core, batch=batch)
            got, mpx = tuned.run(Entry(name, best=True)), expected.size / 1e6
            inside, _ = agreement(bench.out, expected)
            print(
                f"| {name} | {core} | {batch} | {got.cpu / mpx:.2f} | {mpx / got.wall:.2f}"
                f" | {inside:.4%} | {got.peak_mb:.0f} |",
                flush=True,
            )


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048, help="side of the scene in pixels")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--width", type=int, default=32, help="of the U-Net")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each contender")
    parser.add_argument("--core", type=int, default=1024, help="pixels a tile adds, at best")
    parser.add_argument("--batch", type=int, default=1, help="tiles a forward pass, at best")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=PEERS, help="peers to measure")
    parser.add_argument("--python", type=Path, default=Path(".venv-peers/bin/python"))
    parser.add_argument("--folder", type=Path, help="where scenes are made (default: temporary)")
    parser.add_argument("--tune", action="store_true", help="try tiles and minibatches of peers")
    args = parser.parse_args()
    if args.size < 512 or args.size % 16:
        parser.error(f"--size {args.size}: give a multiple of 16, 512 at least")
    if args.core < 2 * HALO or args.core % 16:
        parser.error(f"--core {args.core}: give a multiple of 16, {2 * HALO} at least")
    if not args.python.exists():
        parser.error(f"{args.python} is not there: run `make bench-peers`, or give --python")
    return args


def main() -> None:
    """Measure."""
    args = parse()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        bench, expected = prepare(args, Path(folder))
        print(f"U-Net, width {args.width}, {args.size} x {args.size}, threads: {args.threads}")
        if args.tune:
            tune(bench, expected, args.only)
            return
        best = f"cores of {args.core} px, minibatches of {args.batch}"
        print(f"{args.runs} interleaved runs; at best: {best}", flush=True)
        ours = [Entry(name) for name in OURS]
        peers = [Entry(name, best=best) for best in (True, False) for name in args.only]
        compare(bench, expected, [*ours, *peers], args.runs)


if __name__ == "__main__":
    main()
