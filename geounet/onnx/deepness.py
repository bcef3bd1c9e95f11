"""The metadata that Deepness, a QGIS plugin, reads from an ONNX file and that others write for it.

Deepness divides what the raster holds by 255, takes off ``standardization_mean`` and divides by
``standardization_std``, takes the result for probabilities, sets those below ``seg_thresh`` to 0,
and the first of the largest is the class; of one channel it is what reaches the threshold
(https://github.com/PUTvision/qgis-plugin-deepness, processing/models and map_processor).
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping
from typing import Any

from geounet.errors import OptionError
from geounet.onnx.file import OnnxFile
from geounet.onnx.told import Told
from geounet.spec import ModelSpec

MARK = "model_type"
"""The key that such a file has."""

_BYTE = 255.0
_FLOATS = (1, 10, 11, 16)  # float32, float16, float64, bfloat16
_CLASSES = ("class_names", "names")


def from_deepness(file: OnnxFile) -> Told:
    """What the metadata says, as a description.

    Raises:
        OptionError: It is of another kind of model, or cannot be read.
    """
    said = file.metadata
    kind = str(_json(said, MARK)).capitalize()
    if kind != "Segmentor":
        raise OptionError(f"its metadata say that it is a {kind}; geounet runs a Segmentor")
    told: dict[str, Any] = {"bands": _channels(file), **_standardization(said)}
    if classes := _classes(said):
        told["classes"] = classes
    if _is_single(file):
        told["output"] = "probabilities"
        if len(classes) == 1:
            told["classes"] = ["background", *classes]
    if 0 < (threshold := _number(said, "seg_thresh")) < 1:
        told["threshold"] = threshold
    if (centimetres := _number(said, "resolution")) > 0:
        told["pixel_size"] = [centimetres / 100] * 2
    side = next((s for s in (file.image.shape or ())[2:] if s), None)
    if side and (percent := _number(said, "tiles_overlap")) > 0:
        told["overlap"] = min(int(side * percent / 100), side // 2)
    return told


def for_deepness(spec: ModelSpec, side: int, halo: int) -> dict[str, str]:
    """The metadata of a graph that takes values in the unit and gives probabilities.

    The standardisation undoes the division by 255, and no threshold is set: so Deepness gives the
    classes that geounet gives, for a raster that holds values in the unit.
    """
    count = len(spec.bands)
    told: dict[str, Any] = {
        MARK: "Segmentor",
        "class_names": dict(enumerate(spec.classes.names)),
        "standardization_mean": [0.0] * count,
        "standardization_std": [1 / _BYTE] * count,
        "tile_size": side,
        "tiles_overlap": math.ceil(200 * halo / side),
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    if spec.pixel_size is not None:
        told["resolution"] = 100 * math.sqrt(spec.pixel_size[0] * spec.pixel_size[1])
    return {key: json.dumps(value) for key, value in told.items()}


def _classes(said: Mapping[str, str]) -> list[str]:
    """Names in the order of their numbers, which count from 0."""
    key = next((key for key in _CLASSES if key in said), None)
    if key is None:
        return []
    found = _json(said, key)
    if isinstance(found, list) and len(found) == 1:  # a list of outputs
        found = found[0]
    try:
        numbered = {int(number): str(name) for number, name in found.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise OptionError(f"its {key} are {said[key][:120]!r}, and no names by number") from error
    if sorted(numbered) != list(range(len(numbered))):
        raise OptionError(f"its {key} have the numbers {sorted(numbered)}, which do not count up")
    return [numbered[number] for number in range(len(numbered))]


def _standardization(said: Mapping[str, str]) -> dict[str, list[float] | float]:
    mean, std = (f"standardization_{what}" for what in ("mean", "std"))
    if mean not in said or std not in said:
        return {"mean": 0.0, "std": _BYTE}
    try:
        return {
            k: [_BYTE * float(v) for v in _json(said, n)] for k, n in (("mean", mean), ("std", std))
        }
    except (TypeError, ValueError) as error:
        raise OptionError(f"its {mean} and {std} are no lists of numbers") from error


def _channels(file: OnnxFile) -> int:
    shape = file.image.shape or ()
    if len(shape) != 4 or not shape[1]:
        raise OptionError("its input does not say how many bands it has: give it a fixed number")
    return shape[1]


def _is_single(file: OnnxFile) -> bool:
    """Whether there is one channel of scores."""
    shape = file.outputs[0].shape or ()
    floats = file.outputs[0].kind in _FLOATS
    return floats and (len(shape) == 3 or (len(shape) == 4 and shape[1] == 1))


def _number(said: Mapping[str, str], key: str) -> float:
    """A number, or 0 where there is none."""
    try:
        return float(_json(said, key)) if key in said else 0.0
    except (TypeError, ValueError) as error:
        raise OptionError(f"its {key} is {said[key][:80]!r}, and no number") from error


def _json(said: Mapping[str, str], key: str) -> Any:
    """JSON; or Python, or plain text, which other exporters write."""
    try:
        return json.loads(said[key])
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(said[key])
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return said[key]
