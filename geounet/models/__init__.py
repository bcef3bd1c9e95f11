"""The models that ship with geounet, and how a model is found by name or path."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import Path

from geounet.bundle import SUFFIX, Bundle, load_bundle
from geounet.errors import ModelError
from geounet.onnx import DESCRIPTION, load_onnx
from geounet.onnx import SUFFIX as ONNX

_FOLDER = Path(__file__).parent


def bundled_models() -> Mapping[str, Path]:
    """Name -> file of each bundled model, in alphabetical order."""
    return {path.stem: path for path in sorted(_FOLDER.glob(f"*{SUFFIX}"))}


def load_model(name_or_path: str | Path) -> Bundle:
    """The bundled model of that name, or the model at that path: a bundle or an ONNX file.

    Raises:
        ModelError: Neither is there, or the file is no intact model.
    """
    bundled = bundled_models()
    text = str(name_or_path)
    if text in bundled:
        return load_bundle(bundled[text])
    if text.lower().endswith((ONNX, DESCRIPTION)):
        return load_onnx(text)
    if text.endswith(SUFFIX) or os.path.exists(text):  # noqa: PTH110  takes any text for a path
        return load_bundle(text)
    raise ModelError(
        f"there is no model {text!r}: give a path to a {SUFFIX} or {ONNX} file or one of"
        f" {', '.join(bundled)}"
    )
