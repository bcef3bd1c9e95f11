"""``geounet polygonize``: a class map to a layer of polygons."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geounet.polygonization import PolygonizeReport

_EPILOG = """\
Polygons are joined over the whole raster; neighbours share their borders, simplified and smoothed
ones too, and leave no gap and no overlap. Memory does not depend on the height of the raster.

Of a raster in degrees that runs over the antimeridian, polygons are cut there (along the nearest
edge of pixels) into MultiPolygons between -180 and 180 degrees; perimeters do not count the cut.
Pixels are those of the raster whatever becomes of borders; area and perimeter of smoothed polygons
are their own.

examples:
  geounet polygonize classes.tif classes.gpkg
  geounet polygonize classes.tif water.parquet --classes water --by-object
  geounet polygonize classes.tif classes.fgb --simplify 1.5      borders move by 1.5 pixels at most
  geounet polygonize classes.tif clean.gpkg --min-area 5000 --max-hole 5000
  geounet polygonize classes.tif map.gpkg --smooth               without the stairs of the pixels
  geounet polygonize labels.tif fields.geojson --simplify 20m    or by 20 metres
"""

_KM2 = 10_000.0
"""Square metres that are at least one in the second digit of square kilometres."""


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "polygonize",
        help="turn a class map into a layer of polygons",
        description="Turn a raster of class codes (any whole numbers) into a layer of polygons,"
        " with class, name, pixels, area, perimeter, and the colours of the raster's classes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "raster", metavar="CLASSES", help="class map: GeoTIFF or any raster, /vsi path or URL"
    )
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="layer: .gpkg, .fgb, .parquet or .geojson"
    )
    parser.add_argument(
        "--simplify",
        metavar="PX|M",
        help="let borders move by so many pixels (1.5) or metres (20m), shared ones together",
    )
    parser.add_argument(
        "--smooth",
        action="store_true",
        help="let borders run smoothly instead of along the edges of pixels: less than half a pixel"
        " from them, so that each pixel's centre stays in its polygon; areas are kept; after"
        " --simplify, corners are rounded instead",
    )
    parser.add_argument(
        "--min-area",
        type=float,
        default=0.0,
        metavar="M2",
        help="what is smaller takes the class of its largest neighbour, so no gap is left; what"
        " has only nodata around it is dropped (square metres; pixels without a CRS)",
    )
    parser.add_argument(
        "--max-hole",
        type=float,
        default=0.0,
        metavar="M2",
        help="holes up to this size are filled, with all that is in them",
    )
    parser.add_argument(
        "--connectivity",
        type=int,
        choices=(4, 8),
        default=4,
        help="8: pixels that touch at a corner belong together, in MultiPolygons (default: 4)",
    )
    parser.add_argument(
        "--classes", metavar="NAME,...", help="names or codes of the classes wanted (default: all)"
    )
    parser.add_argument(
        "--confidence",
        metavar="FILE",
        help="raster of 0 to 100 on the same grid, whose mean and minimum become columns",
    )
    parser.add_argument(
        "--by-object",
        action="store_true",
        help="number the polygons, with centroid and bounding box, for counting",
    )
    parser.add_argument("--band", type=int, metavar="N", help="which band has the codes, from 1")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="cores to trace with (default: all)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    parser.add_argument("--json", action="store_true", help="print a last line of JSON on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from geounet.polygonization import PolygonizeOptions, polygonize_raster
    from geounet_cli.bar import PixelBar

    options = PolygonizeOptions(
        simplify=args.simplify,
        smooth=args.smooth,
        min_area=args.min_area,
        max_hole=args.max_hole,
        diagonal=args.connectivity == 8,
        classes=[one.strip() for one in (args.classes or "").split(",") if one.strip()],
        confidence=args.confidence,
        objects=args.by_object,
        band=args.band,
        threads=args.threads,
        overwrite=args.overwrite,
    )
    with PixelBar(quiet=args.quiet) as bar:
        report = polygonize_raster(
            args.raster, args.out, options, say=bar.say, warn=bar.say, progress=bar
        )
    if args.json:
        print(report.to_json())
    elif not args.quiet:
        print(summary(report))
    return 0


def summary(report: PolygonizeReport) -> str:
    """The result for a person."""
    lines = [f"{report.layer}"]
    width = max((len(name) for name in report.classes), default=0)
    least = min((total.area_m2 or 0.0 for total in report.classes.values()), default=0.0)
    size, unit = (1e6, "km2") if least >= _KM2 else (1.0, "m2")
    for name, total in report.classes.items():
        area = "" if total.area_m2 is None else f"  {total.area_m2 / size:16,.2f} {unit}"
        lines.append(f"  {name:<{width}} {total.polygons:10,} polygons{area}")
    lines.append(
        f"{report.polygons:,} polygons of {report.pixels / 1e6:.2f} Mpx in {report.seconds:.1f} s"
        f" ({report.mpx_per_s:.1f} Mpx/s)"
    )
    return "\n".join(lines)
