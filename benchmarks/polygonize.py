"""Measures ``geounet polygonize`` beside what people use today.

    python benchmarks/polygonize.py [speed] [memory] [start] [--cases a,b,c,d] [--runs 5]

Every run is a process of its own, from the raster on disk to the layer on disk; runs of all
contenders are interleaved. Seconds are those of the processor, threads added up, without starting
Python and importing. Prints Markdown; see ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from scipy.ndimage import gaussian_filter

GRID = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
MIB = 1 << 20


def blobs(size: int, sigma: float) -> np.ndarray:
    """Labels 0 to 3: which of four smoothed noises is the largest."""
    rng = np.random.default_rng(0)
    best, labels = np.full((size, size), -np.inf, np.float32), np.zeros((size, size), np.uint8)
    for k in range(4):
        noise = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), sigma)
        labels[noise > best] = k
        best = np.maximum(best, noise)
    return labels


def real_map() -> np.ndarray:
    """A land-cover map of 8704 x 7168 px from ``GEOUNET_DATA``."""
    data = Path(os.environ.get("GEOUNET_DATA", "../shared/data"))
    with rasterio.open(data / "odd_rasters" / "rio_tiler" / "cog_cmap.tif") as dataset:
        return dataset.read(1)


CASES: dict[str, tuple[str, Callable[[], np.ndarray]]] = {
    "a": ("5000 x 5000, smooth blobs (sigma 8)", lambda: blobs(5000, 8)),
    "b": ("5000 x 5000, fine blobs (sigma 3)", lambda: blobs(5000, 3)),
    "c": (
        "1000 x 1000, random",
        lambda: np.random.default_rng(0).integers(0, 4, (1000, 1000)).astype(np.uint8),
    ),
    "d": ("5000 x 5000 of a land-cover map", lambda: real_map()[1000:6000, 1000:6000]),
    "whole": ("8704 x 7168, that whole map", real_map),
    "large": ("10000 x 10000, smooth blobs, four times", lambda: np.tile(blobs(5000, 8), (2, 2))),
}


def ours(raster: str, out: str, **options: Any) -> int:
    """``geounet polygonize``."""
    from geounet.polygonization import PolygonizeOptions, polygonize_raster

    return polygonize_raster(raster, out, PolygonizeOptions(**options)).polygons


def traced(raster: str, _out: str, **options: Any) -> int:
    """Tracing, rings and WKB alone, from memory, the raster's bytes being read first."""
    from odc.geo.geobox import GeoBox

    from geounet.polygonize import StripPolygonizer, Tracing

    with rasterio.open(raster) as dataset:
        labels = dataset.read(1)
    tracer = StripPolygonizer(
        Tracing(geobox=GeoBox(labels.shape, GRID["transform"], None), nodata=None, **options)
    )
    _Clock.start()
    strips = range(0, len(labels), 512)
    found = sum(len(part) for row in strips for part in tracer.parts(labels[row : row + 512]))
    return found + sum(map(len, tracer.last_parts()))


def chain(raster: str, out: str) -> int:
    """rasterio.features.shapes, shapely, pyogrio."""
    import geopandas
    import rasterio.features
    from shapely.geometry import shape

    with rasterio.open(raster) as dataset:
        found = [
            (shape(geometry), value)
            for geometry, value in rasterio.features.shapes(
                dataset.read(1), transform=dataset.transform
            )
        ]
    frame = geopandas.GeoDataFrame(
        {"class": [value for _, value in found]}, geometry=[g for g, _ in found], crs=GRID["crs"]
    )
    frame.to_file(out, driver="GPKG", engine="pyogrio")
    return len(frame)


def spatial(raster: str, out: str) -> int:
    """xarray-spatial's polygonize, then GeoPackage as in the chain."""
    import xarray
    from xrspatial.experimental.polygonize import polygonize

    with rasterio.open(raster) as dataset:
        array = xarray.DataArray(dataset.read(1).astype(np.int32), dims=("y", "x"))
        frame = polygonize(
            array, transform=np.array(dataset.transform[:6]), return_type="geopandas"
        )
    frame.set_crs(GRID["crs"]).to_file(out, driver="GPKG", engine="pyogrio")
    return len(frame)


def gdal(raster: str, out: str) -> int:
    """GDAL's own program."""
    subprocess.run(
        [shutil.which("gdal_polygonize.py") or "", "-q", raster, "-of", "GPKG", out],
        check=True,
        capture_output=True,
    )
    return -1


CONTENDERS: dict[str, tuple[Callable[..., int], str, dict[str, Any]]] = {
    "tracing, rings and WKB in memory": (traced, "", {}),
    "to GeoPackage": (ours, ".gpkg", {"threads": 1}),
    "to GeoPackage, two threads": (ours, ".gpkg", {"threads": 2}),
    "to FlatGeobuf": (ours, ".fgb", {"threads": 1}),
    "to GeoParquet": (ours, ".parquet", {"threads": 1}),
    "simplified by 1.5 px, to GeoPackage": (ours, ".gpkg", {"threads": 1, "simplify": 1.5}),
    "smoothed, to GeoPackage": (ours, ".gpkg", {"threads": 1, "smooth": True}),
    "rasterio.features.shapes, shapely, GeoPackage": (chain, ".gpkg", {}),
    "xarray-spatial, GeoPackage": (spatial, ".gpkg", {}),
    "gdal_polygonize.py, GeoPackage": (gdal, ".gpkg", {}),
}
MEASURED_MEMORY = (
    "to GeoPackage",
    "simplified by 1.5 px, to GeoPackage",
    "smoothed, to GeoPackage",
)
_LARGE = 2200
"""Side of a raster that is not small: for it, functions are compiled or loaded."""

CHAIN = "rasterio.features.shapes, shapely, GeoPackage"


class _Clock:
    """When the work of a child began."""

    wall = cpu = 0.0

    @classmethod
    def start(cls) -> None:
        """Now."""
        cls.wall, cls.cpu = time.perf_counter(), _cpu()


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak() -> int:
    """Largest resident memory of this process, KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _child(question: dict[str, Any]) -> None:
    import resource

    work, _, options = CONTENDERS[question["contender"]]
    small = question["folder"] + "/warm.tif"
    if question["warm"]:  # imports, and what was compiled before is loaded
        suffix = Path(question["out"]).suffix
        work(small, f"{question['folder']}/warm{suffix}", **_allowing(work, options))
    before = _peak()
    _Clock.start()
    found = work(question["raster"], question["out"], **_allowing(work, options))
    wall, cpu = time.perf_counter() - _Clock.wall, _cpu() - _Clock.cpu
    # of programs that it started, too; its own alone is not inherited from the process before it
    peak = max(_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    out = Path(question["out"])
    answer = {"polygons": found, "wall": wall, "cpu": cpu, "peak": peak, "before": before}
    answer["all_cpu"] = _cpu()
    print(json.dumps(answer | {"bytes": out.stat().st_size if out.exists() else 0}))


def _allowing(work: Callable[..., int], options: dict[str, Any]) -> dict[str, Any]:
    return options | ({"overwrite": True} if work is ours else {})


def _run(
    contender: str,
    raster: Path,
    folder: Path,
    *,
    warm: bool = True,
    env: dict[str, str] | None = None,
) -> dict[str, Any]:
    out = folder / f"out{CONTENDERS[contender][1]}"
    out.unlink(missing_ok=True)
    question = {
        "contender": contender,
        "raster": str(raster),
        "out": str(out),
        "folder": str(folder),
        "warm": warm,
    }
    command = [sys.executable, __file__, "--child", json.dumps(question)]
    start = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
    )
    if done.returncode:
        raise RuntimeError(f"{contender}: {done.stderr[-800:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"whole": time.perf_counter() - start}


def _write(path: Path, labels: np.ndarray) -> None:
    height, width = labels.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8",
        tiled=True, blockxsize=512, blockysize=512, compress="DEFLATE", **GRID,
    ) as dataset:  # fmt: skip
        dataset.write(labels, 1)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "warm.tif", blobs(_LARGE, 8))
        yield folder


def _here(contender: str) -> bool:
    if contender.startswith("xarray"):
        return find_spec("xrspatial") is not None
    return not contender.startswith("gdal") or shutil.which("gdal_polygonize.py") is not None


def speed(cases: list[str], runs: int, without: list[str]) -> None:
    """Seconds of every contender on every case."""
    left_out = tuple(without) or ("-",)
    names = [name for name in CONTENDERS if _here(name) and not name.startswith(left_out)]
    for case in cases:
        title, make = CASES[case]
        with _folder() as folder:
            labels = make()
            raster = folder / "in.tif"
            _write(raster, labels)
            got: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
            for _ in range(runs):
                for name in names:
                    got[name].append(_run(name, raster, folder))
        print(f"\n## {case}: {title}, {got[CHAIN][0]['polygons']} polygons, {runs} runs\n")
        print("| what | CPU s | chain's CPU over it | Mpx/s (wall) | peak MiB | file MiB |")
        print("|---|---|---|---|---:|---:|")
        for name, found in got.items():
            cpu, wall = [one["cpu"] for one in found], [one["wall"] for one in found]
            ratio = [a["cpu"] / b["cpu"] for a, b in zip(got[CHAIN], found, strict=True)]
            rate = [labels.size / 1e6 / seconds for seconds in wall]
            peak = statistics.median(one["peak"] for one in found) / 1024
            size = found[0]["bytes"] / MIB
            print(
                f"| {name} | {_spread(cpu)} | {_spread(ratio, 1)} | {_spread(rate, 1)} |"
                f" {peak:.0f} | {size:.1f} |",
                flush=True,
            )


def memory(*_: Any) -> None:
    """Peak memory by height of the raster."""
    print("\n## Peak memory, 10000 px wide, smooth blobs repeated\n")
    print("| what | rows | polygons | peak MiB | Mpx/s |\n|---|---:|---:|---:|---:|")
    row = np.tile(blobs(5000, 8), (1, 2))
    with _folder() as folder:
        for height in (10_000, 100_000):
            raster = folder / "in.tif"
            with rasterio.open(
                raster, "w", driver="GTiff", height=height, width=10_000, count=1, dtype="uint8",
                tiled=True, blockxsize=512, blockysize=512, compress="DEFLATE", zlevel=1, **GRID,
            ) as dataset:  # fmt: skip
                for start in range(0, height, 5000):
                    window = rasterio.windows.Window(0, start, 10_000, 5000)
                    dataset.write(row, 1, window=window)
            for what in MEASURED_MEMORY:
                found = _run(what, raster, folder)
                rate, peak = height * 10_000 / 1e6 / found["wall"], found["peak"] / 1024
                print(
                    f"| {what} | {height} | {found['polygons']} | {peak:.0f} | {rate:.1f} |",
                    flush=True,
                )


def start(_cases: list[str], runs: int, *_: Any) -> None:
    """The first start of all and a later one: of a raster that is interpreted, and of a large one.

    The first start on a large one compiles.
    """
    print("\n## Whole process to GeoPackage, seconds\n")
    print("| pixels | start | s | CPU s |\n|---|---|---|---|")
    with _folder() as folder:
        _write(folder / "small.tif", blobs(512, 8))
        for name, side in (("small", 512), ("warm", _LARGE)):
            got: dict[str, list[dict[str, Any]]] = {"first": [], "later": []}
            for run in range(runs):
                for found in got.values():  # the later one finds what the first has left
                    env = {"NUMBA_CACHE_DIR": str(folder / f"cache-{name}-{run}")}
                    raster = folder / f"{name}.tif"
                    found.append(_run("to GeoPackage", raster, folder, warm=False, env=env))
            for what, found in got.items():
                whole, cpu = ([one[key] for one in found] for key in ("whole", "all_cpu"))
                print(
                    f"| {side} x {side} | {what} | {_spread(whole)} | {_spread(cpu)} |", flush=True
                )


def _spread(values: list[float], digits: int = 2) -> str:
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """Run what was asked for, or all."""
    parts = {"speed": speed, "memory": memory, "start": start}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="default: all")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--without", default="", help="contenders left out, by their first letters")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        _child(json.loads(args.child))
        return
    for name in args.parts or parts:
        parts[name](args.cases.split(","), args.runs, [w for w in args.without.split(",") if w])


if __name__ == "__main__":
    main()
