"""Compares a class map with labels on the same grid, in bounded memory."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.errors import OptionError, SceneError
from geounet.legend import read_legend
from geounet.metrics import NO_BOUNDARY, BoundaryScore, ClassScore, Confusion, mean
from geounet.samegrid import check_same_grid
from geounet.scene import SceneInfo, SceneReader, SceneSource, open_scene
from geounet.window import Window

STRIP_PIXELS = 2 << 20
"""Pixels of a strip: a few dozen bytes each bound the memory."""


_CODES = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedScore:
    """The scores of one class with its name."""

    name: str
    """From ``classes``, the legend of either raster, or the code as text."""
    score: ClassScore
    """Pixel scores."""
    boundary_f1: float
    """Boundary F1 at the report's tolerance; NaN: the labels show no boundary of the class."""

    @property
    def boundary_unseen(self) -> bool:
        """Whether the labels hold the class and show no boundary of it."""
        return math.isnan(self.boundary_f1) and not self.score.absent

    def as_dict(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        return {
            "code": self.score.code,
            "name": self.name,
            "iou": _plain(self.score.iou),
            "f1": _plain(self.score.f1),
            "precision": _plain(self.score.precision),
            "recall": _plain(self.score.recall),
            "boundary_f1": _plain(self.boundary_f1),
            "label_pixels": self.score.labelled,
            "pred_pixels": self.score.predicted,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """Scores of a class map. Classes in neither raster are NaN and left out of the means."""

    pred: str
    """The class map."""
    labels: str
    """What it was compared with."""
    pixels: int
    """Pixels scored."""
    ignored: int
    """Pixels left out: nodata in either raster, or an ignored label."""
    classes: tuple[NamedScore, ...]
    """By rising code."""
    mean_iou: float
    """Mean IoU over the classes that are in at least one raster."""
    mean_f1: float
    """Mean F1 over the same classes."""
    mean_boundary_f1: float
    """Mean boundary F1 over the classes that have one."""
    overall_accuracy: float
    """Share of the scored pixels whose codes agree."""
    tolerance: float
    """Tolerance of the boundary F1 in pixels."""
    confusion: tuple[tuple[int, ...], ...]
    """Pixels by (predicted class, labelled class), in the order of ``classes``."""
    unknown_labels: tuple[int, ...]
    """Codes in the labels that the prediction does not have; they count as wrong."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes that are in neither raster."""
        return tuple(entry.name for entry in self.classes if entry.score.absent)

    def to_json(self) -> str:
        """One line of JSON; what cannot be computed is null."""
        return json.dumps(
            {
                "pred": self.pred,
                "labels": self.labels,
                "pixels": self.pixels,
                "ignored_pixels": self.ignored,
                "mean_iou": _plain(self.mean_iou),
                "mean_f1": _plain(self.mean_f1),
                "mean_boundary_f1": _plain(self.mean_boundary_f1),
                "boundary_tolerance_px": self.tolerance,
                "overall_accuracy": _plain(self.overall_accuracy),
                "classes": [entry.as_dict() for entry in self.classes],
                "confusion_pred_by_label": [list(row) for row in self.confusion],
                "absent_classes": list(self.absent),
                "unknown_label_codes": list(self.unknown_labels),
            }
        )

    def table(self) -> str:
        """The scores as text for people."""
        head = ("class", "IoU", "F1", "precision", "recall", "boundary F1", "labelled", "predicted")
        rows = [head, *(_row(entry) for entry in self.classes), self._mean_row()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [_aligned(row, widths) for row in rows]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], "", *self._notes()])

    def _mean_row(self) -> tuple[str, ...]:
        means = (self.mean_iou, self.mean_f1, math.nan, math.nan, self.mean_boundary_f1)
        iou, f1, _, _, edge = (_figure(value) for value in means)
        return ("mean", iou, f1, "", "", edge, f"{self.pixels:,}", f"{self.pixels:,}")

    def _notes(self) -> Iterator[str]:
        yield f"overall accuracy {_figure(self.overall_accuracy)}"
        yield f"{self.pixels:,} pixels scored, {self.ignored:,} ignored (nodata or --ignore)"
        yield f"boundary F1 at {self.tolerance:g} px"
        if self.absent:
            yield f"in neither raster, left out of the means: {', '.join(self.absent)}"
        if unseen := [entry.name for entry in self.classes if entry.boundary_unseen]:
            yield f"{NO_BOUNDARY}: {', '.join(unseen)}"
        if self.unknown_labels:
            codes = ",".join(map(str, self.unknown_labels))
            yield (
                f"label codes that the prediction does not have, counted as wrong: {codes}"
                f" (--ignore={codes} leaves them out, --map {self.unknown_labels[0]}=CODE"
                " turns one into another)"
            )


def evaluate(
    pred: SceneSource,
    labels: SceneSource,
    *,
    ignore: Collection[int] = (),
    remap: Mapping[int, int] | None = None,
    classes: Mapping[str, int] | None = None,
    tolerance: float = 2.0,
) -> EvaluationReport:
    """Score a class map against labels.

    Pixels are left out where either raster has nodata, or where the label is in ``ignore``.

    Args:
        pred: Class map: path, DataArray or scene reader with one band of codes.
        labels: The same for the labels. Grids must agree to a hundredth of a pixel; a raster
            without CRS (a PNG mask) only has to have the shape.
        ignore: Label codes that are not scored.
        remap: Label code -> code of the prediction, for masks with other codes (``{255: 1}``);
            applied after ``ignore``.
        classes: Name -> code; default: the legend of ``pred``, then of ``labels``, then codes.
        tolerance: Of the boundary F1, in pixels.

    Raises:
        SceneError: A raster cannot be read or holds no codes, the grids differ, or no pixel can
            be scored.
        OptionError: ``tolerance`` or ``classes`` cannot be used.
    """
    edges, counts = BoundaryScore(tolerance=tolerance), Confusion()
    recode = _Recode(ignore=frozenset(ignore), remap=dict(remap or {}))
    names = _by_code(classes or {})
    with closing(open_scene(pred)) as ours, closing(open_scene(labels)) as theirs:
        check_same_grid(ours.info, theirs.info)
        for strip in _strips(ours, theirs, recode, edges.halo):
            core = strip.core
            counts.add(strip.predicted[core], strip.labelled[core], strip.valid[core])
            edges.add(strip.predicted, strip.labelled, strip.valid, core)
        if not counts.total:
            raise SceneError(
                f"no pixel can be scored: {ours.info.source} and {theirs.info.source} have no pixel"
                " where both are valid and the label is not ignored"
            )
        return _report(ours.info, theirs.info, counts, edges, names)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recode:
    """What happens to the labels before they are compared."""

    ignore: frozenset[int]
    remap: dict[int, int]

    def __call__(
        self, labels: NDArray[np.int32], valid: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        if self.ignore:
            valid = valid & ~np.isin(labels, list(self.ignore))
        out = labels.copy() if self.remap else labels
        for old, new in self.remap.items():
            out[labels == old] = new
        return out, valid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Strip:
    """Rows of both rasters: a core with the context that boundaries need."""

    predicted: NDArray[np.int32]
    labelled: NDArray[np.int32]
    valid: NDArray[np.bool_]
    core: slice


def _strips(pred: SceneReader, labels: SceneReader, recode: _Recode, halo: int) -> Iterator[_Strip]:
    height, width = pred.info.height, pred.info.width
    ours, theirs = class_band(pred.info), class_band(labels.info)
    rows = max(16, STRIP_PIXELS // width)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        window = Window.between(max(0, start - halo), 0, min(height, stop + halo), width)
        predicted, valid = read_codes(pred, window, ours)
        labelled, known = read_codes(labels, window, theirs)
        labelled, valid = recode(labelled, valid & known)
        core = slice(start - window.row_off, stop - window.row_off)
        yield _Strip(predicted=predicted, labelled=labelled, valid=valid, core=core)


def class_band(info: SceneInfo) -> int:
    """The one band that is not alpha, 1-based."""
    bands = [i for i, band in enumerate(info.bands, start=1) if not band.is_alpha]
    if len(bands) != 1:
        raise SceneError(
            f"{info.source} has {len(bands)} bands; class codes need one: pick it with"
            " gdal_translate -b N"
        )
    return bands[0]


def read_codes(
    scene: SceneReader, window: Window, band: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Codes and validity of a window; codes of invalid pixels mean nothing."""
    raster = scene.read(window, [band])
    data, valid = raster.data[0], raster.valid
    values = data[valid]
    if data.dtype.kind == "f" and (values != np.rint(values)).any():
        odd = values[values != np.rint(values)][0]
        raise SceneError(
            f"{scene.info.source} holds fractions such as {odd:g}; class codes are whole numbers:"
            " give the class map, not a probability or a confidence"
        )
    if values.size and not (_CODES.min < values.min() and values.max() <= _CODES.max):
        raise SceneError(
            f"{scene.info.source} holds values from {values.min():g} to {values.max():g}:"
            " those are no class codes"
        )
    return np.where(valid, data, 0).astype(np.int32), valid


def _by_code(classes: Mapping[str, int]) -> dict[int, str]:
    names: dict[int, str] = {}
    for name, code in classes.items():
        if code in names:
            raise OptionError(f"class code {code} has two names, {names[code]!r} and {name!r}")
        names[code] = name
    return names


def _report(
    pred: SceneInfo,
    labels: SceneInfo,
    counts: Confusion,
    edges: BoundaryScore,
    given: dict[int, str],
) -> EvaluationReport:
    legend = read_legend(pred.path or pred.source)
    theirs = read_legend(labels.path or labels.source)
    known = set(given) or set(legend)
    names = {code: c.name for code, c in {**theirs, **legend}.items()} | given
    codes = sorted(known | set(counts.codes))
    scores = [counts.score(code) for code in codes]
    known |= {score.code for score in scores if score.predicted}
    bounds = [edges.f1(code) for code in codes]
    return EvaluationReport(
        pred=pred.source,
        labels=labels.source,
        pixels=counts.total,
        ignored=pred.window.size - counts.total,
        classes=tuple(
            NamedScore(name=names.get(s.code, str(s.code)), score=s, boundary_f1=b)
            for s, b in zip(scores, bounds, strict=True)
        ),
        mean_iou=mean(score.iou for score in scores),
        mean_f1=mean(score.f1 for score in scores),
        mean_boundary_f1=mean(bounds),
        overall_accuracy=counts.accuracy,
        tolerance=edges.tolerance,
        confusion=tuple(map(tuple, counts.matrix(codes).tolist())),
        unknown_labels=tuple(s.code for s in scores if s.labelled and s.code not in known),
    )


def _row(entry: NamedScore) -> tuple[str, ...]:
    score = entry.score
    ratios = (score.iou, score.f1, score.precision, score.recall, entry.boundary_f1)
    name = entry.name if entry.name == str(score.code) else f"{score.code} {entry.name}"
    return (name, *map(_figure, ratios), f"{score.labelled:,}", f"{score.predicted:,}")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        text.rjust(width) if i else text.ljust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
