"""The settings of ``geounet train`` and its sisters: every flag is a key in a file.

What a user says, in plain values, so that ``--help`` needs nothing else;
:mod:`geounet.train.config` turns it into what is done. From Python, paths may be
given as text or as paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from geounet.errors import OptionError
from geounet.train.keys import coerce_paths, key

_data = partial(key, group="images and labels")
_network = partial(key, group="network")
_learning = partial(key, group="learning")
_change = partial(key, group="random changes of the training patches")
_machine = partial(key, group="machine")
_result = partial(key, group="result")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKeys:
    """Images and labels, and how they are read."""

    images: str = _data("what is seen: a folder, a glob, or one scene", show="PATH")
    labels: str = _data("what is there: a folder, a glob, a raster or a vector file", show="PATH")
    ignore: Any = _data("label values that are not looked at, as in 255,254", None, show="CODES")
    map: Any = _data("label value A means class code B, as in 255=1", None, show="A=B,...")
    class_field: str | None = _data(
        "field of the polygons that holds codes or names (default: the one that fits)",
        None,
        show="NAME",
    )
    background: str | None = _data(
        "class of everything outside of the polygons (default: that is ignored)", None, show="CLASS"
    )
    mask: str | None = _data(
        "folder, glob or raster of masks: where one is 0, labels are ignored", None, show="PATH"
    )
    groups: Path | None = _data(
        "JSON or CSV file that says which images belong together", None, show="FILE"
    )
    bands: str | None = _data(
        "bands to read, and their names, as in red=1,nir=4 (default: all)", None, show="NAME=I,..."
    )
    scale: float | None = _data("stored value * scale + offset is the unit", None, show="F")
    offset: float | None = _data("see scale", None, show="F")

    def __post_init__(self) -> None:
        coerce_paths(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningKeys(DataKeys):
    """What is learnt, and how."""

    classes: Any = _data("classes: name=code,... or a file of name,code a line", show="CLASSES")
    unit: str = _data(
        "any (values as they are stored), reflectance (0 to 1) or dB", "any", show="UNIT"
    )
    val: Any = _data(
        "what is set aside: a fraction of the ground, a folder, or a file that lists images",
        0.2,
        show="VAL",
    )
    width: int = _network("channels of the first level of unet, fcn and segnet", 16, show="N")
    depth: int = _network("how often unet, fcn and segnet halve the image", 4, show="N")
    encoder_weights: str | None = _network(
        "file or torchgeo name of weights for the encoder of unet-resnet34 and the like",
        None,
        show="WEIGHTS",
    )
    loss: str = _learning(
        "sum of ce, dice, jaccard, focal, tversky, lovasz, as in 0.7*ce+0.3*dice",
        "0.5*ce+0.5*dice",
        show="LOSS",
    )
    epochs: int = _learning("times that all is seen, about", 30, show="N")
    steps: int | None = _learning(
        "steps of an epoch (default: as many as show all once, at least 50)", None, show="N"
    )
    patch: int = _learning("side of a training patch in pixels", 128, show="PX")
    batch_size: int = _learning("patches in a step", 16, show="N")
    lr: float | None = _learning(
        "largest learning rate (default: 0.003, with an encoder of others 0.001)", None, show="F"
    )
    optimizer: str = _learning("adamw or adam", "adamw", show="NAME")
    schedule: str = _learning("of the learning rate: one-cycle or cosine", "one-cycle", show="NAME")
    weight_decay: float = _learning("of the optimizer", 0.01, show="F")
    balance: float = _learning(
        "class weights are frequency ** -balance: 0 none, 0.5 the root, 1 the inverse",
        0.0,
        show="F",
    )
    label_smoothing: float = _learning("of the cross-entropy, 0 to 1", 0.0, show="F")
    threshold: bool = _learning(
        "of two classes: shift the decision to the best IoU on the training part", default=False
    )
    flip: bool = _change("mirror; quarter turns too, with rotate", default=True)
    rotate: bool = _change("turn by up to 15 degrees, and quarter turns", default=True)
    zoom: bool = _change("zoom, 0.8 to 1.25", default=True)
    radiometry: bool = _change("brightness and contrast", default=True)
    noise: bool = _change("white noise", default=True)
    device: str = _machine("auto, cpu, cuda, cuda:N or mps", "auto", show="NAME")
    devices: int = _machine("GPUs (or processes, on a CPU) that share a batch", 1, show="N")
    precision: str = _machine(
        "auto (half where the machine has it), fp32, bf16 or fp16", "auto", show="NAME"
    )
    limit_memory: str | None = _machine(
        "memory of a step, as in 4GB: mixed precision, gradient checkpointing and smaller"
        " minibatches are taken until it fits",
        None,
        show="SIZE",
    )

    def __post_init__(self) -> None:
        DataKeys.__post_init__(self)
        for name in ("patch", "batch_size", "epochs", "width", "depth", "devices"):
            if getattr(self, name) < 1:
                raise OptionError(
                    f"--{name.replace('_', '-')} {getattr(self, name)}: give at least 1"
                )
        if not 0 <= self.label_smoothing < 1:
            raise OptionError(f"--label-smoothing {self.label_smoothing:g}: give 0 to below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings(LearningKeys):
    """The settings of ``geounet train``."""

    out: Path = _result("the model to write, MODEL.geounet", show="MODEL.geounet")
    name: str | None = _result("name of the model (default: that of its file)", None, show="NAME")
    arch: str = _network(
        "unet, fcn, segnet, or decoder-encoder as in unet-resnet34, segformer-mit_b0",
        "unet",
        show="NAME",
    )
    patience: int | None = _learning(
        "stop after so many epochs without a better validation (default: never)", None, show="N"
    )
    seed: int = _learning("of everything that is random", 1, show="N")
    summary: str | None = _result("one line for the model card: what it maps", None, show="TEXT")
    terms: str | None = _result("for the card: licence of the model and data", None, show="TEXT")
    limits: str | None = _result("for the card: what it is not good for", None, show="TEXT")
    resume: bool = _result("go on with a training that was stopped", default=False)
    overwrite: bool = _result("replace what is there", default=False)

    def __post_init__(self) -> None:
        LearningKeys.__post_init__(self)
        if self.resume and self.overwrite:
            raise OptionError("--resume goes on and --overwrite starts again: give one of them")

    @property
    def folder(self) -> Path:
        """Of the run: checkpoint, logs, settings."""
        return self.out.with_suffix(".run")

    @property
    def report(self) -> Path:
        """The page."""
        return self.out.with_suffix(".html")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings(LearningKeys):
    """The settings of ``geounet compare``."""

    archs: Any = _network("architectures, as in unet,fcn,segnet,unet-resnet34", show="NAME,...")
    val: Any = _data(
        "what is set aside and scored, and chooses no epoch: a fraction of the ground, a folder, or"
        " a file that lists images",
        0.2,
        show="VAL",
    )
    encoder_weights: str | None = _network(
        "file or torchgeo name of weights for the encoders of those that have one",
        None,
        show="WEIGHTS",
    )
    seeds: Any = _learning("each architecture is trained once with each", "1,2,3", show="N,...")
    devices: int = _machine("1, since a comparison trains on one device", 1, show="N")
    cost: bool = _machine(
        "measure operations, time and memory of each, now or later: trainings are kept",
        default=True,
    )
    tile: int = _machine("side of the tile on which they are measured", 512, show="PX")
    out: Path = _result("folder that gets the table, its data and the plot", show="FOLDER")
    overwrite: bool = _result(
        "replace the table, its data and the plot; trainings that are kept there still count",
        default=False,
    )

    def __post_init__(self) -> None:
        LearningKeys.__post_init__(self)
        if self.devices != 1:
            raise OptionError(
                f"--devices {self.devices}: a comparison trains on one device: leave it out"
            )
        if self.tile < 1:
            raise OptionError(f"--tile {self.tile}: give at least 1 pixel, as in 512")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSettings(DataKeys):
    """The settings of ``geounet evaluate MODEL --images ... --labels ...``."""

    bands: str | None = _data(
        "which band of the images is which of the model, as in red=1,nir=4 (default: by name)",
        None,
        show="NAME=I,...",
    )
    groups: Path | None = _data(
        "JSON or CSV file that says which images belong together: the intervals are over these"
        " groups (default: what lies on the same ground)",
        None,
        show="FILE",
    )
    device: str = _machine("auto, cpu, cuda, cuda:N or mps", "auto", show="NAME")
    report: Path | None = _result(
        "also write a page with the best and the worst patches", None, show="FILE.html"
    )
    overwrite: bool = _result("replace the page if it is there", default=False)
