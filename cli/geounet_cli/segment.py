"""``geounet segment``: a scene to a class map and polygons."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geounet_cli.bar import PixelBar
from geounet_cli.reading import add_reading, reading
from geounet_cli.shared import add_computing, add_confidence, add_reporting, add_shapes

if TYPE_CHECKING:
    from geounet.report import SegmentReport

_EPILOG = (
    "Files of several resolutions meet on the finest grid, among the bands that the model needs,"
    " whose pixels are of a size that it was trained on (see geounet models show); if none is, on"
    " the finest, or on one with larger pixels made for it. Finer bands are averaged, coarser ones"
    " interpolated."
)

Verbs = Any  # argparse keeps the type of its subparsers private


def add_parser(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "segment",
        help="segment a scene into a class map and polygons",
        description="Segment a scene: a class map (GeoTIFF, COG) and polygons (GeoPackage), both"
        " with their QGIS style.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "scene",
        nargs="+",
        metavar="SCENE",
        help="GeoTIFF, COG, VRT, JPEG, PNG, netCDF, Zarr, /vsi path or URL; or several single-band"
        " files of one scene",
    )
    parser.add_argument(
        "-m",
        "--model",
        help="bundled model, .geounet or .onnx file (default: the one whose bands fit)",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="OUT.tif",
        help="class map (default: SCENE.MODEL.tif in the current folder)",
    )
    polygons = parser.add_mutually_exclusive_group()
    polygons.add_argument(
        "--polygons",
        type=Path,
        metavar="OUT.gpkg",
        help="polygon layer: .gpkg, .fgb, .parquet or .geojson (default: OUT.gpkg)",
    )
    polygons.add_argument("--no-polygons", action="store_true", help="write no polygons")
    add_shapes(parser)
    add_confidence(parser, "OUT.confidence.tif")
    add_reading(parser)
    add_computing(parser, ", or several GPUs: cuda:0,cuda:1")
    add_reporting(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from geounet.options import SegmentOptions
    from geounet.segmentation import run_segment
    from geounet_cli.quiet import silence_libtiff

    silence_libtiff()
    options = SegmentOptions(
        model=args.model,
        out=args.out,
        polygons=False if args.no_polygons else args.polygons or True,
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
    )
    source = args.scene if len(args.scene) > 1 else args.scene[0]
    with PixelBar(quiet=args.quiet) as bar:
        report = run_segment(source, options, say=bar.say, warn=bar.say, progress=bar)
    if not args.quiet and not args.json:
        print(summary(report))
    if args.json:
        print(report.to_json())
    return 0


def summary(report: SegmentReport) -> str:
    """The result for a person."""
    lines = [f"{report.raster}"]
    lines += [f"{path}" for path in (report.polygons, report.confidence) if path is not None]
    width = max(len(name) for name in report.classes)
    for name, total in report.classes.items():
        share = total.pixels / report.valid_pixels
        area = "" if total.area_m2 is None else f"  {total.area_m2 / 1e6:12,.2f} km2"
        lines.append(f"  {name:<{width}} {share:7.1%}{area}")
    lines.append(
        f"{report.pixels / 1e6:.2f} Mpx in {report.seconds:.1f} s ({report.mpx_per_s:.2f} Mpx/s,"
        f" {report.engine}, {report.device}, {report.precision})"
    )
    return "\n".join(lines)
