"""Class maps that tests put together, and what must come out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasters import write
from scipy.ndimage import distance_transform_edt

from geounet.classes import NODATA, ClassDef, ClassScheme
from geounet.outputs import classes_json

SCHEME = ClassScheme(
    classes=tuple(
        ClassDef(code=code, name=name, color=color)
        for code, name, color in (
            (0, "land", "#d9d2c3"),
            (1, "water", "#1f78b4"),
            (7, "ice", "#ffffff"),
        )
    )
)


def save(path: Path, labels: NDArray[np.uint8], scheme: ClassScheme = SCHEME, **options) -> Path:
    """A class map as geounet writes it, but for its layout."""
    tags = {"GEOUNET_CLASSES": classes_json(scheme), **options.pop("tags", {})}
    return write(path, labels, nodata=NODATA, tags=tags, **options)


def expected(layers: Sequence[NDArray[np.uint8]], square: float = 1.0) -> NDArray[np.uint8]:
    """The mosaic of maps on one grid, from whole arrays: SciPy's distances, the first of ties."""
    best = np.zeros(layers[0].shape)
    out = np.full(layers[0].shape, NODATA, np.uint8)
    for labels in layers:
        valid = np.pad(labels != NODATA, 1)
        away = distance_transform_edt(valid, sampling=(square**0.5, 1))[1:-1, 1:-1]
        away = np.round(away**2, 6)  # SciPy takes the root: whole numbers again
        out = np.where(away > best, labels, out)
        best = np.maximum(away, best)
    return out
