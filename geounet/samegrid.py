"""Whether two rasters lie pixel on pixel."""

from __future__ import annotations

import math
import shlex

from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geounet.errors import SceneError
from geounet.scene import SceneInfo

GRID_TOLERANCE = 0.01
"""Largest distance, in pixels, between the corners of two grids that count as the same."""


def check_same_grid(pred: SceneInfo, labels: SceneInfo) -> None:
    """Refuse rasters that do not lie pixel on pixel.

    Raises:
        SceneError: Which of shape, CRS and place differs, by how much, and how to mend it.
    """
    shapes = f"{labels.width} x {labels.height} pixels against {pred.width} x {pred.height}"
    if (labels.height, labels.width) != (pred.height, pred.width):
        raise SceneError(
            f"the grids differ: {labels.source} has {shapes} of {pred.source}:"
            f" {_warp(pred, labels)}"
        )
    if not (pred.georeferenced and labels.georeferenced):
        return  # nothing to compare; equal shapes must do
    ours, theirs = pred.geobox.crs, labels.geobox.crs
    if ours is not None and theirs is not None and not same_crs(ours, theirs):
        raise SceneError(
            f"the grids differ: {labels.source} is in {crs_name(theirs)}, {pred.source}"
            f" in {crs_name(ours)}: {_warp(pred, labels)}"
        )
    shift = _largest_shift(pred.geobox, labels.geobox)
    if shift > GRID_TOLERANCE:
        raise SceneError(
            f"the grids differ: {labels.source} lies up to {shift:.3g} pixels from {pred.source}"
            f" (pixel size {_pixel(labels.geobox)} against {_pixel(pred.geobox)}, corner"
            f" {_corner(labels.geobox)} against {_corner(pred.geobox)}): {_warp(pred, labels)}"
        )


def same_crs(one: CRS, other: CRS) -> bool:
    """Whether two are one, whatever the order of their axes."""
    return one == other or one.proj.equals(other.proj, ignore_axis_order=True)


def crs_name(crs: CRS) -> str:
    """``EPSG:32633``, or what it is called where it has no code."""
    return f"EPSG:{crs.epsg}" if crs.epsg else str(crs.proj.name)


def _largest_shift(one: GeoBox, other: GeoBox) -> float:
    """Largest distance between corners of the same name, in pixels of the first grid."""
    height, width = one.shape
    into = ~one.affine @ other.affine
    corners = [(x, y) for x in (0, width) for y in (0, height)]
    return max(math.dist(into @ corner, corner) for corner in corners)


def _pixel(grid: GeoBox) -> str:
    return f"{math.hypot(grid.affine.a, grid.affine.d):.10g}"


def _corner(grid: GeoBox) -> str:
    return f"{grid.affine.c:.10g}, {grid.affine.f:.10g}"


def _warp(pred: SceneInfo, labels: SceneInfo) -> str:
    """How to bring the labels onto the grid of the prediction, as a command where there is one."""
    grid = pred.geobox
    rotated = grid.affine.b or grid.affine.d
    if not (pred.georeferenced and labels.georeferenced) or grid.crs is None or rotated:
        return f"cut or resample {labels.source} to the same pixels"
    box = grid.extent.boundingbox
    return (
        f"bring {labels.source} onto its grid with gdalwarp -r near"
        f"{f' -t_srs EPSG:{grid.crs.epsg}' if grid.crs.epsg else ''}"
        f" -te {box.left:.12g} {box.bottom:.12g} {box.right:.12g} {box.top:.12g}"
        f" -ts {pred.width} {pred.height} {shlex.quote(labels.source)} OUT.tif"
    )
