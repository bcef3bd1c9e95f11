"""The STAC item of a mosaic."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geounet.errors import SceneError
from geounet.mosaic.maps import ClassMap
from geounet.stac import When, item_of
from geounet.stac.document import Document
from geounet.stac.item import Totals


def mosaic_item(
    sources: Sequence[ClassMap], out: Path, polygons: Path | None, report: Totals
) -> dict[str, Any]:
    """The item of a mosaic, derived from those of its maps, or from the maps.

    It is from the time of the earliest to that of the latest; where that of any is not known, so is
    the mosaic's.

    Args:
        sources: Its maps.
        out: The mosaic, which is finished.
        polygons: Its polygon layer.
        report: Pixels and areas.
    """
    times = [_when(source) for source in sources]
    known = [time for time in times if time is not None]
    return item_of(
        out,
        polygons=polygons,
        report=report,
        when=When.around(known) if len(known) == len(times) else None,
        derived_from=[_link(source, out.absolute().parent) for source in sources],
    )


def _when(source: ClassMap) -> When | None:
    try:
        content = Document.read(_item(source)).content
    except SceneError:
        return When.in_name(Path(source.path).name)
    properties = content.get("properties")
    return When.of_properties(properties) if isinstance(properties, dict) else None


def _item(source: ClassMap) -> Path:
    """Where the item of a map is, if it has one."""
    return Path(source.path).with_suffix(".json")


def _link(source: ClassMap, folder: Path) -> str:
    if not Path(source.path).exists():  # a URL
        return source.path
    item = _item(source)
    path = item if item.exists() else Path(source.path)
    return os.path.relpath(path.absolute(), folder).replace(os.sep, "/")
