"""The codes of a raster, strip by strip, as they are traced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet import qgis
from geounet.classes import ClassDef
from geounet.errors import OptionError, SceneError
from geounet.legend import read_coloured
from geounet.outputs import shown_grid
from geounet.polygonize import OUTSIDE, PolygonLayout, Sieve, Tracing
from geounet.polygonize.tolerance import tolerance_of
from geounet.polygonoptions import PolygonizeOptions
from geounet.samegrid import check_same_grid
from geounet.scene import SceneInfo, SceneReader, open_scene
from geounet.window import Window

Strip = tuple[NDArray[Any], NDArray[np.uint8] | None]

STRIP_PIXELS = 4 << 20
"""Pixels that are read at once."""

_CODES = np.iinfo(np.int32)
_SURE = 100  # percent


class Codes:
    """The codes of a raster, strip by strip, and what is known of them."""

    def __init__(self, scene: SceneReader, options: PolygonizeOptions, stack: ExitStack) -> None:
        self._scene, self._options, info = scene, options, scene.info
        self._band = _band(info, options.band)
        self.legend, self._coloured = read_coloured(info.path or info.source, self._band)
        self._wanted = _wanted(options.classes, self.legend)
        self._confidence = None
        if options.confidence is not None:
            self._confidence = stack.enter_context(closing(open_scene(options.confidence)))
            check_same_grid(info, self._confidence.info)
        self.tracing = Tracing(
            geobox=shown_grid(info),
            nodata=OUTSIDE,
            simplify=tolerance_of(options.simplify, info.geobox),
            smooth=options.smooth,
            diagonal=options.diagonal,
            confidence=self._confidence is not None,
            objects=options.objects,
        )

    def layout(self, name: str) -> PolygonLayout:
        """Of the layer."""
        crs, tracing = self.tracing.geobox.crs, self.tracing
        return PolygonLayout(
            name=name,
            columns=tracing.columns,
            names={code: one.name for code, one in self.legend.items()} or None,
            crs=None if crs is None else crs.to_wkt(),
            style=self._style(),
            geometry_type="MultiPolygon" if tracing.multi else "Polygon",
        )

    def _style(self) -> str | None:
        """For QGIS; None: the raster has no colours."""
        if not self._coloured:
            return None
        return qgis.polygon_qml(self._coloured.values(), others=not self.legend)

    def strips(self) -> Iterator[Strip]:
        """What is traced: rows of labels, OUTSIDE where there is none, and of confidence."""
        options, tracing = self._options, self.tracing
        if not (options.min_area or options.max_hole):
            yield from self._read()
            return
        sieve = Sieve(
            geobox=tracing.geobox,
            nodata=OUTSIDE,
            min_area=options.min_area,
            max_hole=options.max_hole,
            diagonal=tracing.diagonal,
        )
        for labels, confidence in self._read():
            yield from sieve.add(labels, confidence)
        yield from sieve.rest()

    def _read(self) -> Iterator[Strip]:
        info = self._scene.info
        block = max(1, info.block[0])
        rows = max(1, STRIP_PIXELS // info.width // block) * block
        for row in range(0, info.height, rows):
            height = min(rows, info.height - row)
            window = Window(row_off=row, col_off=0, height=height, width=info.width)
            yield self._labels(window), self._confidences(window)

    def _labels(self, window: Window) -> NDArray[Any]:
        raster = self._scene.read(window, [self._band])
        data: NDArray[Any] = raster.data[0]
        if data.dtype.itemsize >= _CODES.dtype.itemsize:
            values = data[raster.valid]
            if values.size and not _CODES.min < values.min() <= values.max() <= _CODES.max:
                raise SceneError(
                    f"{self._scene.info.source} holds values from {values.min()} to"
                    f" {values.max()}; class codes are between {_CODES.min + 1} and {_CODES.max}"
                )
        kept = raster.valid if self._wanted is None else raster.valid & np.isin(data, self._wanted)
        if data.dtype.kind in "iu" and kept.all():
            return data
        labels: NDArray[np.int32] = data.astype(np.int32)
        labels[~kept] = OUTSIDE
        return labels

    def _confidences(self, window: Window) -> NDArray[np.uint8] | None:
        if self._confidence is None:
            return None
        raster = self._confidence.read(window, [1])
        values = raster.data[0][raster.valid]
        source, dtype = self._confidence.info.source, raster.data.dtype
        if dtype.kind not in "iu" or (
            values.size and not 0 <= values.min() <= values.max() <= _SURE
        ):
            raise SceneError(
                f"{source} of type {dtype} is no confidence in percent: give whole numbers from 0"
                f" to {_SURE}, as geounet segment --confidence writes them"
            )
        return np.where(raster.valid, raster.data[0], 0).astype(np.uint8)


def _band(info: SceneInfo, asked: int | None) -> int:
    """The band with the codes, from 1."""
    bands = [i for i, band in enumerate(info.bands, start=1) if not band.is_alpha]
    if asked is None and len(bands) != 1:
        raise OptionError(
            f"{info.source} has {len(bands)} bands: say which has the codes with --band N"
        )
    band = bands[0] if asked is None else asked
    if not 1 <= band <= len(info.bands):
        raise OptionError(f"--band {band}: {info.source} has {len(info.bands)} bands, from 1 on")
    dtype = info.bands[band - 1].dtype
    if np.dtype(dtype).kind not in "iub":
        raise SceneError(
            f"{info.source} holds {dtype}; class codes are whole numbers: give a class map, or"
            " round it first (gdal_translate -ot Int32)"
        )
    return band


def _wanted(classes: Sequence[str | int], legend: Mapping[int, ClassDef]) -> list[int] | None:
    """Codes of these names and codes; None: all."""
    if not classes:
        return None
    by_name = {one.name: code for code, one in legend.items()}
    codes = []
    for one in classes:
        if isinstance(one, str) and one in by_name:
            codes.append(by_name[one])
            continue
        try:
            codes.append(int(one))
        except ValueError:
            known = f"it names {', '.join(by_name)}" if by_name else "it names none: give codes"
            raise OptionError(f"--classes {one}: no class of the raster; {known}") from None
    return codes
