"""What must be said about an ONNX file before it can be run, and how it is said: a small JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from geounet.bands import (
    COMMON_NAMES,
    GRAY,
    BandSpec,
    band_number,
    canonical_name,
    placeholder,
)
from geounet.classes import ClassDef, ClassScheme
from geounet.errors import OptionError
from geounet.graph import Ends, Graph, Layout, Output
from geounet.legend import PALETTE
from geounet.onnx.file import OnnxFile
from geounet.onnx.told import (
    Told,
    choice,
    each,
    flag,
    mapping,
    needed,
    number,
    pair,
    text,
    typed,
    whole,
)
from geounet.spec import GRAPH, ArchSpec, ModelCard, ModelSpec, Unit
from geounet.tiling import round_up

KEYS: Mapping[str, str] = {
    "file": "the ONNX file, beside the JSON (default: the JSON's name without .json)",
    "name": "short name, for the names of outputs (default: the file's)",
    "version": "version of the model",
    "bands": "names of the input bands in their order, or how many where they have no names",
    "unit": "reflectance (0 to 1), dB, or any (stored values as they are; the default)",
    "clip": "[lowest, highest] value, in the unit, before anything else",
    "mean": "a number, or one a band, in the unit: the network takes (value - mean) / std",
    "std": "the same; 255 for a network that takes bytes as 0 to 1",
    "normalizes": "true: the graph does clip, mean and std itself; mean is for missing pixels",
    "classes": 'names in the order of channels or codes, or {"code", "name", "color"} of each',
    "output": "logits, probabilities or labels (default: told from the graph)",
    "output_name": "which output, where there are several",
    "threshold": "of one channel: probability from which it is the second class (0.5)",
    "layout": "NCHW or NHWC (default: told from the graph)",
    "radius": "receptive radius in pixels: tiles are then exact; needs stride",
    "stride": "what tile sizes must be multiples of (default: found by trying)",
    "overlap": "pixels that blended tiles share (default: a quarter of a tile)",
    "plausible": "[lowest, highest] median of a band that can be right, in the unit",
    "pixel_size": "[smallest, largest] pixel in metres",
    "summary": "what it maps, from what, in a line",
    "data": "what it was trained on",
    "terms": "licence",
    "limits": "what it is not good for",
    "metrics": "scores, as in a model card",
    "provenance": "where it comes from, as in a model card",
}
"""Every key of the JSON."""

_EVERYTHING = (-3.0e38, 3.0e38)  # all of float32, nearly
_PLAUSIBLE = {"reflectance": (-0.1, 2.0), "dB": (-60.0, 20.0), "any": _EVERYTHING}
_SIDE = 512  # of blended tiles of a graph that takes any


def read_description(text: str) -> Told:
    """What a JSON says.

    Raises:
        OptionError: It is no JSON object, or has a key that there is not.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"it is no JSON ({error})") from error
    if not isinstance(told, dict):
        raise OptionError('it is no JSON object: write {"bands": ..., "classes": ...}')
    if unknown := sorted(set(told) - set(KEYS)):
        raise OptionError(f"there is no key {unknown[0]!r}: the keys are {', '.join(KEYS)}")
    return told


def spec_of(told: Told, name: str) -> ModelSpec:
    """The model that is described.

    Args:
        told: What is said about it.
        name: Its name, where none is said.

    Raises:
        OptionError: Something is missing or cannot be; the message names the key.
    """
    exact = "radius" in told
    unit = choice(told, "unit", get_args(Unit), "any")
    names = _bands(told)
    return ModelSpec(
        name=text(told, "name", name),
        version=text(told, "version", "0"),
        arch=ArchSpec(name=GRAPH),
        bands=tuple(
            BandSpec(name=band, mean=mean, std=std)
            for band, mean, std in zip(
                names,
                each(told, "mean", 0.0, len(names)),
                each(told, "std", 1.0, len(names)),
                strict=True,
            )
        ),
        unit=unit,
        clip=pair(told, "clip") or _EVERYTHING,
        plausible=pair(told, "plausible") or _PLAUSIBLE[unit],
        classes=_classes(told),
        pixel_size=pair(told, "pixel_size"),
        card=ModelCard(
            summary=text(told, "summary", f"an ONNX model, {name}"),
            data=text(told, "data", "not known"),
            terms=text(told, "terms", "not known"),
            limits=text(told, "limits", "not known"),
            metrics=mapping(told, "metrics"),
            provenance=mapping(told, "provenance"),
        ),
        seam="exact" if exact else "blend",
    )


def graph_of(told: Told, file: OnnxFile) -> Graph:
    """The graph that is described.

    Raises:
        OptionError: As for :func:`spec_of`.
    """
    side = _side(file)
    stride = whole(told, "stride", 1)
    threshold = number(told, "threshold", 0.5)
    if not 0 < threshold < 1:
        raise OptionError(f"threshold {threshold:g}: give a probability between 0 and 1")
    return Graph(
        onnx=file.content,
        stride=1 if side and stride is None else stride,
        halo=_halo(told, side, stride),
        ends=Ends(
            layout=choice(told, "layout", get_args(Layout), None),
            output=choice(told, "output", get_args(Output), None),
            output_name=_output_name(told, file),
            threshold=threshold,
            side=side,
            normalizes=flag(told, "normalizes"),
        ),
    )


def _halo(told: Told, side: int | None, stride: int | None) -> int:
    """The radius, or half of what tiles share, as a multiple of the stride."""
    radius, overlap = whole(told, "radius", 0), whole(told, "overlap", 0)
    step = stride or 1
    if radius is not None and overlap is not None:
        raise OptionError("radius makes tiles exact and overlap blends them: give one of the two")
    if radius is not None and stride is None:
        raise OptionError("radius needs stride, or tiles would not be exact: give both")
    if side and side % step:
        raise OptionError(f"stride {step}: the graph takes {side} pixels, which is no multiple")
    room = side or math.inf
    if radius is not None:
        halo = round_up(radius, step)
        if 2 * halo >= room:
            raise OptionError(f"radius {radius}: too large for the {side} pixels of the graph")
        return halo
    if overlap is None:
        return (side or _SIDE) // 8 // step * step
    halo = round_up(overlap // 2, step)
    if 4 * halo > room:
        raise OptionError(f"overlap {overlap}: more than half of the {side} pixels of the graph")
    return halo


def _side(file: OnnxFile) -> int | None:
    """Height and width of the image, where the graph fixes them."""
    shape = file.image.shape
    if shape is None or len(shape) != 4:
        axes = "no shape" if shape is None else f"{len(shape)} axes"
        raise OptionError(
            f"its input {file.image.name} has {axes}, and an image has 4 (batch, bands, height,"
            " width): export it with those"
        )
    # bands are first or last, so that the third axis is height or width, as one of its neighbours
    fixed = [size for size in (shape[2], *_other_side(shape)) if size]
    if len(fixed) == 2 and fixed[0] != fixed[1]:
        raise OptionError(
            f"it takes images of {fixed[0]} x {fixed[1]} pixels alone: export it for squares, or"
            " for any size"
        )
    return fixed[0] if fixed else None


def _other_side(shape: Sequence[int | None]) -> list[int | None]:
    """Of the second and the last axis the one that is not the bands."""
    if shape[1] == shape[2] or shape[3] == shape[2]:
        return [shape[2]]
    if shape[1] is None or shape[3] is None:
        return [None]
    return [max(shape[1], shape[3])]


def _bands(told: Told) -> list[str]:
    bands = needed(told, "bands", 'as in ["red", "green", "blue"], or how many')
    if type(bands) is int and 1 <= bands <= 1000:
        return [GRAY] if bands == 1 else [placeholder(place) for place in range(1, bands + 1)]
    if not (isinstance(bands, list) and bands and all(b and isinstance(b, str) for b in bands)):
        raise OptionError(f'bands {bands!r:.80}: write a list of names, as in ["red", "nir"]')
    if numbered := [band for band in bands if not canonical_name(band) and band_number(band)]:
        raise OptionError(
            f"bands {numbered[0]!r}: a number means other bands on other sensors: write a name, as"
            f" in {', '.join(COMMON_NAMES)}"
        )
    return [canonical_name(band) or band for band in bands]


def _classes(told: Told) -> ClassScheme:
    classes = needed(told, "classes", 'as in ["land", "water"]')
    if not isinstance(classes, list):
        raise OptionError('classes: write a list of names, as in ["land", "water"]')
    return ClassScheme(classes=tuple(_class(place, c) for place, c in enumerate(classes)))


def _class(place: int, told: Any) -> ClassDef:
    keys = {"code", "name", "color"}
    if isinstance(told, str):
        told = {"name": told}
    right = isinstance(told, dict) and {"name"} <= set(told) <= keys and told["name"]
    if not (right and isinstance(told.get("color", ""), str)):
        raise OptionError(
            f'class {told!r:.80}: write its name, or {{"code": 0, "name": "land", "color":'
            ' "#d9d2c3"}'
        )
    color = PALETTE[place % len(PALETTE)]
    return ClassDef(**{"code": place, "color": color, **told, "name": str(told["name"])})


def _output_name(told: Told, file: OnnxFile) -> str | None:
    names = [value.name for value in file.outputs]
    chosen = typed(told, "output_name", None, lambda v: v in names, f"one of {', '.join(names)}")
    if chosen is None and len(names) > 1:
        raise OptionError(
            f"it has {len(names)} outputs ({', '.join(names)[:160]}): write which gives the classes"
            ' as "output_name"; a detector has none that does'
        )
    return None if chosen is None else str(chosen)


def slug(text: str) -> str:
    """A text as the name of a model."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64].strip("-") or "onnx"
