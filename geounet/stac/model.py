"""What an item says of the model, by the extension for machine learning models (MLM)."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geounet.bundle import SUFFIX, Bundle
from geounet.errors import ModelError
from geounet.models import bundled_models, load_model
from geounet.outputs import MODEL_TAG, SHA256_TAG

MLM = "https://stac-extensions.github.io/mlm/v1.5.0/schema.json"

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]")
"""What the extension takes for a name."""


def model_of(tags: Mapping[str, str]) -> Bundle | None:
    """The bundled model that a class map's tags name, if it is that very one."""
    name = tags.get(MODEL_TAG, "").rpartition(" ")[0]
    if name not in bundled_models():
        return None
    try:
        model = load_model(name)
    except ModelError:  # the class map is no worse for it
        return None
    return model if model.sha256 == tags.get(SHA256_TAG) else None


def can_be_told(model: Bundle) -> bool:
    """Whether the extension takes its name, and there is a file to point at."""
    return bool(_NAME.fullmatch(model.spec.name)) and bool(model.path)


def model_properties(model: Bundle) -> dict[str, Any]:
    """Properties of an item that the model has made; see :func:`can_be_told`."""
    spec = model.spec
    scaling = [{"type": "z-score", "mean": b.mean, "stddev": b.std} for b in spec.bands]
    pixels = {"shape": [-1, len(spec.bands), -1, -1], "data_type": "float32"}
    classes = {"shape": [-1, len(spec.classes), -1, -1], "data_type": "float32"}
    return {
        "mlm:name": spec.name,
        "mlm:architecture": str(spec.arch),
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "PyTorch" if model.weights is not None else "ONNX",
        "mlm:input": [
            {
                "name": "scene",
                "bands": list(spec.band_names),
                "input": {**pixels, "dim_order": ["batch", "bands", "height", "width"]},
                "value_scaling": scaling,
                "description": f"{spec.unit}, clipped to {spec.clip[0]:g} .. {spec.clip[1]:g}",
            }
        ],
        "mlm:output": [
            {
                "name": "classes",
                "tasks": ["semantic-segmentation"],
                "result": {**classes, "dim_order": ["batch", "class", "height", "width"]},
                "classification:classes": [
                    {"value": c.code, "name": c.name, "color_hint": c.color[1:].upper()}
                    for c in spec.classes
                ],
            }
        ],
        # the extension wants the bands of the input told here, too
        "bands": [{"name": name} for name in spec.band_names],
    }


def model_asset(model: Bundle, folder: Path) -> dict[str, Any]:
    """The asset of the model's file, as seen from a folder."""
    path = Path(model.path).absolute()
    beside = path.is_relative_to(folder.absolute())
    kind = "geounet" if path.suffix == SUFFIX else "onnx"
    return {
        "href": f"./{os.path.relpath(path, folder)}" if beside else path.as_uri(),
        "type": "application/zip" if kind == "geounet" else "application/octet-stream",
        "title": f"{model.spec.name} {model.spec.version}",
        "roles": ["mlm:model"],
        "mlm:artifact_type": kind,
        "geounet:sha256": model.sha256,
    }
