"""Scenes from a STAC Item or ItemCollection."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geounet.errors import SceneError
from geounet.scene import BandNote, DescribedScene, SceneReader, open_scene
from geounet.stac.assets import choose_assets, sensor_hint
from geounet.stac.document import Document, resolved
from geounet.stac.when import When

_UNSAFE = re.compile(r"[^\w.-]+")
_REMEDY = "give a STAC Item or ItemCollection, as a search of a catalogue answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class StacScene:
    """A scene that an item describes; a value that can be pickled, and holds nothing open."""

    name: str
    """Id of the item, fit for a file name."""
    files: tuple[str, ...]
    """Paths and URLs: one a band, or one with all."""
    bands: tuple[BandNote, ...]
    """What the item says of each band."""
    when: When | None
    """When it was seen; None where the item does not say."""
    item: str
    """URL of the item, or where it was read."""
    hint: str = ""
    """In which its sensor is named."""

    def open(self) -> SceneReader:
        """Its reader, whose bands have the item's names, scales and offsets.

        What :func:`geounet.segment` and :func:`geounet.open_scene` take. Opens nothing yet.
        """
        scene = open_scene(list(self.files))
        return DescribedScene(scene, name=self.name, notes=self.bands, hint=self.hint)


def read_scenes(
    source: str | Path, *, bands: Sequence[str] = (), warn: Callable[[str], object] = warnings.warn
) -> list[StacScene]:
    """The scenes of a STAC Item or ItemCollection.

    Args:
        source: Path, or http URL.
        bands: Canonical names of the bands that will be read, of a model, say; other assets are
            left out then, and not opened. Without any: all whose names are known.
        warn: Hears that the document is but a page of what a search has found.

    Returns:
        In the order of the document.

    Raises:
        SceneError: It cannot be had, is no such document, or an item has no asset that is of use.
    """
    document = Document.read(source)
    items = list(_items(document))
    if any(link.get("rel") == "next" for link in _links(document.content)):
        warn(f"{document.source} is one page of several, with {len(items)} items: get the others")
    names = _names(items)
    return [
        _scene(item, name, document.source, bands) for item, name in zip(items, names, strict=True)
    ]


def _items(document: Document) -> Iterator[dict[str, Any]]:
    content, source = document.content, document.source
    kind = content.get("type")
    found = content.get("features") if kind == "FeatureCollection" else [content]
    if kind not in ("Feature", "FeatureCollection") or not isinstance(found, list):
        what = f"of type {kind}" if kind else "without a type"
        raise SceneError(f"{source} is a JSON object {what}: {_REMEDY}")
    if not found:
        raise SceneError(f"{source} has no items: widen the search")
    for number, item in enumerate(found, start=1):
        if not isinstance(item, dict) or not isinstance(item.get("assets"), dict):
            raise SceneError(
                f"{source}: feature {number} has no assets, so it is no item: {_REMEDY}"
            )
        if not isinstance(item.get("properties") or {}, dict):
            raise SceneError(f"{source}: feature {number} has properties of no kind: {_REMEDY}")
        yield item


def _names(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids, with the collection where several items have the same, and at last a number."""
    ids = [str(item.get("id") or f"item{i}") for i, item in enumerate(items, start=1)]
    twice = {one for one, count in Counter(ids).items() if count > 1}
    longer = [
        f"{item['collection']}_{one}" if one in twice and item.get("collection") else one
        for item, one in zip(items, ids, strict=True)
    ]
    safe = [_UNSAFE.sub("_", one).strip("._") or "item" for one in longer]
    return [
        f"{one}_{safe[:i].count(one) + 1}" if one in safe[:i] else one for i, one in enumerate(safe)
    ]


def _scene(item: Mapping[str, Any], name: str, source: str, bands: Sequence[str]) -> StacScene:
    base = _own(item) or source
    chosen = choose_assets(item, bands, f"{source}: item {item.get('id', name)}")
    return StacScene(
        name=name,
        files=tuple(resolved(href, base) for href in chosen.hrefs),
        bands=chosen.notes,
        when=When.of_properties(item.get("properties") or {}),
        item=base,
        hint=sensor_hint(item),
    )


def _own(item: Mapping[str, Any]) -> str | None:
    """Where an item says that it is, if that is absolute."""
    hrefs = (str(link.get("href")) for link in _links(item) if link.get("rel") == "self")
    return next((href for href in hrefs if "://" in href), None)


def _links(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = content.get("links")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
