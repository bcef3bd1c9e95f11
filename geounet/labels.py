"""Labels as an array of xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox

from geounet.classes import NODATA
from geounet.scene import SceneReader, XarrayScene
from geounet.spec import ModelSpec

if TYPE_CHECKING:
    import xarray as xr

_SAME = 1e-6
"""Of a pixel: coordinates that differ by less are the same, rounded in another way."""


def labels_array(
    labels: Any, geobox: GeoBox, spec: ModelSpec, *, like: SceneReader
) -> xr.DataArray:
    """Labels with their place and what they mean.

    Args:
        labels: (height, width), uint8, in memory or in Dask's chunks.
        geobox: Their grid.
        spec: The model that they are of.
        like: The scene; of an :class:`~geounet.scene.XarrayScene` names and coordinates of y and x
            are kept to the last bit, so that xarray aligns scene and labels.

    Returns:
        (y, x) with CRS and nodata 255; ``attrs`` have codes, names and colours of the classes as
        ``flag_values``, ``flag_meanings`` (by the CF conventions) and ``flag_colors``.
    """
    from odc.geo.xr import wrap_xr

    array = like.array if isinstance(like, XarrayScene) else None
    dims: Any = None if array is None else array.dims[1:]
    out: xr.DataArray = wrap_xr(labels, geobox, nodata=NODATA, dims=dims)
    if array is not None:
        out = _with_coordinates_of(array, out)
    out.name = "class"
    classes = spec.classes
    return out.assign_attrs(
        model=spec.name,
        flag_values=list(classes.codes),
        flag_meanings=" ".join(name.replace(" ", "_") for name in classes.names),
        flag_colors=" ".join(c.color for c in classes),
    )


def _with_coordinates_of(array: xr.DataArray, labels: xr.DataArray) -> xr.DataArray:
    for dim in labels.dims:
        if dim not in array.coords:
            continue
        old, new = array.coords[dim].variable, labels.coords[dim].variable
        if np.abs(old.values - new.values).max() <= _SAME * np.abs(np.diff(new.values[:2])).sum():
            labels = labels.assign_coords({dim: old})
    return labels
