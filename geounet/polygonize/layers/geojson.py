"""GeoJSON as RFC 7946 wants it: longitude and latitude of WGS 84, in decimal degrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyproj
import shapely
from numpy.typing import NDArray

from geounet.errors import OutputError
from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.layers.corners import brackets, corners
from geounet.polygonize.layers.dateline import crossing, cut
from geounet.polygonize.layers.layout import CODE, PolygonLayout

_DECIMALS = 9  # a tenth of a millimetre: 7 would bend what a drone saw
_BETWEEN = ",\n"
_BEFORE = '","coordinates":'


class GeoJson:
    """An :class:`geounet.polygonize.layers.writer.Encoder`.

    Without a CRS the coordinates are written as they are. Edges stay straight in either CRS, as
    only corners move.
    """

    def __init__(self, path: Path, layout: PolygonLayout) -> None:
        self._path, self._layout = path, layout
        self._to_wgs84 = (
            None
            if layout.crs is None
            else pyproj.Transformer.from_crs(
                pyproj.CRS.from_wkt(layout.crs), "OGC:CRS84", always_xy=True
            )
        )
        self._projected = self._to_wgs84 is not None and not pyproj.CRS(layout.crs).is_geographic
        self._file = path.open("wb")
        head = f'{{"type":"FeatureCollection","name":{_quoted(layout.name)},"features":[\n'
        self._file.write(head.encode())
        self._any = False

    def write(self, chunk: PolygonBatch, boxes: NDArray[np.float64]) -> None:  # noqa: ARG002
        """Take the next polygons; their boxes are not needed."""
        parts: list[Any] = [f'{_BETWEEN}{{"type":"Feature","properties":{{']
        for k, (name, dtype) in enumerate(self._layout.fields):
            parts.append(f"{',' if k else ''}{_quoted(name)}:")
            parts.append(self._column(chunk, name, dtype))
        parts += ['},"geometry":{"type":"', *self._geometry(chunk), "}}"]
        rows = pc.binary_join_element_wise(*parts, "")
        start, stop = np.frombuffer(rows.buffers()[1], np.int32)[[0, len(rows)]]
        skipped = 0 if self._any else len(_BETWEEN)
        self._file.write(memoryview(rows.buffers()[2])[start + skipped : stop])
        self._any = True

    def finish(self) -> None:
        """Close the collection."""
        self._file.write(b"\n]}\n")
        self._file.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _column(self, chunk: PolygonBatch, name: str, dtype: np.dtype[Any] | None) -> Any:
        """(n,) the values of a column as JSON."""
        if dtype is None:
            index, words = self._layout.words(chunk.columns[CODE])
            quoted = pa.array([_quoted(word) for word in words])
            return pa.DictionaryArray.from_arrays(index, quoted).cast(pa.string())
        values = pa.array(chunk.columns[name])
        text = values.cast(pa.string())
        if dtype.kind != "f":
            return text
        # readers take a column of numbers without a point for integers
        whole = pc.match_substring_regex(text, "^-?[0-9]+$")
        text = pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)
        return pc.if_else(pc.is_finite(values), text, "null")

    def _geometry(self, chunk: PolygonBatch) -> tuple[Any, str, Any]:
        """The type of each geometry (of all, where it is one), and their coordinates."""
        kind = self._layout.geometry_type
        xy, starts = corners(chunk, kind)
        placed = self._placed(xy)
        texts = self._coordinates(chunk, placed.reshape(-1))
        # where coordinates are longitudes from the first, an edge is what it says it is
        across = crossing(xy, placed, starts, self._placed) if self._projected else ()
        if not len(across):
            return kind, _BEFORE, texts
        kinds, texts = np.full(len(chunk), kind, object), texts.to_numpy(zero_copy_only=False)
        for index in across:
            found = json.loads(shapely.to_geojson(cut(chunk, int(index), self._placed)))
            kinds[index], texts[index] = found["type"], json.dumps(found["coordinates"])
        return pa.array(kinds), _BEFORE, pa.array(texts)

    def _coordinates(self, chunk: PolygonBatch, flat: NDArray[np.float64]) -> Any:
        """(n,) the member ``coordinates`` of each polygon."""
        numbers = pa.array(flat).cast(pa.string())
        stops = np.frombuffer(numbers.buffers()[1], np.int32)[: len(flat) + 1]
        texts = np.frombuffer(numbers.buffers()[2], np.uint8)
        data, starts = brackets(chunk, self._layout.geometry_type, texts, stops)
        return pa.StringArray.from_buffers(len(chunk), pa.py_buffer(starts), pa.py_buffer(data))

    def _placed(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._to_wgs84 is None:
            return xy
        x, y = self._to_wgs84.transform(xy[:, 0], xy[:, 1])
        # + 0: no number is -0
        placed = np.stack([x, y], axis=1).round(_DECIMALS) + 0.0
        lost = ~np.isfinite(placed).all(axis=1)
        if lost.any():
            where = xy[np.flatnonzero(lost)[0]].tolist()
            raise OutputError(
                f"{self._path.name}: {where} has no longitude and latitude, which GeoJSON needs:"
                " write .gpkg, .fgb or .parquet instead"
            )
        return placed


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
