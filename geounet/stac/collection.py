"""A folder of items as one collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geounet.errors import OutputError, SceneError
from geounet.outline import TURN
from geounet.stac.document import Document
from geounet.stac.item import STAC_VERSION, stage_json
from geounet.stac.when import When
from geounet.staging import Staging

COLLECTION = "collection.json"
"""Name of the collection's file."""

ITEMS = "items.json"
"""Name of the file with all items in one, as a search of a catalogue answers."""


def write_collection(
    folder: str | Path, *, name: str | None = None, description: str | None = None
) -> Path:
    """Write ``collection.json`` and ``items.json`` for the items of a folder.

    The items get a link to the collection. All files appear, or none.

    Args:
        folder: With items, as :func:`~geounet.stac.write_item` writes them; not those of folders
            in it.
        name: Id of the collection; None: the folder's.
        description: Of the collection.

    Returns:
        The collection's file.

    Raises:
        OutputError: There is no item, or a file cannot be written.
    """
    folder = Path(folder)
    items = dict(_found(folder))
    if not items:
        raise OutputError(f"{folder} has no STAC items: write them first")
    name = name or folder.resolve().name or "collection"
    linked = {path: _linked(item, name) for path, item in items.items()}
    description = description or f"Class maps made by geounet: {len(items)} items."
    collection = _collection(name, description, linked)
    whole = {"type": "FeatureCollection", "features": list(linked.values())}
    with Staging() as staging:
        for path, item in linked.items():
            stage_json(staging, path, item)
        stage_json(staging, folder / ITEMS, whole)
        stage_json(staging, folder / COLLECTION, collection)
        staging.commit()
    return folder / COLLECTION


def _found(folder: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*.json")):
        if path.name in (COLLECTION, ITEMS):
            continue
        try:
            content = Document.read(path).content
        except SceneError:  # some other JSON
            continue
        if content.get("type") == "Feature" and "stac_version" in content:
            yield path, content


def _linked(item: dict[str, Any], name: str) -> dict[str, Any]:
    """An item that says whose it is."""
    ours = ("collection", "parent", "root")
    links = [link for link in item.get("links", ()) if link.get("rel") not in ours]
    to = {"href": f"./{COLLECTION}", "type": "application/json"}
    return {**item, "collection": name, "links": [*links, *({"rel": rel, **to} for rel in ours)]}


def _collection(
    name: str, description: str, items: Mapping[Path, Mapping[str, Any]]
) -> dict[str, Any]:
    times = [When.of_properties(item["properties"]) for item in items.values()]
    when = When.around(time for time in times if time is not None)
    told = {} if when is None else when.properties()
    start = told.get("start_datetime", told.get("datetime"))
    end = told.get("end_datetime", told.get("datetime"))
    boxes = [item["bbox"] for item in items.values() if "bbox" in item]
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": name,
        "description": description,
        "license": "other",
        "extent": {
            "spatial": {"bbox": [_around(boxes)] if boxes else [[-180.0, -90.0, 180.0, 90.0]]},
            "temporal": {"interval": [[start, end]]},
        },
        "links": [
            {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"},
            {"rel": "items", "href": f"./{ITEMS}", "type": "application/geo+json"},
            *(
                {"rel": "item", "href": f"./{path.name}", "type": "application/geo+json"}
                for path in items
            ),
        ],
    }


def _around(boxes: Sequence[Sequence[float]]) -> list[float]:
    """The narrowest box of all; over the antimeridian, if that is narrower."""
    spans = [(w, e if e >= w else e + TURN) for w, _, e, _ in boxes]
    starts = sorted({west for west, _ in spans})

    def width(start: float) -> float:
        return max(e + TURN * (w < start) for w, e in spans) - start

    west = min(starts, key=lambda start: round(width(start), 6))
    east = west + width(west)
    if east - west >= TURN:
        west, east = -TURN / 2, TURN / 2
    elif east > TURN / 2:
        east -= TURN
    south, north = min(b[1] for b in boxes), max(b[3] for b in boxes)
    return [west, south, east, north]
