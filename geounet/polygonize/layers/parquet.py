"""GeoParquet 1.1, with a column of boxes by which readers skip what lies elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
from numpy.typing import NDArray

from geounet.polygonize.batch import PolygonBatch
from geounet.polygonize.layers.boxes import outward
from geounet.polygonize.layers.layout import CODE, NAME, PolygonLayout

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_ZSTD_LEVEL = 1  # level 3 takes longer for a few percent
_WORDS = pa.dictionary(pa.int32(), pa.string())


class GeoParquet:
    """An :class:`geounet.polygonize.layers.writer.Encoder`; each chunk is a row group."""

    def __init__(self, path: Path, layout: PolygonLayout) -> None:
        self._layout = layout
        self._schema, self._crs = _schema(layout), _projjson(layout.crs)
        self._box = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(
            self._file,
            self._schema,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            # no two polygons are equal, and few numbers are
            use_dictionary=[name for name in (CODE, NAME) if name in self._schema.names],
            write_statistics=[n for n in _leaves(self._schema) if n != "geometry"],
        )

    def write(self, chunk: PolygonBatch, boxes: NDArray[np.float64]) -> None:
        """Take the next polygons and their (n, 4) boxes."""
        columns = [self._column(chunk, name, dtype) for name, dtype in self._layout.fields]
        sides = [pa.array(np.ascontiguousarray(side)) for side in outward(boxes).T]
        columns += [_binary(chunk), pa.StructArray.from_arrays(sides, _SIDES)]
        table = pa.Table.from_arrays(columns, schema=self._schema)
        self._writer.write_table(table, row_group_size=len(chunk))
        np.minimum(self._box[:2], boxes[:, :2].min(axis=0), out=self._box[:2])
        np.maximum(self._box[2:], boxes[:, 2:].max(axis=0), out=self._box[2:])

    def finish(self) -> None:
        """Write the footer."""
        self._writer.add_key_value_metadata({"geo": json.dumps(self._geo())})
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file.closed:
            return
        try:
            with self._file:
                self._writer.close()
        finally:
            self._writer.is_open = False  # or it would write once more when it is collected

    def _column(self, chunk: PolygonBatch, name: str, dtype: np.dtype[Any] | None) -> Any:
        if dtype is not None:
            return pa.array(chunk.columns[name], from_pandas=dtype.kind == "f")  # NaN is null
        index, words = self._layout.words(chunk.columns[CODE])
        return pa.DictionaryArray.from_arrays(index.astype(np.int32), pa.array(words)).cast(
            pa.string()
        )

    def _geo(self) -> dict[str, Any]:
        """The metadata (https://geoparquet.org/releases/v1.1.0)."""
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": [self._layout.geometry_type],
            "crs": self._crs,
            "orientation": "counterclockwise",
            "edges": "planar",
            "covering": {"bbox": {side: ["bbox", side] for side in _SIDES}},
        }
        if np.isfinite(self._box).all():
            column["bbox"] = self._box.tolist()
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _schema(layout: PolygonLayout) -> Any:
    fields = [
        pa.field(name, pa.string() if dtype is None else pa.from_numpy_dtype(dtype))
        for name, dtype in layout.fields
    ]
    box = pa.struct([pa.field(side, pa.float32()) for side in _SIDES])
    return pa.schema([*fields, pa.field("geometry", pa.binary()), pa.field("bbox", box)])


def _leaves(schema: Any) -> list[str]:
    names = [name for name in schema.names if name != "bbox"]
    return names + [f"bbox.{side}" for side in _SIDES]


def _binary(chunk: PolygonBatch) -> Any:
    """The geometries as they lie in memory, not copied."""
    large = chunk.offsets[-1] > np.iinfo(np.int32).max
    offsets = chunk.offsets if large else chunk.offsets.astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(chunk.wkb))]
    kind = pa.large_binary() if large else pa.binary()
    return pa.Array.from_buffers(kind, len(chunk), buffers).cast(pa.binary())


def _projjson(crs: str | None) -> dict[str, Any] | None:
    """None says that the CRS is not known; without the key it would be WGS 84."""
    return None if crs is None else pyproj.CRS.from_wkt(crs).to_json_dict()
