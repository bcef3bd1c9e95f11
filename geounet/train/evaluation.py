"""``geounet evaluate MODEL --images ... --labels ...``: a bundle scored over a set of images."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geounet import fit
from geounet.bundle import Bundle
from geounet.engine.device import resolve_device
from geounet.engine.memory import out_of_memory
from geounet.errors import DeviceError, SceneError, ValueRangeError
from geounet.models import load_model
from geounet.options import Progress
from geounet.staging import check_outputs
from geounet.train.augment import Normalize
from geounet.train.config import request_of
from geounet.train.data import DataRequest, PairSource, describe, open_data
from geounet.train.data.pair import Pair
from geounet.train.keys import plain
from geounet.train.predict import predictor
from geounet.train.report import TrainingReport
from geounet.train.report.page import write_report
from geounet.train.run import silent
from geounet.train.scoring import Gallery, SetScores, score
from geounet.train.settings import EvaluateSettings
from geounet.train.source import IGNORE, Chip
from geounet.window import Window

_BLOCK = 512  # pixels: few or large images are cut into blocks of at least half of it
_LOOKED_AT = 8  # images whose values are checked: a wrong unit is that of all

Say = Callable[[str], object]
"""Takes a line for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateResult:
    """How good a model is over a set of images."""

    model: str
    """Its name."""
    sha256: str
    """Identifies it."""
    scores: SetScores
    """Over all labelled pixels."""
    notes: tuple[str, ...]
    """What was said of the data, a line each."""
    device: str
    """Where it ran."""
    seconds: float
    """Wall time of reading, prediction and scoring."""
    report: Path | None
    """The page, if one was asked for."""

    def to_json(self) -> str:
        """One line of JSON."""
        pixels = self.scores.pixels + self.scores.ignored
        return json.dumps(
            {
                "model": self.model,
                "sha256": self.sha256,
                "device": self.device,
                "seconds": round(self.seconds, 1),
                "mpx_per_s": round(pixels / max(self.seconds, 1e-9) / 1e6, 3),
                "report": None if self.report is None else str(self.report),
                "notes": list(self.notes),
                "scores": self.scores.as_dict(),
            }
        )


def run_evaluate(
    model: str | Path,
    settings: EvaluateSettings,
    *,
    command: str = "",
    say: Say = silent,
    progress: Progress | None = None,
) -> EvaluateResult:
    """Score a model on labelled images, by group of place.

    Bands, scale and offset of each image are taken as ``geounet segment`` takes them, and so is
    what lies around a block that a large image is cut into: where the seam of the model is exact,
    what is scored are the labels that ``segment`` would give in float32.

    Args:
        model: Name of a bundled model, or path of a ``.geounet`` file.
        settings: The images, their labels, and how they are read.
        command: For the page.
        say: Is told, a line each, what a person should know of the data.
        progress: Is told how many pixels are done, and of how many.

    Raises:
        DataError: Everything that is wrong with images and labels, before any prediction.
        ValueRangeError: The values of the images cannot be what the model expects.
        OutputError: The page exists, or cannot be written.
        GeounetError: Whatever else is wrong with the model or the settings.
    """
    if settings.report is not None:
        check_outputs([settings.report], overwrite=settings.overwrite)
    bundle = load_model(model)
    device = resolve_device(settings.device)
    spec = bundle.spec
    request = request_of(settings, spec.classes, spec.unit, _BLOCK)
    notes = _Notes(say)
    source = _open(replace(request, model=spec), notes)
    gallery = Gallery(bands=source.bands, groups=source.groups)
    start = time.perf_counter()
    scores = _score(source, bundle, device, None if settings.report is None else gallery, progress)
    seconds = time.perf_counter() - start
    if len(scores.groups) < 2:
        notes("there is one group only, so no confidence interval: --groups FILE names groups")
    result = EvaluateResult(
        model=spec.name,
        sha256=bundle.sha256,
        scores=scores,
        notes=tuple(notes.lines),
        device=str(device),
        seconds=seconds,
        report=settings.report,
    )
    if settings.report is not None:
        page = _page(result, bundle, gallery, settings, command)
        write_report(settings.report, page, overwrite=settings.overwrite)
    return result


class _Notes:
    """Says each line and keeps it."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._say(line)


def _open(request: DataRequest, say: Say) -> PairSource:
    source = open_data(request)
    for line in describe(source):
        say(line)
    _check_values(source, request, say)
    return source


def _check_values(source: PairSource, request: DataRequest, say: Say) -> None:
    """Refuse a set whose values cannot be what the model expects; warn if some can."""
    pairs = source.content.pairs
    some = pairs[:: 1 + (len(pairs) - 1) // _LOOKED_AT]
    wrong = [error for error in (_implausible(pair, request) for pair in some) if error]
    if len(wrong) == len(some):
        raise wrong[0]
    for error in wrong:
        say(f"warning: {error}")


def _implausible(pair: Pair, request: DataRequest) -> ValueRangeError | None:
    if request.model is None:
        return None
    try:
        fit.check_values(fit.fit_scene(pair.image, request.model, request.reading()), request.model)
    except ValueRangeError as error:
        return error
    except SceneError:  # nothing in it is valid: it is not scored either
        return None
    finally:
        pair.image.close()
    return None


def _score(
    source: PairSource,
    bundle: Bundle,
    device: torch.device,
    gallery: Gallery | None,
    progress: Progress | None,
) -> SetScores:
    done, total = 0, sum(source.size(name) for name in source.names)

    def watch(chip: Chip, predicted: NDArray[np.int64]) -> None:
        nonlocal done
        if gallery is not None:
            gallery(chip, predicted)
        done += predicted.size
        if progress is not None:
            progress(done, total)

    if progress is not None:
        progress(0, total)
    try:
        return score(_InPlace(source, bundle, device), source, source.names, watch=watch)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        remedy = "give smaller images" if device.type == "cpu" else "use --device cpu"
        raise DeviceError(
            f"{device} has too little free memory for {bundle.spec.name}: {remedy}"
        ) from error


class _InPlace:
    """Predicts a chip from what lies around it in its image, too, as far as the network looks."""

    def __init__(self, source: PairSource, bundle: Bundle, device: torch.device) -> None:
        network = bundle.network.to(device)
        self._halo, self._stride = network.halo, network.stride
        self._predict = predictor(network, Normalize(bundle.spec.bands, bundle.spec.clip))
        self._content = source.content
        self._blocks = {block.name: block for block in source.content.blocks}

    def __call__(self, chip: Chip) -> NDArray[np.float32]:
        """Logits (classes, height, width) of the chip."""
        block = self._blocks[chip.name]
        pair = self._content.pairs[block.pair]
        seen = self._around(block.window, pair.info.window)
        if seen == block.window:
            return self._predict(chip)
        image = pair.read_image(seen, seen)
        label = np.full((seen.height, seen.width), IGNORE, np.int64)
        logits = self._predict(Chip(name=chip.name, image=image, label=label))
        return logits[:, *block.window.relative_to(seen).slices]

    def _around(self, window: Window, image: Window) -> Window:
        """The window with the halo, from where a tile of the whole image could begin."""
        top, left = (
            max(0, start - self._halo) // self._stride * self._stride
            for start in (window.row_off, window.col_off)
        )
        wide = Window.between(top, left, window.row_end + self._halo, window.col_end + self._halo)
        return wide.intersect(image)


def _page(
    result: EvaluateResult,
    bundle: Bundle,
    gallery: Gallery,
    settings: EvaluateSettings,
    command: str,
) -> TrainingReport:
    scores, spec = result.scores, bundle.spec
    images, labels = Path(settings.images).name, Path(settings.labels).name
    return TrainingReport(
        title=spec.name,
        summary=f"{spec.card.summary} Scored on {scores.chips:,} chips in {len(scores.groups):,}"
        f" groups: images of {images}, labels of {labels}.",
        classes=spec.classes,
        scores=scores,
        best=gallery.best,
        worst=gallery.worst,
        notes=result.notes,
        config=plain(settings),
        provenance={
            "command": command,
            "model": bundle.path,
            "sha256": bundle.sha256,
            "version of the model": spec.version,
            "device": result.device,
            "geounet": version("geounet"),
            "torch": torch.__version__,
        },
    )
