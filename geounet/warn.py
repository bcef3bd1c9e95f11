"""What may spoil a result is said, and does not end the run."""

from __future__ import annotations

import inspect
import itertools
import traceback
import warnings
from types import FrameType
from typing import TYPE_CHECKING

from geounet.area import pixel_size_m
from geounet.choose import Say
from geounet.fit import Fit

if TYPE_CHECKING:
    from geounet.bundle import Bundle


def warn_of_place(fit: Fit, bundle: Bundle, warn: Say) -> None:
    """Of a scene without a place, or with pixels of a size that the model does not know.

    A model that was trained on images without a place knows no size.
    """
    info = fit.scene.info
    if info.geobox.crs is None:
        warn(f"{info.source} has no CRS, so the outputs have none either")
        return
    if bundle.spec.pixel_size is None:
        return
    low, high = bundle.spec.pixel_size
    size = pixel_size_m(info.geobox)
    if size is not None and not low / 2 <= size <= high * 2:
        warn(
            f"pixels of {size:.3g} m: {bundle.spec.name} was trained on {low:g} to {high:g} m;"
            " expect a poorer map"
        )


def warn_caller(text: str) -> None:
    """At the line that calls :func:`geounet.segment`, however far in it was found out."""
    inside = itertools.takewhile(_is_ours, traceback.walk_stack(inspect.currentframe()))
    warnings.warn(text, UserWarning, stacklevel=1 + sum(1 for _ in inside))


def _is_ours(step: tuple[FrameType, int]) -> bool:
    return str(step[0].f_globals.get("__name__")).partition(".")[0] == __package__
