"""``geounet info``: what is in a scene, and which models can read it."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from geounet_cli.reading import add_reading, reading

if TYPE_CHECKING:
    from geounet.scene import SceneBand, SceneInfo, SceneReader


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "info",
        help="show a scene's grid, bands and nodata, and which models fit",
        description="Show a scene's grid, bands and nodata, and which bundled models fit, or why"
        " not.",
    )
    parser.add_argument("scene", nargs="+", metavar="SCENE", help="as for geounet segment")
    parser.add_argument(
        "-m", "--model", help="only this one: bundled model, .geounet or .onnx file"
    )
    add_reading(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from geounet.scene import open_scene

    scene = open_scene(args.scene if len(args.scene) > 1 else args.scene[0])
    try:
        bands = map(_band, enumerate(scene.info.bands, 1))
        lines = [*_header(scene.info), "bands:", *bands, "models:", *_models(scene, args)]
        print("\n".join(lines))
    finally:
        scene.close()
    return 0


def _header(info: SceneInfo) -> list[str]:
    grid = info.geobox
    affine = grid.affine
    crs = "none" if grid.crs is None else _crs_name(grid.crs)
    lines = [
        f"scene: {info.source}",
        f"size:  {info.width} x {info.height} px, blocks of {info.block[1]} x {info.block[0]}",
        f"CRS:   {crs}",
    ]
    if info.note:
        lines.append(f"files: {info.note}")
    if not info.georeferenced:
        return [*lines, "place: none: the outputs have none either"]
    return [*lines, f"pixel: {_pixel(grid)}, corner at {affine.c:.10g}, {affine.f:.10g}"]


def _crs_name(crs: Any) -> str:
    return f"EPSG:{crs.epsg} {crs.proj.name}" if crs.epsg else str(crs.proj.name)


def _pixel(grid: Any) -> str:
    """Width and height of a pixel in the CRS's unit, and in metres where that is another."""
    from geounet.area import pixel_size_m

    affine = grid.affine
    size = f"{math.hypot(affine.a, affine.d):.10g} x {math.hypot(affine.b, affine.e):.10g}"
    axes = [] if grid.crs is None else grid.crs.proj.axis_info
    unit = axes[0].unit_name if axes else ""
    metres = None if unit == "metre" else pixel_size_m(grid)
    about = "" if metres is None else f" (about {_length(metres)})"
    rotated = " (rotated)" if affine.b or affine.d else ""
    return f"{size} {unit}".rstrip() + about + rotated


def _length(metres: float) -> str:
    return f"{metres:.3g} m" if metres < 1000 else f"{metres / 1000:.3g} km"


def _band(numbered: tuple[int, SceneBand]) -> str:
    index, band = numbered
    plain = (band.scale, band.offset) == (1, 0)
    scaled = "" if plain else f", scale {band.scale:g} offset {band.offset:g}"
    nodata = "" if band.nodata is None else f", nodata {band.nodata:g}"
    alpha = ", alpha" if band.is_alpha else ""
    return f"  {index}  {band.name or '(no name)'}: {band.dtype}{scaled}{nodata}{alpha}"


def _models(scene: SceneReader, args: argparse.Namespace) -> list[str]:
    from geounet.choose import explain_models

    models = None if args.model is None else [args.model]
    verdicts = explain_models(scene, reading(args), models)
    return [f"  {name}: {verdict}" for name, verdict in verdicts.items()]
