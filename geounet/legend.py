"""Names and colours of the classes of a raster, from wherever the raster keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET  # the file lies beside the user's own raster

import rasterio

from geounet.classes import NODATA, ClassDef
from geounet.errors import SceneError, UnreachableError
from geounet.scene import GeoTIFFScene

TAG = "GEOUNET_CLASSES"
"""Dataset tag of a class map: a JSON list of code, name and color."""

PALETTE = (
    "#d9d2c3",
    "#1f78b4",
    "#33a02c",
    "#e6ab02",
    "#e31a1c",
    "#6a3d9a",
    "#b15928",
    "#17becf",
    "#fb9a99",
    "#b2df8a",
)
"""Colours of classes that have none, by rank of the code; the first is a calm background."""


def read_legend(path: str | Path) -> dict[int, ClassDef]:
    """Code -> class of what the raster names; empty where it names nothing or cannot be opened.

    The dataset tag ``GEOUNET_CLASSES`` comes first; else GDAL's category names (``.aux.xml``) with
    the colours of the colour table.

    Raises:
        UnreachableError: It is remote, and cannot be reached.
    """
    tag, table = _header(str(path))
    named = _from_tag(tag)
    if named:
        return named
    names = _category_names(Path(f"{path}.aux.xml"))
    return {
        code: ClassDef(code=code, name=name, color=table.get(code, PALETTE[rank % len(PALETTE)]))
        for rank, (code, name) in enumerate(sorted(names.items()))
    }


def palette_color(rank: int) -> tuple[int, int, int]:
    """Red, green and blue (0..255) for the ``rank``-th class."""
    red, green, blue = bytes.fromhex(PALETTE[rank % len(PALETTE)][1:])
    return red, green, blue


def _header(path: str) -> tuple[str, dict[int, str]]:
    scene = GeoTIFFScene(path)
    try:
        return scene.look(lambda dataset: (dataset.tags().get(TAG, ""), _color_table(dataset)))
    except UnreachableError:
        raise
    except SceneError:
        return "", {}
    finally:
        scene.close()


def _color_table(dataset: rasterio.DatasetReader) -> dict[int, str]:
    try:
        table = dataset.colormap(1)
    except ValueError:  # the band has none
        return {}
    return {code: "#{:02x}{:02x}{:02x}".format(*rgba[:3]) for code, rgba in table.items()}


def _from_tag(text: str) -> dict[int, ClassDef]:
    try:
        entries = [
            ClassDef(code=int(e["code"]), name=str(e["name"]), color=str(e["color"]).lower())
            for e in json.loads(text or "[]")
        ]
    except (ValueError, KeyError, TypeError):  # someone else's tag: better no names than wrong ones
        return {}
    return {entry.code: entry for entry in entries}


def _category_names(sidecar: Path) -> dict[int, str]:
    """GDAL's category names: the position in the list is the code."""
    try:
        root = ET.parse(sidecar).getroot()  # noqa: S314  see the import
    except (OSError, ET.ParseError):
        return {}
    names = root.findall("./PAMRasterBand[@band='1']/CategoryNames/Category")
    return {
        code: text.strip()
        for code, text in enumerate(name.text or "" for name in names[:NODATA])
        if text.strip()
    }
