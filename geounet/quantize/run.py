"""From a model and scenes to a model of INT8 whose loss is known."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geounet.bundle import SUFFIX, Bundle, save_int8
from geounet.errors import ModelError, OptionError, SceneError
from geounet.fit import Fit, Reading, check_values, fit_scene
from geounet.graph import Graph
from geounet.models import load_model
from geounet.quantize.calibrate import check_installed, float_model, int8_graph
from geounet.quantize.loss import Loss
from geounet.quantize.plan import Plan, plans
from geounet.quantize.tiles import SIDE, Images, Place, Source, Split, draw
from geounet.samegrid import check_same_grid
from geounet.scene import SceneReader, open_scene
from geounet.spec import ModelSpec
from geounet.staging import check_outputs
from geounet.tiling import TileGrid

BOUND = 0.01
"""The most that a model may lose, see :attr:`geounet.quantize.loss.Loss.value`."""

AGREEMENT = 0.99
"""The least share of labels that are to be as in float32. Against weak labels a model may lose
nothing and yet draw another map."""

Say = Callable[[str], None]
"""Takes a line for the user."""

_LONGEST = 64  # characters of a model's name
_MARK = "-int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """What ``geounet models quantize`` was asked to do."""

    model: str | Path
    """Name of a bundled model, or path of a bundle."""
    scenes: Sequence[str | Path]
    """To calibrate and to measure on; each is one file."""
    out: Path
    """The bundle to write."""
    labels: Sequence[str | Path] = ()
    """One raster of class codes for each scene, in the same order; none: the loss is against
    float32."""
    bound: float = BOUND
    """The most that may be lost, 0 to 1."""
    agreement: float = AGREEMENT
    """The least share of labels that are to be as in float32, 0 to 1."""
    reading: Reading = field(default_factory=Reading)
    """Bands, scale and offset, where the scenes do not say."""
    seed: int = 0
    """Of the draw of tiles."""
    overwrite: bool = False
    """Replace a file that exists."""

    def __post_init__(self) -> None:
        if self.out.suffix != SUFFIX:
            raise OptionError(f"-o {self.out}: a model ends in {SUFFIX}")
        if not 0 <= self.bound <= 1:
            raise OptionError(f"--bound {self.bound:g}: a loss in IoU lies between 0 and 1")
        if not 0 <= self.agreement <= 1:
            raise OptionError(f"--agreement {self.agreement:g}: a share lies between 0 and 1")
        if not self.scenes:
            raise OptionError("give at least one scene to calibrate on")
        if self.labels and len(self.labels) != len(self.scenes):
            raise OptionError(
                f"--labels: {len(self.labels)} files for {len(self.scenes)} scenes: give one for"
                " each, in the same order, or none"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeResult:
    """A model of INT8 that was written."""

    out: Path
    """The bundle."""
    bytes: int
    """Its size."""
    float_bytes: int | None
    """Size of the model that it was made of; None: not a file."""
    plan: str
    """What is in INT8, and what is not."""
    scores: dict[str, Any]
    """As in the card, see :meth:`geounet.quantize.loss.Loss.card`."""
    calibration_tiles: int
    """Tiles that it was calibrated on."""
    held_out_tiles: int
    """Tiles that the loss was measured on."""
    seconds: float
    """That it took."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), default=str)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """A graph of INT8, how it came about, and what it loses."""

    graph: Graph
    plan: Plan
    loss: Loss


def quantize_model(options: QuantizeOptions, *, say: Say = lambda _: None) -> QuantizeResult:
    """Quantise a model to INT8, and write it if it loses no more than is allowed.

    Tiles are drawn from all scenes; on some the model is calibrated, on others it is compared with
    itself in float32, and with labels where there are any. Where all of INT8 loses too much, more
    and more layers stay in float32, see :func:`geounet.quantize.plan.plans`.

    Args:
        options: What was asked for.
        say: Hears what was tried.

    Raises:
        ModelError: The model has no graph to quantise, or loses more than is allowed.
        SceneError: A scene or labels cannot be used, or the grids of the two differ.
        OptionError, OutputError: The file cannot be written.
        DependencyError: NNCF is not installed.
    """
    start = time.perf_counter()
    check_outputs([options.out], overwrite=options.overwrite)
    bundle = load_model(options.model)
    graph = _graph_of(bundle)
    check_installed()
    with contextlib.ExitStack() as open_files:
        sources = [
            open_files.enter_context(_source(scene, labels, bundle.spec, graph, options.reading))
            for scene, labels in itertools.zip_longest(options.scenes, options.labels)
        ]
        split = draw(sources, options.seed)
        say(
            f"{len(split.calibration)} tiles to calibrate on, {len(split.held_out)} others to"
            " measure the loss on"
        )
        made = _within(bundle, graph, split, options, say)
    spec = _spec(bundle, made, split, options)
    save_int8(options.out, spec, made.graph)
    told, size = Path(bundle.path), options.out.stat().st_size
    before = told.stat().st_size if told.is_file() else None
    if before is not None and size >= before:
        say(no_smaller(options.out, size, before))
    return QuantizeResult(
        out=options.out,
        bytes=size,
        float_bytes=before,
        plan=made.plan.what,
        scores=made.loss.card(),
        calibration_tiles=len(split.calibration),
        held_out_tiles=len(split.held_out),
        seconds=round(time.perf_counter() - start, 1),
    )


def no_smaller(out: Path, size: int, before: int) -> str:
    """What is said of a file of INT8 that has as many bytes as its model, or more."""
    return (
        f"warning: {out} is no smaller than its model ({size / 1e6:.2f} MB, {before / 1e6:.2f}"
        " before): layers that stay in float32 have 32 bits a weight in it, and 16 in a model that"
        " is stored in half; keep it only if it is faster where it is to run"
    )


def _graph_of(bundle: Bundle) -> Graph:
    if bundle.is_int8:
        raise ModelError(f"{bundle.path} is of INT8 already: give the model that it was made of")
    if bundle.weights is None:
        raise ModelError(
            f"{bundle.path} is an ONNX file: quantise it with what made it, and run the result with"
            " geounet segment -m"
        )
    if bundle.graph is None:
        raise ModelError(
            f"{bundle.path} has no graph (a U-Net, FCN or SegNet has one), so it cannot be"
            " quantised"
        )
    return bundle.graph


@contextlib.contextmanager
def _source(
    scene: str | Path, labels: str | Path | None, spec: ModelSpec, graph: Graph, reading: Reading
) -> Iterator[Source]:
    """A scene and its labels, open."""
    with contextlib.ExitStack() as files:
        whole = files.enter_context(contextlib.closing(open_scene(scene)))
        fit = fit_scene(whole, spec, reading)
        files.enter_context(contextlib.closing(fit.scene))
        check_values(fit, spec)
        truth = None
        if labels is not None:
            truth = files.enter_context(contextlib.closing(open_scene(labels)))
            check_same_grid(fit.scene.info, truth.info)
        yield _cut(fit, graph, truth)


def _cut(fit: Fit, graph: Graph, labels: SceneReader | None) -> Source:
    info = fit.scene.info
    grid = TileGrid.cover(
        height=info.height, width=info.width, tile=SIDE, halo=graph.halo, stride=graph.stride or 1
    )
    return Source(fit=fit, grid=grid, labels=labels)


def _within(
    bundle: Bundle, graph: Graph, split: Split, options: QuantizeOptions, say: Say
) -> _Made:
    """The fastest graph that loses no more than the bound."""
    floating = _labels(bundle, split.held_out)
    images = Images(places=split.calibration)
    lost, share = "", ""
    for plan in plans(float_model(bundle, graph).graph):
        onnx = int8_graph(float_model(bundle, graph), images, len(images), plan.floats)
        made = replace(graph, onnx=onnx, precision="int8")
        loss = _measured(replace(bundle, graph=made, weights=None), split.held_out, floating)
        if options.labels and not loss.has_labels:
            raise SceneError(
                "--labels: no pixel of the tiles that are set aside has a label that is a class of"
                f" the model ({bundle.spec.classes}): give labels with its codes"
            )
        lost, share = f"{loss.value:.4f}", f"{loss.agreement:.3%}"
        say(f"{plan.what}: {share} of labels as in float32, loss in IoU {lost}")
        if loss.value <= options.bound and loss.agreement >= options.agreement:
            return _Made(graph=made, plan=plan, loss=loss)
    against = "" if options.labels else "--labels, against which less may be lost, "
    raise ModelError(
        f"{bundle.path}: INT8 loses {lost} in IoU and keeps {share} of the labels, also with the"
        f" finest layers in float32, beyond --bound {options.bound:g} or --agreement"
        f" {options.agreement:g}; nothing is written: give more scenes, {against}or other limits"
    )


def _labels(bundle: Bundle, places: Sequence[Place]) -> list[NDArray[np.uint8]]:
    """Labels of the cores, as a run gives them."""
    from geounet.engine.openvino import OpenVinoEngine

    engines: dict[bytes, OpenVinoEngine] = {}  # scenes that are scaled alike share one
    found = []
    for place in places:
        normalizer = place.source.fit.normalizer
        key = normalizer.scale.tobytes() + normalizer.offset.tobytes()
        if key not in engines:
            engines[key] = OpenVinoEngine(bundle, normalizer)
        tile, valid = place.source.read(place.tile)
        labels = engines[key].predict(tile[None], valid[None], confidence=False).labels[0]
        core = place.tile.core
        found.append(labels[: core.height, : core.width])
    return found


def _measured(
    bundle: Bundle, places: Sequence[Place], floating: Sequence[NDArray[np.uint8]]
) -> Loss:
    loss = Loss(classes=bundle.spec.classes)
    for place, before, after in zip(places, floating, _labels(bundle, places), strict=True):
        valid = place.source.valid(place.tile)
        loss.add(after, before, valid)
        if place.source.labels is not None:
            labels, known = place.source.codes(place.tile)
            loss.add_labels(after, before, labels, known & valid)
    return loss


def _spec(bundle: Bundle, made: _Made, split: Split, options: QuantizeOptions) -> ModelSpec:
    """The model's, with what was measured on its card."""
    spec, card = bundle.spec, bundle.spec.card
    limits = {"bound": options.bound, "least_agreement": options.agreement}
    told = {
        "model": f"{spec.name} {spec.version}",
        "sha256": bundle.sha256,
        "layers": made.plan.what,
        "float32_layers": list(made.plan.floats),
        "scenes": [Path(scene).name for scene in options.scenes],
        "calibration_tiles": len(split.calibration),
        "held_out_tiles": len(split.held_out),
        "side_of_a_tile": SIDE,
        "seed": options.seed,
        "versions": {name: version(name) for name in ("nncf", "onnxruntime", "openvino")},
    }
    return replace(
        spec,
        name=spec.name[: _LONGEST - len(_MARK)] + _MARK,
        bf16_agreement=None,
        card=replace(
            card,
            summary=f"{card.summary} (INT8)",
            limits=f"{card.limits} All scores but those under int8 are of the float32 model that it"
            " was made of.",
            metrics={**card.metrics, "int8": {**made.loss.card(), **limits}},
            provenance={**card.provenance, "int8": told},
        ),
    )
