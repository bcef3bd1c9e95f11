"""What a batch makes of its class maps, when all are there: STAC items, and a mosaic."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geounet.batch.files import are_same
from geounet.batch.job import Job
from geounet.batch.manifest import NAME, Manifest, Row
from geounet.batch.options import BatchOptions
from geounet.batch.place import Place
from geounet.batch.source import Source
from geounet.errors import OutputError
from geounet.mosaic import MosaicOptions, mosaic_maps
from geounet.outputs import aux_path
from geounet.report import ClassTotal
from geounet.stac import StacScene, item_of, write_collection, write_item


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    classes: Mapping[str, ClassTotal]


def refuse_items(place: Place, jobs: Sequence[Job]) -> None:
    """Refuse to replace JSON beside a class map that is no item of it.

    Args:
        place: Of the outputs.
        jobs: All.

    Raises:
        OutputError: There is such a file.
    """
    items = {job.outputs[-1].with_suffix(".json"): job.outputs[-1].name for job in jobs}
    there = place.files(items)
    for path, raster in items.items():
        if path.name in there and _id_of(place.read(path)) != path.stem:
            raise OutputError(
                f"{place.shown(path)} exists and is no STAC item of {raster}: move it, or leave"
                " --stac out"
            )


def write_items(place: Place, jobs: Mapping[Path, Job], rows: Mapping[str, Row]) -> Path | str:
    """Write an item beside each class map, and a collection of all items of the folder.

    Args:
        place: Of the outputs.
        jobs: Class map -> its scene.
        rows: Name of a class map -> its row in the manifest.

    Returns:
        The collection's file.

    Raises:
        SceneError, OutputError: As :func:`geounet.stac.item_of`, :func:`geounet.stac.write_item`.
    """
    layers = {raster: job.options.polygons for raster, job in jobs.items()}
    sized = [layer for layer in layers.values() if isinstance(layer, Path)]
    folder = _folder(place)
    with place.desk([*jobs, *map(aux_path, jobs)], sized=sized, ending=".json") as desk:
        for raster, job in jobs.items():
            source, layer = job.source, layers[raster]
            item = item_of(
                desk(raster),
                polygons=desk(layer) if isinstance(layer, Path) else None,
                report=_Counted(classes=_classes(rows.get(raster.name, {}))),
                when=source.when if isinstance(source, StacScene) else None,
                derived_from=_origins(source, folder),
            )
            write_item(desk(raster), item)
        name = None if folder else str(place.shown(Path())).split("/")[-2]
        written = write_collection(desk(next(iter(jobs))).parent, name=name)
        collection = place.path(written.name)
        desk.deliver(collection)
    return place.shown(collection)


def make_mosaic(
    place: Place, maps: Sequence[Path], options: BatchOptions, manifest: Manifest
) -> tuple[Path | str, bool]:
    """Put the class maps together; one that is there, of the same maps, stays.

    Args:
        place: Of the outputs.
        maps: All that the batch has made, now or before.
        options: With the name of the mosaic, and what it is to look like.
        manifest: Gets a row.

    Returns:
        The mosaic, and whether it was there.

    Raises:
        GeounetError: As :func:`geounet.mosaic.mosaic_maps`.
    """
    out = options.mosaic
    assert out is not None  # noqa: S101  for the type checker
    segment = options.segment
    layer = out.with_suffix(options.polygons) if segment.polygons else False
    paths = [out, *([layer] if isinstance(layer, Path) else [])]
    items = [out.with_suffix(".json")] if options.stac else []
    found = place.files(paths)
    is_whole = len(found) == len(paths) and len(place.files(items)) == len(items)
    depends = {"maps": _digest(place, maps), "layer": f"{segment.simplify} {segment.smooth}"}
    row = manifest.finished().get(_key(place, out))
    is_ours = row is not None and are_same(row.get("files"), found)
    if row is not None and is_ours and is_whole and row["fingerprint"] == depends:
        return place.shown(out), True
    beside = [path for raster in maps for path in (aux_path(raster), raster.with_suffix(".json"))]
    with place.desk([*maps, *beside]) as desk:
        report = mosaic_maps(
            [desk(raster) for raster in maps],
            desk(out),
            MosaicOptions(
                polygons=desk(layer) if isinstance(layer, Path) else False,
                simplify=segment.simplify, smooth=segment.smooth, stac=options.stac,
                overwrite=segment.overwrite or is_ours,
            ),
        )  # fmt: skip
        desk.deliver(out)
    manifest.add(
        scene="mosaic", output=_key(place, out), rows=None, state="done", seconds=report.seconds,
        fingerprint=depends, files=place.files(paths),
    )  # fmt: skip
    return place.shown(out), False


def refuse_mosaic(place: Place, options: BatchOptions, manifest: Manifest) -> None:
    """Refuse to replace a mosaic that this batch has not made, before any work is done.

    Raises:
        OutputError: There is one.
    """
    out = options.mosaic
    if out is None or options.segment.overwrite:
        return
    found = place.files([out])
    row = manifest.finished().get(_key(place, out), {})
    if found and not are_same(row.get("files"), found):
        raise OutputError(
            f"{place.shown(out)} exists, and is not what this batch made: pass --overwrite to"
            " replace it, or give another name with --mosaic"
        )


def _key(place: Place, out: Path) -> str:
    return str(place.shown(out if _folder(place) is None else out.absolute()))


def _folder(place: Place) -> Path | None:
    """Of the outputs; None: it is no folder."""
    path = place.path(NAME)
    return path.parent if path.is_absolute() else None


def _digest(place: Place, maps: Sequence[Path]) -> str:
    found = place.files(maps)
    told = [(_key(place, path), found[path.name]) for path in maps]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _classes(row: Row) -> dict[str, ClassTotal]:
    classes = row.get("classes")
    return {n: ClassTotal(**c) for n, c in classes.items()} if isinstance(classes, dict) else {}


def _origins(source: Source, folder: Path | None) -> list[str]:
    """Links to where a class map comes from, as seen from a folder if there is one."""
    places = [source.item] if isinstance(source, StacScene) else list(source)
    return [_link(place, folder) for place in places]


def _link(place: str, folder: Path | None) -> str:
    if not os.path.exists(place):  # noqa: PTH110  a URL is no Path
        return place
    if folder is None:
        return Path(place).absolute().as_uri()
    return os.path.relpath(place, folder).replace(os.sep, "/")


def _id_of(text: bytes | None) -> str | None:
    try:
        content = json.loads(text or b"")
    except ValueError:
        return None
    return content.get("id") if isinstance(content, dict) else None
