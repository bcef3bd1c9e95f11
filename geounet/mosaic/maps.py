"""The class maps of a mosaic: what they are, and that they belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geounet.classes import ClassDef, ClassScheme
from geounet.errors import OptionError, SceneError
from geounet.legend import read_legend
from geounet.scene import GeoTIFFScene, SceneInfo

_FEWEST = 2  # classes of a scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMap:
    """The header of a class map; nothing is held open."""

    path: str
    """The file."""
    info: SceneInfo
    """Its grid."""
    classes: ClassScheme
    """Its classes."""
    tags: Mapping[str, str]
    """Its dataset tags."""


def read_maps(paths: Iterable[str | Path]) -> list[ClassMap]:
    """The headers of class maps that can be put together.

    Raises:
        OptionError: There is none, or one comes twice.
        SceneError: A file is no class map with a place, or has other classes than the first.
    """
    names = [str(path) for path in paths]
    if not names:
        raise OptionError("no class map was given")
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"{name} is given twice: give each class map once")
    maps = [_read(name) for name in names]
    _refuse_unlike(maps)
    return maps


def _read(path: str) -> ClassMap:
    with closing(GeoTIFFScene(path)) as scene:
        info, tags = scene.info, scene.tags()
    _refuse_unusable(info)
    legend = read_legend(path)
    if len(legend) < _FEWEST:
        raise SceneError(
            f"{path} does not say what its classes are: give class maps as geounet segment writes"
            " them, with their tags or .aux.xml"
        )
    scheme = ClassScheme(classes=tuple(legend[code] for code in sorted(legend)))
    return ClassMap(path=path, info=info, classes=scheme, tags=tags)


def _refuse_unusable(info: SceneInfo) -> None:
    if not info.georeferenced:
        raise SceneError(
            f"{info.source} says nothing of its place, so it cannot be put beside other maps: set"
            " it with gdal_edit.py -a_ullr -a_srs"
        )
    bands = [band for band in info.bands if not band.is_alpha]
    if len(bands) != 1 or bands[0].dtype != np.dtype(np.uint8):
        what = f"{len(bands)} bands" if len(bands) != 1 else f"values of type {bands[0].dtype}"
        raise SceneError(
            f"{info.source} has {what}; a class map has one band of uint8: give maps as geounet"
            " segment writes them"
        )


def _refuse_unlike(maps: Sequence[ClassMap]) -> None:
    first = maps[0]
    for one in maps[1:]:
        if _meaning(one.classes) != _meaning(first.classes):
            raise SceneError(
                f"{first.path} and {one.path} have different classes ({first.classes} against"
                f" {one.classes}): put maps of one model together"
            )
        if (one.info.geobox.crs is None) is not (first.info.geobox.crs is None):
            bare, other = (one, first) if one.info.geobox.crs is None else (first, one)
            raise SceneError(
                f"{bare.path} has no CRS and {other.path} has one: set it with gdal_edit.py -a_srs"
            )


def _meaning(classes: Iterable[ClassDef]) -> dict[int, str]:
    """Without the colours, of which the first map's are taken."""
    return {one.code: one.name for one in classes}
