"""Which scenes a batch is of, and what their outputs are called."""

from __future__ import annotations

import glob
import os
import shlex
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from geounet.batch.files import Files, are_same
from geounet.batch.job import Job
from geounet.batch.manifest import Row
from geounet.batch.options import BatchOptions
from geounet.batch.place import place_of
from geounet.batch.source import Source, everywhere, name_of, opened
from geounet.choose import choose_model
from geounet.errors import GeounetError, OptionError, OutputError, SceneError
from geounet.models import load_model
from geounet.options import SegmentOptions
from geounet.run import closing
from geounet.stac import read_scenes as items_of

_AT_ONCE = 8
"""Headers that are read at once: most of the time is waiting, for a disk or a server."""

_CATALOGUES = (".json", ".geojson")

_SHOWN = 5
"""Names in a message."""


def read_scenes(
    arguments: Iterable[str],
    *,
    model: str | Path | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> list[Source]:
    """The scenes that arguments name, each once, in their order.

    An argument is a path or URL; a glob; or a text file (``scenes.txt``, or ``@`` before any name)
    with a scene a line, or the single-band files of one. Empty lines and what follows a ``#`` say
    nothing; names with blanks stand in quotes; paths count from the current folder. A STAC Item or
    ItemCollection (``.json``, ``.geojson``, or a URL of one) stands for the scenes of its items.

    Args:
        arguments: As they were given.
        model: Whose bands are taken from items; None: all whose names are known.
        warn: Hears what may be missing.

    Raises:
        SceneError: A glob matches nothing, a list or a catalogue cannot be read, an item has no
            file that is of use, or there is no scene.
        ModelError: There is no such model.
    """
    needed = [] if model is None else [band.name for band in load_model(model).spec.bands]
    found: dict[Source, None] = {}
    for text in arguments:
        if text.partition("?")[0].lower().endswith(_CATALOGUES):
            found |= dict.fromkeys(items_of(text, bands=needed, warn=warn))
        else:
            found |= dict.fromkeys(_named(text))
    if not found:
        raise SceneError("no scene is named: give paths, globs in quotes, or a list as @scenes.txt")
    return list(found)


def _named(text: str) -> Iterator[tuple[str, ...]]:
    if text.startswith("@"):
        yield from _listed(Path(text[1:]))
    elif text.lower().endswith(".txt"):
        yield from _listed(Path(text))
    elif glob.has_magic(text) and "://" not in text and not os.path.lexists(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  also of absolute patterns
        if not matches:
            raise SceneError(f"{text} matches no file: check the pattern and the folder")
        yield from ((match,) for match in matches)
    else:
        yield (text,)


def _listed(path: Path) -> Iterator[tuple[str, ...]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SceneError(f"{path}: this list of scenes cannot be read ({why})") from error
    for number, line in enumerate(lines, start=1):
        try:
            names = shlex.split(line, comments=True, posix=os.name != "nt")
        except ValueError as error:
            raise SceneError(
                f"{path}, line {number}: a quotation mark is not closed: names with blanks stand in"
                " two of them"
            ) from error
        if names:
            yield tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """What is to be done."""

    jobs: Sequence[Job]
    """In the order of the scenes."""
    unreadable: Mapping[str, str]
    """Scene -> why it is left out."""


def make_jobs(
    sources: Sequence[Source], options: BatchOptions, finished: Mapping[str, Row]
) -> Jobs:
    """Look at the headers of all scenes, and refuse what cannot be before any work is done.

    Args:
        sources: See :func:`read_scenes`.
        options: What was asked for.
        finished: Name of a class map -> its row in the manifest.

    Raises:
        OptionError: Two scenes would get one name.
        OutputError: Outputs exist which this batch has not made, and must not be replaced.
        ModelError: There is no such model.
    """
    model = options.segment.model
    name = None if model is None else load_model(model).spec.name
    with ThreadPoolExecutor(_AT_ONCE, "geounet-look") as pool:
        looks = list(pool.map(lambda source: _look(source, options, name), sources))
    jobs = [look for look in looks if isinstance(look, Job)]
    unreadable = {
        name_of(source): look
        for source, look in zip(sources, looks, strict=True)
        if isinstance(look, str)
    }
    _refuse_twins(jobs)
    place = place_of(options.folder)
    there = place.files(path for job in jobs for path in job.outputs)
    jobs = [_with_row(job, finished.get(_raster(job).name), there) for job in jobs]
    if not options.segment.overwrite:
        _refuse_existing(jobs, there, options.folder)
    return Jobs(jobs=jobs, unreadable=unreadable)


def _look(source: Source, options: BatchOptions, model: str | None) -> Job | str:
    """What a header says; a line, if it says nothing."""
    where = everywhere(source)
    try:
        with closing(opened(where)) as scene:
            info = scene.info
            if model is None:
                bundle, fit = choose_model(scene, options.segment, lambda _: None, look=False)
                fit.scene.close()
                model = bundle.spec.name
            return Job(
                name=name_of(source),
                source=where,
                options=_named_options(options, f"{info.name}.{model}"),
                place=place_of(options.folder),
                pixels=info.window.size,
            )
    except GeounetError as error:
        return str(error)


def _named_options(options: BatchOptions, stem: str) -> SegmentOptions:
    place, segment = place_of(options.folder), options.segment
    return replace(
        segment,
        out=place.path(f"{stem}.tif"),
        polygons=place.path(f"{stem}{options.polygons}") if segment.polygons else False,
        aoi=None if segment.aoi is None else segment.aoi.absolute(),
    )


def _raster(job: Job) -> Path:
    assert job.options.out is not None  # noqa: S101  for the type checker
    return job.options.out


def _with_row(job: Job, row: Row | None, there: Files) -> Job:
    """With what its outputs depend on, if they are as the manifest says."""
    if row is None or not isinstance(row.get("fingerprint"), dict):
        return job
    names = [path.name for path in job.outputs if path.name in there]
    told = row.get("files", {})
    if are_same(told, {name: there[name] for name in names}) and len(told) == len(names):
        return replace(job, finished=row["fingerprint"])
    return job


def _refuse_twins(jobs: Sequence[Job]) -> None:
    by_name: dict[Path, Job] = {}
    for job in jobs:
        other = by_name.setdefault(_raster(job), job)
        if other is not job:
            raise OptionError(
                f"{other.name} and {job.name} would both become {_raster(job).name}: give one of"
                " them another name, or another folder with -o in a batch of its own"
            )


def _refuse_existing(jobs: Sequence[Job], there: Files, folder: Path | str) -> None:
    found = {job.name: [p.name for p in job.outputs if p.name in there] for job in jobs}
    exist = [
        name
        for job in jobs
        if found[job.name] and job.finished is None
        and not job.place.strips(_raster(job)).is_committing()
        for name in found[job.name]
    ]  # fmt: skip
    if exist:
        more = f" and {len(exist) - _SHOWN} more" if len(exist) > _SHOWN else ""
        raise OutputError(
            f"{', '.join(exist[:_SHOWN])}{more} exist in {folder}, and are not what this batch"
            " made: pass --overwrite to replace them, or give another folder with -o"
        )
