"""``geounet batch``: many scenes, or very large ones, on the workers of a Dask cluster."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from geounet_cli.bar import PixelBar
from geounet_cli.exits import EXIT_FAILED
from geounet_cli.reading import add_reading, reading
from geounet_cli.shared import add_computing, add_confidence, add_reporting, add_shapes

if TYPE_CHECKING:
    from geounet.batch import BatchOptions, BatchReport

_EPILOG = """\
Each scene becomes what geounet segment makes of it, byte for byte, as DIR/SCENE.MODEL.tif, .gpkg
and so on. Large scenes are cut into bands of rows, which all workers compute. What is computed
waits in hidden folders in DIR: whatever dies, the same command goes on, and skips the scenes that
are done. DIR/manifest.jsonl has a line for each band and each scene: state, seconds, worker, hashes
of model and input, error.

A scene that still fails after --max-retries is left out, and named on stderr and in the manifest;
the exit code is then 1. It is 2 where nothing was begun, or all workers were lost.

Bands are whole rows of tiles: where a cluster has more workers than a scene has rows of them, a
smaller --tile gives each worker one, at some cost in halos. Only the order of polygons in the file
depends on it, where tiles are exact.

Workers of --scheduler need the same geounet, and the same paths for scenes, models and DIR. DIR may
be a bucket: s3://bucket/prefix with s3fs installed, gs:// with gcsfs, az:// with adlfs; each worker
then needs credentials. --mosaic is then the name of an object there.

examples:
  geounet batch 'scenes/*.tif' -o maps
  geounet batch @scenes.txt -o maps -m water-ms      a scene a line, or its single-band files
  geounet batch items.json -o maps -m water-ms --mosaic all.tif --stac
  geounet batch huge.vrt -o maps --scheduler tcp://10.0.0.7:8786
  geounet batch huge.vrt -o s3://bucket/maps --scheduler tcp://10.0.0.7:8786
  geounet batch 'scenes/*.tif' -o maps --device cuda one worker a GPU
"""


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "batch",
        help="segment many scenes, or very large ones, on all cores or a Dask cluster",
        description="Segment many scenes, or very large ones, on a Dask cluster: of local workers,"
        " or of a scheduler's.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "scenes",
        nargs="+",
        metavar="SCENES",
        help="paths, URLs, globs in quotes, lists of scenes (.txt, or @ before any name), and STAC"
        " items or item collections (.json)",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="DIR",
        required=True,
        help="folder of the outputs, which all workers see, made if it is not there; or a bucket,"
        " as in s3://bucket/prefix, gs:// or az://",
    )
    parser.add_argument(
        "-m",
        "--model",
        help="bundled model, .geounet or .onnx file (default: the one whose bands fit, for each"
        " scene)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes here, which share the cores (default: one a GPU with --device cuda, else"
        " one a core, as many as have 2 GB of memory each)",
    )
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="dask.distributed scheduler whose workers to use, as in tcp://10.0.0.7:8786",
    )
    parser.add_argument(
        "--max-retries",
        type=int,
        default=2,
        metavar="N",
        help="how often a task that fails, or whose worker dies, is tried again (default: 2)",
    )
    polygons = parser.add_mutually_exclusive_group()
    polygons.add_argument(
        "--polygons",
        default="gpkg",
        metavar="FORMAT",
        help="of the polygons: gpkg, fgb, parquet or geojson (default: gpkg)",
    )
    polygons.add_argument("--no-polygons", action="store_true", help="write no polygons")
    parser.add_argument(
        "--mosaic",
        metavar="OUT.tif",
        help="also put all class maps together, as geounet mosaic does, when no scene has failed",
    )
    parser.add_argument(
        "--stac",
        action="store_true",
        help="also write a STAC item beside each class map, and a collection of them",
    )
    add_shapes(parser)
    add_confidence(parser, "the class map's name with .confidence.tif")
    add_reading(parser)
    add_computing(parser)
    add_reporting(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from geounet.batch import failure, read_scenes, run_batch
    from geounet_cli.quiet import silence_libtiff

    silence_libtiff()
    options = _options(args)
    with PixelBar(quiet=args.quiet) as bar:
        report = run_batch(
            read_scenes(args.scenes, model=args.model, warn=bar.say),
            options,
            say=bar.say,
            progress=bar,
        )
    if args.quiet:
        for name, why in report.failed.items():
            print(f"geounet: {failure(name, why)}", file=sys.stderr)
    if args.json:
        print(report.to_json())
    elif not args.quiet:
        print(summary(report))
    return EXIT_FAILED if report.failed else 0


def _options(args: argparse.Namespace) -> BatchOptions:
    from geounet.batch import BatchOptions, folder_of, mosaic_of
    from geounet.options import SegmentOptions

    folder = folder_of(args.out)
    return BatchOptions(
        folder=folder,
        segment=SegmentOptions(
            model=args.model,
            polygons=not args.no_polygons,
            simplify=args.simplify,
            smooth=args.smooth,
            confidence=args.confidence,
            reading=reading(args),
            aoi=args.aoi,
            tile=args.tile,
            engine=args.engine,
            device=args.device,
            precision=args.precision,
            overwrite=args.overwrite,
        ),
        polygons=f".{args.polygons.lower().lstrip('.')}",
        workers=args.workers,
        scheduler=args.scheduler,
        mosaic=None if args.mosaic is None else mosaic_of(args.mosaic, folder),
        stac=args.stac,
        max_retries=args.max_retries,
    )


def summary(report: BatchReport) -> str:
    """The result for a person."""
    lines = [f"{path}" for path in (*report.done, report.mosaic) if path is not None]
    if report.kept:
        lines.append(f"{len(report.kept)} done by an earlier run")
    counts = f"{len(report.done)} done"
    if report.failed:
        counts += f", {len(report.failed)} failed (see {report.manifest})"
    lines.append(
        f"{counts}: {report.pixels / 1e6:.2f} Mpx in {report.seconds:.1f} s"
        f" ({report.mpx_per_s:.2f} Mpx/s)"
    )
    return "\n".join(lines)
