"""What a layer of polygons looks like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError
from geounet.polygonize.batch import PolygonBatch

CODE = "class"
"""The column of class codes."""

NAME = "name"
"""The column of class names, which writers make from the codes; it follows the codes."""

DTYPES = tuple(np.dtype(t) for t in (np.bool_, np.int32, np.int64, np.float64))
"""What a column may hold; every format has these."""

_RESERVED = (NAME, "fid", "geom", "geometry", "bbox")
_MOST_COLUMNS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonLayout:
    """Name, CRS, style and columns of a layer."""

    name: str
    """Layer name, see :func:`layer_name`."""
    columns: tuple[tuple[str, np.dtype[Any]], ...]
    """Name and type of each column of the batches, in order; types as in ``DTYPES``."""
    names: Mapping[int, str] | None = None
    """Class code -> name, for the column ``name``; a code that is missing is its own name.
    None: there is no such column."""
    crs: str | None = None
    """WKT; None: no CRS."""
    style: str | None = None
    """QGIS style (QML) that QGIS applies unasked, where the format can hold one."""
    geometry_type: Literal["Polygon", "MultiPolygon"] = "Polygon"
    """The type of every geometry."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple((n, np.dtype(t)) for n, t in self.columns))
        for name, dtype in self.columns:
            if dtype not in DTYPES:
                raise OptionError(
                    f"column {name!r} holds {dtype}: columns hold {', '.join(map(str, DTYPES))}"
                )
        self._check_names()
        if self.geometry_type not in ("Polygon", "MultiPolygon"):
            raise OptionError(
                f"geometry type {self.geometry_type!r}: layers hold Polygon or MultiPolygon"
            )

    def _check_names(self) -> None:
        names = [name.lower() for name, _ in self.columns]  # SQL takes no notice of case
        if len(set(names)) != len(names) or set(names) & set(_RESERVED) or "" in names:
            raise OptionError(
                f"columns {[n for n, _ in self.columns]}: names differ, and none is"
                f" {' or '.join(_RESERVED)}"
            )
        if len(names) > _MOST_COLUMNS:
            raise OptionError(f"{len(names)} columns: a layer has at most {_MOST_COLUMNS}")
        if self.names is not None and dict(self.columns).get(CODE) not in DTYPES[1:3]:
            raise OptionError(
                f"class names need a column {CODE!r} of integers; there is"
                f" {[f'{n} {t}' for n, t in self.columns]}"
            )

    @property
    def fields(self) -> tuple[tuple[str, np.dtype[Any] | None], ...]:
        """Name and type of each column of the file; None is text."""
        out: list[tuple[str, np.dtype[Any] | None]] = []
        for name, dtype in self.columns:
            out.append((name, dtype))
            if name == CODE and self.names is not None:
                out.append((NAME, None))
        return tuple(out)

    def words(self, codes: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
        """The column ``name`` of these codes: for each the index of its name, and the names."""
        known = dict(sorted((self.names or {}).items()))
        order = np.array(list(known), np.int64)
        index = np.searchsorted(order, codes)
        found = np.append(order, 0)[index] == codes
        missing = ~found | (index == len(order))
        words = list(known.values())
        if missing.any():
            others, place = np.unique(codes[missing], return_inverse=True)
            index[missing] = len(words) + place
            words += [str(code) for code in others.tolist()]
        return index.astype(np.int64, copy=False), words

    def check(self, batch: PolygonBatch) -> None:
        """Refuse a batch that is not of this layout: compiled code would read past its end.

        Raises:
            OptionError: Its arrays are not as long as they should be, or of another type.
        """
        offsets, wkb = batch.offsets, batch.wkb
        for what, array, dtype in (("wkb", wkb, np.uint8), ("offsets", offsets, np.int64)):
            if array.dtype != dtype or array.ndim != 1:
                raise OptionError(
                    f"{what} of shape {array.shape} and type {array.dtype} must be one row of"
                    f" {np.dtype(dtype)}"
                )
        if not len(offsets) or (offsets[0], offsets[-1]) != (0, len(wkb)) or _falls(offsets):
            raise OptionError(
                f"offsets of {len(offsets) - 1} polygons must rise from 0 to the {len(wkb)} bytes"
                " of wkb"
            )
        if batch.boxes is not None and batch.boxes.shape != (len(batch), 4):
            raise OptionError(f"boxes of shape {batch.boxes.shape} must be ({len(batch)}, 4)")
        found = [(name, values.dtype, values.shape) for name, values in batch.columns.items()]
        wanted = [(name, dtype, (len(batch),)) for name, dtype in self.columns]
        if found != wanted:
            raise OptionError(
                f"a batch of {len(batch)} polygons has the columns {_told(found)}; the layer has"
                f" {_told(wanted)}"
            )


def layer_name(stem: str) -> str:
    """A name that GeoPackage allows, from the name of a file.

    GDAL refuses names that begin with ``gpkg`` or with punctuation, SQLite those that begin with
    ``sqlite_``; the styles have a table of their own.
    """
    reserved = stem.lower().startswith(("gpkg", "sqlite_")) or stem.lower() == "layer_styles"
    return f"classes_{stem}" if reserved or not re.match(r"\w", stem) else stem


def _falls(offsets: NDArray[np.int64]) -> bool:
    return bool((offsets[1:] < offsets[:-1]).any())


def _told(columns: Sequence[tuple[str, Any, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {dtype} {shape}" for name, dtype, shape in columns) or "none"
