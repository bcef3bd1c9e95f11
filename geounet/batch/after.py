"""What a batch makes of its class maps, when all are there: STAC items, and a mosaic."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geounet.batch.job import Job, files_of
from geounet.batch.manifest import Manifest, Row
from geounet.batch.options import BatchOptions
from geounet.batch.source import Source
from geounet.errors import OutputError
from geounet.mosaic import MosaicOptions, mosaic_maps
from geounet.report import ClassTotal
from geounet.stac import StacScene, item_of, write_collection, write_item


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    classes: Mapping[str, ClassTotal]


def refuse_items(jobs: Sequence[Job]) -> None:
    """Refuse to replace JSON beside a class map that is no item of it.

    Raises:
        OutputError: There is such a file.
    """
    for job in jobs:
        assert job.options.out is not None  # noqa: S101  for the type checker
        path = job.options.out.with_suffix(".json")
        if path.exists() and _id_of(path) != path.stem:
            raise OutputError(
                f"{path} exists and is no STAC item of {job.options.out.name}: move it, or leave"
                " --stac out"
            )


def write_items(folder: Path, jobs: Mapping[Path, Job], rows: Mapping[str, Row]) -> Path:
    """Write an item beside each class map, and a collection of all items of the folder.

    Args:
        folder: Of the outputs.
        jobs: Class map -> its scene.
        rows: Name of a class map -> its row in the manifest.

    Returns:
        The collection's file.

    Raises:
        SceneError, OutputError: As :func:`geounet.stac.item_of`, :func:`geounet.stac.write_item`.
    """
    for raster, job in jobs.items():
        source = job.source
        layer = job.options.polygons
        row = rows.get(raster.name, {})
        item = item_of(
            raster,
            polygons=layer if isinstance(layer, Path) else None,
            report=_Counted(classes=_classes(row)),
            when=source.when if isinstance(source, StacScene) else None,
            derived_from=_origins(source, folder),
        )
        write_item(raster, item)
    return write_collection(folder)


def make_mosaic(
    maps: Sequence[Path], options: BatchOptions, manifest: Manifest
) -> tuple[Path, bool]:
    """Put the class maps together; one that is there, of the same maps, stays.

    Args:
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
    is_whole = all(path.exists() for path in paths)
    is_whole &= not options.stac or out.with_suffix(".json").exists()
    depends = {"maps": _digest(maps), "layer": f"{segment.simplify} {segment.smooth}"}
    row = manifest.finished().get(_key(out))
    is_ours = row is not None and _are_same(row.get("files"), paths)
    if row is not None and is_ours and is_whole and row["fingerprint"] == depends:
        return out, True
    report = mosaic_maps(
        maps,
        out,
        MosaicOptions(
            polygons=layer, simplify=segment.simplify, smooth=segment.smooth, stac=options.stac,
            overwrite=segment.overwrite or is_ours,
        ),
    )  # fmt: skip
    manifest.add(
        scene="mosaic", output=_key(out), rows=None, state="done", seconds=report.seconds,
        fingerprint=depends, files=files_of(paths),
    )  # fmt: skip
    return out, False


def refuse_mosaic(options: BatchOptions, manifest: Manifest) -> None:
    """Refuse to replace a mosaic that this batch has not made, before any work is done.

    Raises:
        OutputError: There is one.
    """
    out = options.mosaic
    if out is None or not out.exists() or options.segment.overwrite:
        return
    row = manifest.finished().get(_key(out))
    if row is None or not _are_same(row.get("files"), [out]):
        raise OutputError(
            f"{out} exists, and is not what this batch made: pass --overwrite to replace it, or"
            " give another name with --mosaic"
        )


def _key(out: Path) -> str:
    return str(out.absolute())


def _are_same(files: Any, paths: Sequence[Path]) -> bool:
    """Whether those of the files that exist are as the manifest says."""
    found = files_of(paths)
    return isinstance(files, dict) and all(
        tuple(files.get(name, ())) == told for name, told in found.items()
    )


def _digest(maps: Sequence[Path]) -> str:
    told = [(str(path.absolute()), *files_of([path]).values()) for path in maps]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _classes(row: Row) -> dict[str, ClassTotal]:
    classes = row.get("classes")
    return {n: ClassTotal(**c) for n, c in classes.items()} if isinstance(classes, dict) else {}


def _origins(source: Source, folder: Path) -> list[str]:
    """Links to where a class map comes from."""
    places = [source.item] if isinstance(source, StacScene) else list(source)
    return [_link(place, folder) for place in places]


def _link(place: str, folder: Path) -> str:
    if not os.path.exists(place):  # noqa: PTH110  a URL is no Path
        return place
    return os.path.relpath(place, folder.absolute()).replace(os.sep, "/")


def _id_of(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("id") if isinstance(content, dict) else None
