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

_BLACK = "#000000"


def read_legend(path: str | Path, band: int = 1) -> dict[int, ClassDef]:
    """Code -> class of what the raster names; empty where it names nothing or cannot be opened.

    The dataset tag ``GEOUNET_CLASSES`` comes first; else GDAL's category names (``.aux.xml``) with
    the colours of the colour table.

    Args:
        path: The raster.
        band: The band with the codes, from 1; the tag is about the first.

    Raises:
        UnreachableError: It is remote, and cannot be reached.
    """
    return read_coloured(path, band)[0]


def read_coloured(
    path: str | Path, band: int = 1
) -> tuple[dict[int, ClassDef], dict[int, ClassDef]]:
    """The legend, and code -> class of all to draw: where nothing is named, what has a colour.

    That is called by its code. Black is no colour: GDAL fills up tables with it.

    Raises:
        UnreachableError: It is remote, and cannot be reached.
    """
    tag, table = _header(str(path), band)
    named = _from_tag(tag) if band == 1 else {}
    if not named:
        names = _category_names(Path(f"{path}.aux.xml"), band)
        named = {
            code: ClassDef(
                code=code, name=name, color=table.get(code, PALETTE[rank % len(PALETTE)])
            )
            for rank, (code, name) in enumerate(sorted(names.items()))
        }
    if named:
        return named, named
    return {}, {
        code: ClassDef(code=code, name=str(code), color=color)
        for code, color in table.items()
        if color != _BLACK and 0 <= code < NODATA
    }


def palette_color(rank: int) -> tuple[int, int, int]:
    """Red, green and blue (0..255) for the ``rank``-th class."""
    red, green, blue = bytes.fromhex(PALETTE[rank % len(PALETTE)][1:])
    return red, green, blue


def _header(path: str, band: int) -> tuple[str, dict[int, str]]:
    scene = GeoTIFFScene(path)
    try:
        return scene.look(
            lambda dataset: (dataset.tags().get(TAG, ""), _color_table(dataset, band))
        )
    except UnreachableError:
        raise
    except SceneError:
        return "", {}
    finally:
        scene.close()


def _color_table(dataset: rasterio.DatasetReader, band: int) -> dict[int, str]:
    try:
        table = dataset.colormap(band)
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


def _category_names(sidecar: Path, band: int) -> dict[int, str]:
    """GDAL's category names: the position in the list is the code."""
    try:
        root = ET.parse(sidecar).getroot()  # noqa: S314  see the import
    except (OSError, ET.ParseError):
        return {}
    names = root.findall(f"./PAMRasterBand[@band='{band}']/CategoryNames/Category")
    return {
        code: text.strip()
        for code, text in enumerate(name.text or "" for name in names[:NODATA])
        if text.strip()
    }
