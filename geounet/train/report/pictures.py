"""Patches as pictures: image, truth, prediction and error."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geounet.classes import ClassScheme
from geounet.train.scoring.gallery import Patch
from geounet.train.source import IGNORE

MISSED, ALARM, WRONG = "#dc267f", "#ffb000", "#dc267f"
"""Colours of an error: the second of two classes not found, found where it is not; any other."""

UNLABELLED = "#808080"
"""Colour of a pixel without label or data."""

HEADS = ("image", "truth", "prediction", "error")
"""What the four pictures of a patch are."""

_PHOTO = 200  # pixels a side: above, the image is stored as JPEG; below, every pixel is seen


def pictures(patch: Patch, scheme: ClassScheme) -> Iterator[tuple[str, str]]:
    """Caption and data URI of each of the four pictures."""
    seen = patch.label != IGNORE
    photo = min(patch.label.shape) > _PHOTO
    yield HEADS[0], _uri(Image.fromarray(patch.picture), "JPEG" if photo else "PNG")
    yield HEADS[1], _uri(_painted(patch.label, scheme))
    yield HEADS[2], _uri(_painted(np.where(seen, patch.predicted, IGNORE), scheme))
    yield HEADS[3], _uri(_errors(patch, two=len(scheme) == 2))


def legend(scheme: ClassScheme) -> list[tuple[str, str]]:
    """Text and colour of everything that is painted."""
    classes = [(c.name, c.color) for c in scheme]
    if len(scheme) > 2:
        return [*classes, ("wrong", WRONG), ("no label", UNLABELLED)]
    name = scheme.names[1]
    errors = [(f"{name} missed", MISSED), (f"{name} where there is none", ALARM)]
    return [*classes, *errors, ("no label", UNLABELLED)]


def _painted(label: NDArray[np.integer], scheme: ClassScheme) -> Image.Image:
    return _palette(label - IGNORE, [UNLABELLED, *(c.color for c in scheme)])


def _errors(patch: Patch, *, two: bool) -> Image.Image:
    """Errors in colour on the image in pale greys."""
    greys = [f"#{v:02x}{v:02x}{v:02x}" for v in range(90, 250, 5)]
    grey = patch.picture.mean(axis=2) / 256 * len(greys)
    wrong = (patch.predicted != patch.label) & (patch.label != IGNORE)
    kind = patch.predicted if two else np.full_like(patch.predicted, 2)
    index = np.where(wrong, len(greys) + kind, grey.astype(int))
    return _palette(index, [*greys, MISSED, ALARM, WRONG])


def _palette(index: NDArray[np.integer], colors: Sequence[str]) -> Image.Image:
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(b"".join(bytes.fromhex(color[1:]) for color in colors))
    return image


def _uri(image: Image.Image, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    options = {"quality": 88} if kind == "JPEG" else {"optimize": True}
    image.save(buffer, kind, **options)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{data}"
