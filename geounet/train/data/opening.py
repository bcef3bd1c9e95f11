"""Opens images and labels, and looks for everything that is wrong with them before that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geounet import fit
from geounet.errors import BandError, DataError, SceneError, ValueRangeError
from geounet.scene import SceneInfo, SceneReader
from geounet.train.data.codes import LabelCodes, count_values
from geounet.train.data.labels import Labels, MaskedLabels, open_pixels, open_raster_labels
from geounet.train.data.match import RASTERS, VECTORS, Matching, list_files, match
from geounet.train.data.names import Bands, choose_bands
from geounet.train.data.pair import Scaling
from geounet.train.data.polygons import Drawing, PolygonLabels, read_drawing
from geounet.train.data.problems import Problems, listing
from geounet.train.data.request import DataRequest
from geounet.window import Window

_STRIP = 4 << 20  # pixels of labels that are looked at in one go

Say = Callable[[str], object]
"""Where to say things."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """One image and its label, opened."""

    name: str
    """Key of the pair."""
    files: tuple[Path, Path]
    """Image and label."""
    image: SceneReader
    """The image."""
    bands: Bands
    """Which of its bands are read."""
    labels: Labels
    """On its grid."""
    drawing: Drawing | None
    """Where the label is polygons."""
    values: Counter[int]
    """Pixels a label value."""

    @property
    def on_map(self) -> bool:
        """Whether it has a place."""
        info = self.image.info
        return info.georeferenced and info.geobox.crs is not None


@dataclass(slots=True, kw_only=True)
class Opening:
    """Opens one after the other and collects what is wrong."""

    request: DataRequest
    """What was asked for."""
    problems: Problems = field(default_factory=Problems)
    """What is wrong."""
    notes: list[str] = field(default_factory=list)
    """What the user must hear."""
    names: tuple[str, ...] = ()
    """Of the bands of the first image, and so of all."""
    _drawings: dict[Path, Drawing | None] = field(default_factory=dict)

    def run(self) -> tuple[list[Opened], LabelCodes]:
        """All pairs, and what the values in their labels mean.

        Raises:
            DataError: Everything that is wrong, at once.
        """
        matching = self._match()
        masks = self._masks(matching)
        found = [self._open(*pair, masks.get(pair[0])) for pair in matching.pairs]
        opened = [one for one in found if one is not None]
        codes = self._codes(opened)
        self.problems.refuse()
        return opened, codes

    def _match(self) -> Matching:
        images = list_files(self.request.images, RASTERS)
        labels = list_files(self.request.labels, (*RASTERS, *VECTORS))
        rasters = [p for p in labels if p.suffix.lower() not in VECTORS]
        labels = tuple(rasters) or labels
        if len(labels) == 1 and len(images) > 1:
            stems = Counter(p.stem for p in images)
            for stem in (s for s, n in stems.items() if n > 1):
                self.problems.add("several images of one name: rename them", stem)
            self.notes.append(f"{len(images)} images, all labelled by {labels[0].name}")
            return Matching(pairs=tuple((p.stem, p, labels[0]) for p in images), rule="one label")
        matching = match(images, labels)
        self._complain(matching)
        count = len(matching.pairs)
        noun = "pair" if count == 1 else "pairs"
        self.notes.append(f"{count} {noun} of image and label: {matching.rule}")
        return matching

    def _complain(self, matching: Matching) -> None:
        for path in matching.lonely:
            self.problems.add(f"no label for these images (matched by {matching.rule})", path.name)
        whole = Path(self.request.images).is_dir()
        if whole:
            for path in matching.spare:
                self.problems.add(
                    f"no image for these labels (matched by {matching.rule})", path.name
                )
        elif matching.spare:
            self.notes.append(f"{len(matching.spare)} labels without an image are not used")
        for key in matching.doubled:
            self.problems.add("several files for one name: keep one of each", key)

    def _masks(self, matching: Matching) -> dict[str, Path]:
        if self.request.mask is None or not matching.pairs:
            return {}
        files = list_files(self.request.mask, RASTERS)
        found = match([image for _, image, _ in matching.pairs], files)
        key = {image: name for name, image, _ in matching.pairs}
        for path in found.lonely:
            self.problems.add(f"no mask for these images (matched by {found.rule})", path.name)
        self.notes.append(f"labels count inside of {len(found.pairs)} masks only: {found.rule}")
        return {key[image]: mask for _, image, mask in found.pairs}

    def _open(self, name: str, image: Path, label: Path, mask: Path | None) -> Opened | None:
        try:
            reader = open_pixels(image)
            bands = self._bands(reader, image)
            _refuse_rotated(reader.info)
            drawing = self._drawing(label)
            if drawing is None and label.suffix.lower() in VECTORS:
                return None  # and that was said
            labels = self._labels(drawing, label, reader.info)
            if mask is not None:
                labels = MaskedLabels(labels, open_raster_labels(mask, reader.info))
            values = self._values(labels, reader.info)
            labels.close()
            reader.close()
        except (SceneError, DataError) as error:
            self.problems.add(*_told(error, image))
            return None
        return Opened(
            name=name,
            files=(image, label),
            image=reader,
            bands=bands,
            labels=labels,
            drawing=drawing,
            values=values,
        )

    def _bands(self, reader: SceneReader, path: Path) -> Bands:
        model = self.request.model
        if model is not None:
            found = fit.fit_scene(reader, model, self.request.reading())
            self.names = model.band_names
            return Bands(names=self.names, indices=found.bands)
        bands = choose_bands(reader.info, self.request.bands)
        self.names = self.names or bands.names
        if bands.names != self.names:
            raise DataError(
                f"{path.name} has the bands {listing(bands.names)} and not"
                f" {listing(self.names)} as the first image: say which with --bands"
            )
        return bands

    def _drawing(self, label: Path) -> Drawing | None:
        """The polygons of a vector file, read once however many images it labels."""
        if label.suffix.lower() not in VECTORS:
            return None
        if label not in self._drawings:
            self._drawings[label] = None
            request = self.request
            self._drawings[label] = read_drawing(
                label, request.classes, request.class_field, request.ignore | set(request.remap)
            )
        return self._drawings[label]

    def _labels(self, drawing: Drawing | None, label: Path, image: SceneInfo) -> Labels:
        if drawing is None:
            return open_raster_labels(label, image)
        if not image.georeferenced or image.geobox.crs is None:
            raise DataError(f"{image.source} has no CRS, so polygons have no place in it")
        named = dict(zip(self.request.classes.names, self.request.classes.codes, strict=True))
        background = self.request.background
        found = PolygonLabels(
            drawing, image.geobox, None if background is None else named[background]
        )
        if not len(found):
            raise DataError(f"no polygon of {label.name} lies on {image.source}")
        return found

    def _values(self, labels: Labels, info: SceneInfo) -> Counter[int]:
        values: Counter[int] = Counter()
        for window in _strips(info):
            values += count_values(*labels.read(window))
        return values

    def _codes(self, opened: Sequence[Opened]) -> LabelCodes:
        request = self.request
        codes = LabelCodes(classes=request.classes, ignore=request.ignore, remap=request.remap)
        values = sum((one.values for one in opened), Counter[int]())
        masks = codes.for_masks(values)
        if masks is not codes:
            self.notes.append("labels are masks of 0 and 255: 255 is read as class 1")
        for value in masks.unknown(values):
            where = [one.files[1].name for one in opened if one.values[value]]
            self.problems.add(
                f"label value {value} ({values[value]:,} px) is no class{self._remedy(value)}",
                listing(where),
            )
        if opened and request.model is None:
            self._check_empty(masks, values, opened)
        elif opened and not any(masks.count(values)):
            self.problems.add(f"no label holds a pixel of {request.classes}: nothing can be scored")
        return masks

    def _remedy(self, value: int) -> str:
        if self.request.model is None:
            return " and not ignored (add it to the classes, or to --ignore)"
        flag = f"{' ' if value >= 0 else '='}{value}"  # else it looks like another option
        return (
            f" of {self.request.model.name} ({self.request.classes}) and not ignored (say which"
            f" class it is, --map{flag}=CODE, or leave it out, --ignore{flag})"
        )

    def _check_empty(
        self, codes: LabelCodes, values: Counter[int], opened: Sequence[Opened]
    ) -> None:
        for one, count in zip(codes.classes, codes.count(values), strict=True):
            if count == 0:
                taken = [o.files[1].name for o in opened if _nodata(o) == one.code]
                why = f" (it is the nodata value of {listing(taken)})" if taken else ""
                self.problems.add(
                    "classes without a pixel in any label (leave them out)", f"{one.name}{why}"
                )


def scaling(request: DataRequest, info: SceneInfo, bands: Bands) -> Scaling:
    """Scale and offset as ``segment`` takes them."""
    chosen = [info.bands[b - 1] for b in bands.indices]
    scale, offset = fit.scaling(request.unit, chosen, request.reading())
    return Scaling(
        scale=np.array(scale, np.float32)[:, None, None],
        offset=np.array(offset, np.float32)[:, None, None],
    )


def _strips(info: SceneInfo) -> Iterator[Window]:
    rows = max(1, _STRIP // max(1, info.width))
    for start in range(0, info.height, rows):
        yield Window.between(start, 0, min(info.height, start + rows), info.width)


def _nodata(one: Opened) -> Any:
    """The nodata value of a label raster."""
    if one.drawing is not None:
        return None
    with closing(open_pixels(one.files[1])) as reader:
        return reader.info.bands[0].nodata


def _refuse_rotated(info: SceneInfo) -> None:
    affine = info.geobox.affine
    if info.georeferenced and info.geobox.crs is not None and (affine.b or affine.d):
        raise DataError(f"{info.source} is rotated: warp it first with gdalwarp")


def _told(error: Exception, image: Path) -> tuple[str, str]:
    """What kind of problem it is, and where: one line for many images that have the same."""
    text, source = str(error), f"{image}: "
    if isinstance(error, BandError | ValueRangeError) and text.startswith(source):
        return text.removeprefix(source), image.name
    if " against " in text:
        return "label and image differ in size", text
    return "these cannot be used", text
