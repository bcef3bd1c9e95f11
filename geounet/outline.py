"""The border of a grid, in the coordinates of another CRS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geounet.area import place
from geounet.errors import SceneError
from geounet.samegrid import crs_name, same_crs

TURN = 360.0
"""Degrees."""

_SAMPLES = 512
"""Points on each side. Between those of a side of 4000 km an arc rises by a metre or two."""


def outline(geobox: GeoBox, crs: CRS | None, source: str) -> NDArray[np.float64]:
    """Points (2, n) of the border of a grid, x and y, in a closed ring.

    Longitudes run on over the antimeridian (179, 180, 181), from those of the grid itself if it is
    in degrees. Around a pole the ring is the whole of its zone.

    Args:
        geobox: The grid.
        crs: Of the points; None: that of the grid.
        source: For messages.

    Raises:
        SceneError: The grid does not lie where the CRS has coordinates.
    """
    x, y = own = _ring(geobox)
    if crs is None or geobox.crs is None or same_crs(geobox.crs, crs):
        return own
    try:
        x, y = geobox.crs.transformer_to_crs(crs)(*own)
    except Exception as error:  # pyproj and odc-geo raise many kinds
        raise SceneError(
            f"{source} cannot be brought into {crs_name(crs)}: choose another --crs"
        ) from error
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise SceneError(
            f"{source} lies in part where {crs_name(crs)} has no coordinates: choose another --crs"
        )
    if not crs.geographic:
        return np.stack([x, y])
    ring = unrolled(x, y)
    if geobox.crs.geographic:
        ring[0] += TURN * np.round((own[0].mean() - ring[0].mean()) / TURN)
    return ring


def unrolled(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed ring (2, n) of longitudes and latitudes without a jump from 180 to -180.

    Around a pole it is the whole of its zone.
    """
    x = np.unwrap(x, period=TURN)
    return _zone(x, y) if abs(x[-1] - x[0]) > TURN / 2 else np.stack([x, y])


def bounds(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Left, bottom, right, top."""
    left, bottom = points.min(axis=1).tolist()
    right, top = points.max(axis=1).tolist()
    return left, bottom, right, top


def _ring(geobox: GeoBox) -> NDArray[np.float64]:
    height, width = geobox.shape
    along = np.linspace(0, 1, _SAMPLES, endpoint=False)
    none, whole = np.zeros(_SAMPLES), np.ones(_SAMPLES)
    col = np.concatenate([along, whole, 1 - along, none, [0.0]]) * width
    row = np.concatenate([none, along, whole, 1 - along, [0.0]]) * height
    return np.stack(place(geobox.affine, col, row))


def _zone(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """All around the pole that a ring goes round."""
    start, pole = min(x[0], x[-1]), 90.0 if y.mean() > 0 else -90.0
    far = y.min() if pole > 0 else y.max()
    return np.array([[start, start + TURN, start + TURN, start], [far, far, pole, pole]])
