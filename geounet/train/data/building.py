"""From what was asked for to a source of chips and patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geounet.errors import DataError
from geounet.train.data.blocks import Block, counts, cut, must_cut, neighbourhood
from geounet.train.data.cache import Cache
from geounet.train.data.codes import LabelCodes
from geounet.train.data.groups import by_file, by_place, read_groups
from geounet.train.data.onmap import MapSource, Sheet, ground_blocks, sheets
from geounet.train.data.opening import Opened, Opening, Say, scaling
from geounet.train.data.pair import Pair
from geounet.train.data.pairs import Content, PairSource, PictureSource, Pixels
from geounet.train.data.place import clusters, footprints
from geounet.train.data.problems import listing
from geounet.train.data.request import DataRequest
from geounet.train.source import IGNORE
from geounet.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The chips."""

    blocks: list[Block]
    """In order of their images."""
    around: dict[str, Any]
    """Name -> the neighbourhood that is kept together, of what is cut."""


def open_data(request: DataRequest, *, say: Say | None = None) -> PairSource:
    """Images and labels as a source: on the map where all images have a CRS, else as pictures.

    All labels are read once, so that everything that is wrong with them is said before they are
    used.

    Args:
        request: Which, and how.
        say: Is told how files were matched, read and grouped, a line at a time.

    Raises:
        DataError: All that is wrong: mates that are missing, sizes that differ, label values that
            are no class, classes without a pixel.
    """
    opening = Opening(request=request)
    opened, codes = opening.run()
    if not opened:
        raise DataError(f"{request.images} and {request.labels}: no pair of image and label")
    cache = Cache(request.cache)
    pairs = [_pair(one, request, codes, cache) for one in opened]
    files = [one.files for one in opened]
    on_map = all(one.on_map for one in opened)
    found = sheets(pairs, files, [one.drawing for one in opened]) if on_map else []
    layout = _on_ground(pairs, found, request) if on_map else _in_pictures(pairs, request)
    notes = [*opening.notes, *_place_notes(opened, pairs, layout)]
    content = _content(request, pairs, files, opening.names, (layout, notes), on_map=on_map)
    for note in content.notes if say else ():
        say(note)  # type: ignore[misc]
    return MapSource(content, found) if on_map else PictureSource(content)


def _pair(one: Opened, request: DataRequest, codes: LabelCodes, cache: Cache) -> Pair:
    info = one.image.info
    return Pair(
        name=one.name,
        image=one.image,
        bands=one.bands.indices,
        scaling=scaling(request, info, one.bands),
        labels=one.labels,
        codes=codes,
        cache=cache,
    )


def _on_ground(pairs: Sequence[Pair], found: Sequence[Sheet], request: DataRequest) -> _Layout:
    """Scenes that share ground are cut along the same lines."""
    cutting = _cutting(pairs)
    blocks = {i: [_as_one(pairs, i)] for i in range(len(pairs)) if not cutting[i]}
    around: dict[str, Any] = {}
    grounds: list[tuple[Sheet, list[int]]] = []
    for sheet in found:
        own = [k for k, i in enumerate(sheet.members) if cutting[i]]
        shapes = footprints([(sheet.grids[k], pairs[sheet.members[k]].info.window) for k in own])
        grounds += [(sheet, [own[j] for j in together]) for together in clusters(shapes)]
    total = sum(max(pairs[s.members[k]].info.window.size for k in ks) for s, ks in grounds)
    for number, (sheet, together) in enumerate(grounds):
        cut_here, near = ground_blocks(sheet, together, request.patch, total)
        around |= {name: (number, *cell) for name, cell in near.items()}
        for block in cut_here:
            blocks.setdefault(block.pair, []).append(block)
    ordered = [
        block for i in sorted(blocks) for block in sorted(blocks[i], key=lambda b: (b.row, b.col))
    ]
    return _Layout(blocks=ordered, around=around)


def _in_pictures(pairs: Sequence[Pair], request: DataRequest) -> _Layout:
    cutting = _cutting(pairs)
    total = sum(p.info.window.size for p, whole in zip(pairs, cutting, strict=True) if whole)
    layout = _Layout(blocks=[], around={})
    for i, pair in enumerate(pairs):
        if not cutting[i]:
            layout.blocks.append(_as_one(pairs, i))
            continue
        size = pair.info.height, pair.info.width
        rows, cols = counts(size, total, request.patch)
        ys, xs, side = cut(size[0], rows), cut(size[1], cols), neighbourhood(rows * cols)
        for row, col in np.ndindex(rows, cols):
            window = Window.between(ys[row], xs[col], ys[row + 1], xs[col + 1])
            name = f"{pair.name}:{row}:{col}"
            layout.blocks.append(Block(name=name, pair=i, row=row, col=col, window=window))
            layout.around[name] = (i, row // side, col // side)
    return layout


def _cutting(pairs: Sequence[Pair]) -> list[bool]:
    return must_cut([(pair.info.height, pair.info.width) for pair in pairs])


def _as_one(pairs: Sequence[Pair], i: int) -> Block:
    return Block(name=pairs[i].name, pair=i, row=0, col=0, window=pairs[i].info.window)


def _place_notes(opened: Sequence[Opened], pairs: Sequence[Pair], layout: _Layout) -> list[str]:
    placed = sum(one.on_map for one in opened)
    notes = []
    if 0 < placed < len(opened):
        notes.append(
            f"{len(opened) - placed} of {len(opened)} images have no CRS: all are taken as pictures"
        )
    if layout.around:
        scenes = len({b.pair for b in layout.blocks if b.name in layout.around})
        of = "1 scene" if scenes == 1 else f"{scenes} scenes"
        sizes = sorted(b.window.size for b in layout.blocks if b.name in layout.around)
        middle = round(sizes[len(sizes) // 2] ** 0.5)
        notes.append(f"{of} cut into {len(layout.around)} blocks of about {middle} x {middle} px")
    if pairs and not pairs[0].scaling.nothing:
        notes.append("values are scaled by tags or options")
    return notes


def _content(
    request: DataRequest,
    pairs: Sequence[Pair],
    files: Sequence[Any],
    names: tuple[str, ...],
    laid: tuple[_Layout, list[str]],
    *,
    on_map: bool,
) -> Content:
    layout, notes = laid
    counted = [_count(pairs[b.pair], b, len(request.classes)) for b in layout.blocks]
    kept = [(b, p) for b, p in zip(layout.blocks, counted, strict=True) if sum(p.classes)]
    if lost := [b.name for b in layout.blocks if b.name not in {k.name for k, _ in kept}]:
        notes = [*notes, f"{len(lost)} chips without a labelled pixel are left out"]
    blocks = [block for block, _ in kept]
    groups, why = _groups(request, blocks, pairs, files, layout.around, on_map=on_map)
    return Content(
        pairs=tuple(pairs),
        files=tuple(files),
        blocks=tuple(blocks),
        pixels=tuple(p for _, p in kept),
        groups=tuple(tuple(blocks[i].name for i in group) for group in groups),
        bands=names,
        classes=request.classes,
        notes=(*notes, *why),
        tagged=not pairs[0].scaling.nothing,
        patch=request.patch,
    )


def _groups(
    request: DataRequest,
    blocks: Sequence[Block],
    pairs: Sequence[Pair],
    files: Sequence[Any],
    around: dict[str, Any],
    *,
    on_map: bool,
) -> tuple[list[list[int]], list[str]]:
    if request.groups is not None:
        named = read_groups(request.groups)
        stems = [(p.name, f[0].stem, f[1].stem) for p, f in zip(pairs, files, strict=True)]
        groups, missing = by_file(blocks, stems, named)
        notes = [f"{len(groups)} groups, by {request.groups.name}"]
        if len(missing) == len(pairs):
            raise DataError(
                f"{request.groups} names none of the images ({listing(missing)}): write their stems"
            )
        if missing:
            notes.append(f"{len(missing)} images are in no group: {listing(missing)}")
        return groups, notes
    groups, shared = by_place(blocks, pairs, around, on_map=on_map)
    notes = [f"{len(groups)} groups of {len(blocks)} chips"]
    if shared:
        notes.append(f"{shared} chips lie on the same ground as another image: kept together")
    return groups, notes


def _count(pair: Pair, block: Block, classes: int) -> Pixels:
    label = pair.read_label(block.window, block.window)
    # IGNORE is -1 and comes first
    found = np.bincount((label - IGNORE).ravel(), minlength=classes + 1)
    return Pixels(classes=tuple(found[1:].tolist()), ignored=int(found[0]))
