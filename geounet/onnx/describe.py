"""What must be said about an ONNX file before it can be run, and how it is said: a small JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
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
from geounet.onnx.file import OnnxFile
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

COLORS = ("#d9d2c3", "#1f78b4", "#33a02c", "#e6ab02", "#e31a1c", "#6a3d9a", "#b15928", "#17becf")
"""Of classes without one, by their place; the first is a calm background."""

_EVERYTHING = (-3.0e38, 3.0e38)  # all of float32, nearly
_PLAUSIBLE = {"reflectance": (-0.1, 2.0), "dB": (-60.0, 20.0), "any": _EVERYTHING}
_SIDE = 512  # of blended tiles of a graph that takes any

Told = Mapping[str, Any]
"""Key of :data:`KEYS` -> what JSON says."""


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


def spec_of(told: Told, file: OnnxFile, name: str) -> ModelSpec:
    """The model that is described.

    Args:
        told: What is said about it.
        file: The graph.
        name: Where it has none.

    Raises:
        OptionError: Something is missing or cannot be; the message names the key.
    """
    exact = "radius" in told
    unit = _choice(told, "unit", get_args(Unit), "any")
    names = _bands(told)
    return ModelSpec(
        name=_text(told, "name", name),
        version=_text(told, "version", "0"),
        arch=ArchSpec(name=GRAPH),
        bands=tuple(
            BandSpec(name=band, mean=mean, std=std)
            for band, mean, std in zip(
                names,
                _each(told, "mean", 0.0, len(names)),
                _each(told, "std", 1.0, len(names)),
                strict=True,
            )
        ),
        unit=unit,
        clip=_pair(told, "clip") or _EVERYTHING,
        plausible=_pair(told, "plausible") or _PLAUSIBLE[unit],
        classes=_classes(told),
        pixel_size=_pair(told, "pixel_size"),
        card=ModelCard(
            summary=_text(told, "summary", f"an ONNX model, {name}"),
            data=_text(told, "data", "not known"),
            terms=_text(told, "terms", "not known"),
            limits=_text(told, "limits", "not known"),
            metrics=_mapping(told, "metrics"),
            provenance=_mapping(told, "provenance"),
        ),
        seam="exact" if exact else "blend",
    )


def graph_of(told: Told, file: OnnxFile) -> Graph:
    """The graph that is described.

    Raises:
        OptionError: As for :func:`spec_of`.
    """
    side = _side(file)
    stride = _whole(told, "stride", 1)
    threshold = _number(told, "threshold", 0.5)
    if not 0 < threshold < 1:
        raise OptionError(f"threshold {threshold:g}: give a probability between 0 and 1")
    return Graph(
        onnx=file.content,
        stride=1 if side and stride is None else stride,
        halo=_halo(told, side, stride),
        ends=Ends(
            layout=_choice(told, "layout", get_args(Layout), None),
            output=_choice(told, "output", get_args(Output), None),
            output_name=_output_name(told, file),
            threshold=threshold,
            side=side,
            normalizes=_flag(told, "normalizes"),
        ),
    )


def _halo(told: Told, side: int | None, stride: int | None) -> int:
    """The radius, or half of what tiles share, as a multiple of the stride."""
    radius, overlap = _whole(told, "radius", 0), _whole(told, "overlap", 0)
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
    bands = _needed(told, "bands", 'as in ["red", "green", "blue"], or how many')
    if type(bands) is int and 1 <= bands <= 1000:
        return [GRAY] if bands == 1 else [placeholder(place) for place in range(1, bands + 1)]
    if not (isinstance(bands, list) and bands and all(b and isinstance(b, str) for b in bands)):
        raise OptionError(f'bands {bands!r}: write a list of names, as in ["red", "nir"]')
    if numbered := [band for band in bands if not canonical_name(band) and band_number(band)]:
        raise OptionError(
            f"bands {numbered[0]!r}: a number means other bands on other sensors: write a name, as"
            f" in {', '.join(COMMON_NAMES)}"
        )
    return [canonical_name(band) or band for band in bands]


def _classes(told: Told) -> ClassScheme:
    classes = _needed(told, "classes", 'as in ["land", "water"]')
    if not isinstance(classes, list):
        raise OptionError('classes: write a list of names, as in ["land", "water"]')
    return ClassScheme(classes=tuple(_class(place, c) for place, c in enumerate(classes)))


def _class(place: int, told: Any) -> ClassDef:
    keys = {"code", "name", "color"}
    if isinstance(told, str):
        told = {"name": told}
    if not isinstance(told, dict) or not {"name"} <= set(told) <= keys or not told["name"]:
        raise OptionError(
            f'class {told!r}: write its name, or {{"code": 0, "name": "land", "color": "#d9d2c3"}}'
        )
    color = COLORS[place % len(COLORS)]
    return ClassDef(**{"code": place, "color": color, **told, "name": str(told["name"])})


def _needed(told: Told, key: str, example: str) -> Any:
    if key not in told:
        raise OptionError(f"{key} is missing: write {json.dumps(key)}, {example}")
    return told[key]


def _choice(told: Told, key: str, choices: Sequence[str], default: Any) -> Any:
    value = told.get(key, default)
    if value not in (*choices, default):
        raise OptionError(f"{key} {value!r}: choose {', '.join(choices[:-1])} or {choices[-1]}")
    return value


def _text(told: Told, key: str, default: str) -> str:
    return str(_typed(told, key, default, lambda v: isinstance(v, str) and v != "", "a text"))


def _mapping(told: Told, key: str) -> Any:
    return _typed(told, key, {}, lambda v: isinstance(v, dict), "an object")


def _flag(told: Told, key: str) -> bool:
    return bool(_typed(told, key, None, lambda v: isinstance(v, bool), "true or false"))


def _number(told: Told, key: str, default: float) -> float:
    return float(_typed(told, key, default, _finite, "a number"))


def _whole(told: Told, key: str, least: int) -> int | None:
    what = f"a whole number from {least} to 100000"
    found = _typed(told, key, None, lambda v: type(v) is int and least <= v <= 100_000, what)
    return None if found is None else int(found)


def _pair(told: Told, key: str) -> tuple[float, float] | None:
    def right(value: Any) -> bool:
        return isinstance(value, list) and len(value) == 2 and all(map(_finite, value))

    found = _typed(told, key, None, right, "two numbers, as in [0, 1]")
    return None if found is None else (float(found[0]), float(found[1]))


def _each(told: Told, key: str, default: float, count: int) -> list[float]:
    value = told.get(key, default)
    values = value if isinstance(value, list) else [value] * count
    if len(values) != count or not all(map(_finite, values)):
        raise OptionError(f"{key}: write one number, or one for each of {count} bands")
    return [float(v) for v in values]


def _output_name(told: Told, file: OnnxFile) -> str | None:
    names = [value.name for value in file.outputs]
    chosen = _typed(told, "output_name", None, lambda v: v in names, f"one of {', '.join(names)}")
    if chosen is None and len(names) > 1:
        raise OptionError(
            f"it has {len(names)} outputs ({', '.join(names)[:160]}): write which gives the classes"
            ' as "output_name"; a detector has none that does'
        )
    return None if chosen is None else str(chosen)


def _typed(told: Told, key: str, default: Any, right: Callable[[Any], bool], what: str) -> Any:
    value = told.get(key, default)
    if key in told and not right(value):
        raise OptionError(f"{key} {value!r}: write {what}")
    return value


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def slug(text: str) -> str:
    """A text as the name of a model."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64].strip("-") or "onnx"
