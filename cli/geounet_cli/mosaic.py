"""``geounet mosaic``: class maps that overlap to one map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geounet_cli.shared import add_reporting, add_shapes

if TYPE_CHECKING:
    from geounet.mosaic import MosaicReport

_EPILOG = """\
Where maps overlap, a pixel has the class of the map in which it is farther from the edge of what
is valid there; a valid pixel always beats nodata, and of equally far ones the first map's is taken.
Classes are never mixed: maps on the pixels of the mosaic are copied, others have the nearest pixel.
Without --grid, --crs and --resolution it has the CRS of most maps, the finest resolution of any and
the extent of all. Memory does not depend on the height of the mosaic.

examples:
  geounet mosaic a.water-ms.tif b.water-ms.tif -o river.tif
  geounet mosaic maps/*.tif -o country.tif --polygons country.fgb --crs 3035 --resolution 10
  geounet mosaic maps/*.tif -o part.tif --grid scene.tif
"""


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "mosaic",
        help="put class maps that overlap together on one grid",
        description="Put class maps that overlap, of one CRS or several, together on one grid:"
        " a class map (GeoTIFF, COG) with its QGIS style and, if asked, polygons.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "maps", nargs="+", metavar="CLASSES", help="class maps as geounet segment writes them"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.tif", help="the mosaic"
    )
    parser.add_argument(
        "--polygons",
        type=Path,
        metavar="OUT.gpkg",
        help="also a polygon layer: .gpkg, .fgb, .parquet or .geojson",
    )
    add_shapes(parser)
    parser.add_argument("--grid", metavar="FILE", help="a raster whose grid the mosaic gets")
    parser.add_argument("--crs", metavar="EPSG", help="CRS of the mosaic, e.g. 3035")
    parser.add_argument(
        "--resolution", type=float, metavar="R", help="side of a pixel in units of the CRS"
    )
    parser.add_argument("--stac", action="store_true", help="also a STAC item, OUT.json")
    add_reporting(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from geounet.mosaic import GridChoice, MosaicOptions, mosaic_maps
    from geounet_cli.bar import PixelBar
    from geounet_cli.quiet import silence_libtiff

    silence_libtiff()
    options = MosaicOptions(
        grid=GridChoice(like=args.grid, crs=args.crs, resolution=args.resolution),
        polygons=args.polygons or False,
        simplify=args.simplify,
        smooth=args.smooth,
        stac=args.stac,
        overwrite=args.overwrite,
    )
    with PixelBar(quiet=args.quiet) as bar:
        report = mosaic_maps(args.maps, args.out, options, say=bar.say, progress=bar)
    if args.json:
        print(report.to_json())
    elif not args.quiet:
        print(summary(report))
    return 0


def summary(report: MosaicReport) -> str:
    """The result for a person."""
    lines = [
        f"{path}" for path in (report.raster, report.polygons, report.item) if path is not None
    ]
    width = max(len(name) for name in report.classes)
    for name, total in report.classes.items():
        share = total.pixels / report.valid_pixels
        area = "" if total.area_m2 is None else f"  {total.area_m2 / 1e6:12,.2f} km2"
        lines.append(f"  {name:<{width}} {share:7.1%}{area}")
    lines.append(
        f"{report.maps} maps, {report.pixels / 1e6:.2f} Mpx in {report.seconds:.1f} s"
        f" ({report.mpx_per_s:.1f} Mpx/s)"
    )
    return "\n".join(lines)
