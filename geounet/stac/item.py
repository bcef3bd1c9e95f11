"""The STAC item of a class map."""

from __future__ import annotations

import hashlib
import json
import os.path
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from odc.geo.geobox import GeoBox

from geounet.area import pixel_size_m
from geounet.bundle import Bundle
from geounet.classes import NODATA, ClassDef
from geounet.errors import OutputError
from geounet.legend import read_legend
from geounet.outputs import MODEL_TAG, SHA256_TAG
from geounet.report import ClassTotal
from geounet.scene import GeoTIFFScene
from geounet.stac.footprint import footprint_of
from geounet.stac.model import MLM, can_be_told, model_asset, model_of, model_properties
from geounet.stac.when import When
from geounet.staging import Staging

STAC_VERSION = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"

_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_LAYERS = {
    ".gpkg": "application/geopackage+sqlite3",
    ".fgb": "application/vnd.flatgeobuf",
    ".parquet": "application/vnd.apache.parquet",
    ".geojson": "application/geo+json",
}
_SHA256 = "1220"
"""Of a multihash: SHA-256, 32 bytes."""


class Totals(Protocol):
    """What is taken from the report of a run."""

    @property
    def classes(self) -> Mapping[str, ClassTotal]:
        """Class name -> pixels and area."""


def item_of(
    raster: str | Path,
    *,
    polygons: str | Path | None = None,
    report: Totals | None = None,
    when: When | None = None,
    model: Bundle | None = None,
    derived_from: Sequence[str] = (),
    checksum: bool = False,
) -> dict[str, Any]:
    """The STAC 1.1 item of a class map, with the extensions projection, classification, file, MLM.

    Its links to files are relative to the folder of the class map, beside which it belongs. Where
    nobody says when the scene was seen, it has the time that the file's name tells, or else ends
    when the file was made.

    Args:
        raster: The class map.
        polygons: Its polygon layer.
        report: Of the run that made it, for pixels and areas of the classes.
        when: When the scene was seen.
        model: That made it; None: the bundled one, if the map's tags name it.
        derived_from: Items or files that it was made from, as links.
        checksum: Whether the files are read once more for their SHA-256.

    Returns:
        JSON.

    Raises:
        SceneError: The raster cannot be read.
        OutputError: A file is not there.
    """
    raster = Path(raster)
    with closing(GeoTIFFScene(raster)) as scene:
        grid, tags = scene.info.geobox, scene.tags()
        placed = footprint_of(scene) if scene.info.georeferenced else None
    legend = list(read_legend(raster).values())
    made = datetime.fromtimestamp(int(raster.stat().st_mtime), UTC)
    when = when or When.in_name(raster.name)
    model = model or model_of(tags)
    told = model is not None and can_be_told(model)
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [PROJECTION, CLASSIFICATION, FILE, *([MLM] if told else [])],
        "id": raster.stem,
        "geometry": None if placed is None else placed.geometry,
        "properties": {
            **_time(when, made),
            "created": made.isoformat().replace("+00:00", "Z"),
            **_projection(grid, placed=placed is not None),
            **_made_by(tags),
        },
        "links": [{"rel": "derived_from", "href": href} for href in derived_from],
        "assets": {"classes": _raster_asset(raster, legend, report, checksum=checksum)},
    }
    if placed is not None:
        item["bbox"] = placed.bbox
    if polygons is not None:
        item["assets"]["polygons"] = _layer_asset(Path(polygons), raster, checksum=checksum)
    if model is not None and told:
        item["properties"].update(model_properties(model))
        item["assets"]["model"] = model_asset(model, raster.parent)
    return item


def write_item(raster: str | Path, item: Mapping[str, Any], *, path: Path | None = None) -> Path:
    """Write an item beside its class map (``map.tif``: ``map.json``); whole, or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    path = path or Path(raster).with_suffix(".json")
    with Staging() as staging:
        stage_json(staging, path, item)
        staging.commit()
    return path


def stage_json(staging: Staging, path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON under a temporary name.

    Raises:
        OutputError: It cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        staging.stage(path).write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): free some disk space, or choose another"
            " folder"
        ) from error


def _time(when: When | None, made: datetime) -> dict[str, str | None]:
    if when is not None:
        return when.properties()
    told = "It is not known when the scene was seen: at some time before the map was made."
    return {**When.before(made).properties(), "description": told}


def _projection(grid: GeoBox, *, placed: bool) -> dict[str, Any]:
    """Fields of the projection extension, and the ground sample distance."""
    found: dict[str, Any] = {
        "proj:shape": [int(grid.shape[0]), int(grid.shape[1])],
        "proj:transform": [float(value) for value in tuple(grid.affine)[:6]],
    }
    if grid.crs is None or not placed:
        return {"proj:code": None, **found}
    code = grid.crs.epsg
    if code is None:
        found["proj:wkt2"] = grid.crs.proj.to_wkt("WKT2_2019")
    box = grid.boundingbox
    found["proj:bbox"] = [float(v) for v in (box.left, box.bottom, box.right, box.top)]
    size = pixel_size_m(grid)
    return {
        "proj:code": f"EPSG:{code}" if code else None,
        **found,
        **({"gsd": round(size, 3)} if size else {}),
    }


def _made_by(tags: Mapping[str, str]) -> dict[str, str]:
    """What the map's tags say of the program and the model."""
    names = {
        "geounet:version": "GEOUNET_VERSION",
        "geounet:model": MODEL_TAG,
        "geounet:model_sha256": SHA256_TAG,
    }
    return {name: tags[tag] for name, tag in names.items() if tag in tags}


def _raster_asset(
    raster: Path, legend: Sequence[ClassDef], report: Totals | None, *, checksum: bool
) -> dict[str, Any]:
    asset: dict[str, Any] = {
        "href": f"./{raster.name}",
        "type": _COG,
        "title": "Class map",
        "roles": ["data"],
        "bands": [{"name": "class", "data_type": "uint8", "nodata": NODATA}],
        **_file(raster, checksum=checksum),
    }
    if legend:
        asset["classification:classes"] = _classes(legend, report)
    return asset


def _classes(legend: Sequence[ClassDef], report: Totals | None) -> list[dict[str, Any]]:
    """Classes of the classification extension, and nodata."""
    totals = {} if report is None else report.classes
    valid = sum(total.pixels for total in totals.values())
    names: set[str] = set()
    found = []
    for one in legend:
        entry: dict[str, Any] = {
            "value": one.code,
            "name": _plain_name(one, names),
            "title": one.name,
            "color_hint": one.color[1:].upper(),
        }
        total = totals.get(one.name)
        if total is not None and valid:
            entry["count"] = total.pixels
            entry["percentage"] = round(100 * total.pixels / valid, 4)
            if total.area_m2 is not None:
                entry["geounet:area_m2"] = total.area_m2
        found.append(entry)
    nodata = {"value": NODATA, "name": _unused("nodata", names), "title": "no data", "nodata": True}
    return [*found, nodata]


def _plain_name(one: ClassDef, names: set[str]) -> str:
    """A name of letters, digits and hyphens, as the extension asks for; each but once."""
    return _unused(
        re.sub(r"[^0-9A-Za-z-]+", "_", one.name).strip("_") or f"class_{one.code}", names
    )


def _unused(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    names.add(name)
    return name


def _layer_asset(layer: Path, raster: Path, *, checksum: bool) -> dict[str, Any]:
    href = os.path.relpath(layer.absolute(), raster.absolute().parent).replace(os.sep, "/")
    return {
        "href": href if href.startswith("..") else f"./{href}",
        "type": _LAYERS.get(layer.suffix.lower(), "application/octet-stream"),
        "title": "Polygons",
        "roles": ["data"],
        **_file(layer, checksum=checksum),
    }


def _file(path: Path, *, checksum: bool) -> dict[str, Any]:
    """Fields of the file extension."""
    try:
        found: dict[str, Any] = {"file:size": path.stat().st_size}
        if checksum:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found["file:checksum"] = _SHA256 + digest
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror}): make it first") from error
    return found
