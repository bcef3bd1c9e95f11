"""How a scene answers a model: its bands, its scale, and whether its values can be right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geounet.bands import Normalizer, match_bands, parse_band_option
from geounet.errors import BandError, OptionError, SceneError, ValueRangeError
from geounet.scene import SceneBand, SceneInfo, SceneReader, narrow
from geounet.spec import ModelSpec
from geounet.window import Window

_SAMPLE = 256  # pixels on a side
_SAMPLES = 5  # on each axis; 25 windows say enough and cost the same for any scene
_SHARE = 12  # of the blocks of a remote scene, one is looked at
_FEW = 9  # blocks
_MARGIN = 0.5
"""How much wider the plausible range of values is for few blocks, which may be all cloud."""
_STRIP = 4096  # columns, where all of a scene must be looked at
_LINEAR_SHARE = 0.99  # share of values >= 0 from which backscatter cannot be in dB

_NEEDS = {"reflectance": "reflectance (0 to 1)", "dB": "backscatter in decibels"}
_SCALES = (
    "pass --scale 0.0001 for reflectance x 10000 (Sentinel-2 from 2022 on: also --offset -0.1),"
    " or --scale 0.0000275 --offset -0.2 for Landsat Collection 2"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How values are to be read, where the user says so."""

    bands: str | None = None
    """``NAME=INDEX,...``; None: by description."""
    scale: float | None = None
    """Stored value times this is the model's unit; None: from the scene's tags."""
    offset: float | None = None
    """Added after the scale; None: from the scene's tags (0 where a scale is given)."""

    def __post_init__(self) -> None:
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale != 0):
            raise OptionError(f"--scale {self.scale:g}: give a number that is not 0, as in 0.0001")
        if self.offset is not None and not math.isfinite(self.offset):
            raise OptionError(f"--offset {self.offset:g}: give a number, as in -0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A scene ready for a model."""

    scene: SceneReader
    """What is read."""
    bands: tuple[int, ...]
    """1-based, in the model's order."""
    normalizer: Normalizer
    """Stored values to network input."""


def fit_scene(scene: SceneReader, spec: ModelSpec, reading: Reading | None = None) -> Fit:
    """Match bands and scale of a scene to a model; reads the header only.

    Raises:
        BandError: Bands are missing or ambiguous.
        ValueRangeError: Integers without a scale where the model needs reflectance.
    """
    reading = reading or Reading()
    bands = _match(scene.info, spec, reading.bands)
    chosen = [scene.info.bands[b - 1] for b in bands]
    scale, offset = scaling(spec.unit, chosen, reading)
    _check_scaled(scene.info.source, spec, chosen, scale)
    reader, bands = narrow(scene, bands, spec.pixel_size)
    normalizer = Normalizer.of(spec.bands, spec.clip, scale, offset)
    return Fit(scene=reader, bands=bands, normalizer=normalizer)


def scaling(
    unit: str, bands: Sequence[SceneBand], reading: Reading
) -> tuple[list[float], list[float]]:
    """Scale and offset of each band: the user's, or else the tags'.

    A model of unit "any" was trained on stored values, so tags do not count for it.
    """
    tagged = unit != "any" and reading.scale is None
    scale = [b.scale if tagged else reading.scale or 1.0 for b in bands]
    offset = [b.offset if tagged else 0.0 for b in bands]
    return scale, offset if reading.offset is None else [reading.offset] * len(bands)


def check_values(fit: Fit, spec: ModelSpec, *, within: Window | None = None) -> None:
    """Refuse values that cannot be what the model expects, from a sample of windows.

    Args:
        fit: The scene, and how it is read.
        spec: The model.
        within: The part of the scene that is looked at; None: all of it.

    Raises:
        SceneError: No pixel of the scene is valid.
        ValueRangeError: The median of a band is not plausible, or backscatter is linear power.
    """
    info = fit.scene.info
    part = within if within is not None and within.size else info.window
    windows = _few_blocks(info, part) if info.is_remote else list(_windows(part))
    sample = _sample(fit, windows)
    if sample.shape[1] == 0:
        sample = _first_valid(fit, part)
    if sample.shape[1] == 0:
        raise SceneError(
            f"{info.source} has no valid pixel: check its nodata value and mask"
            " (geounet info shows them)"
        )
    floats = {np.dtype(info.bands[band - 1].dtype).kind for band in fit.bands} == {"f"}
    margin = _MARGIN if info.is_remote and len(windows) < _FEW else 0.0
    check_sample(sample, spec, info.source, floats=floats, margin=margin)


def check_sample(
    sample: NDArray[np.float32], spec: ModelSpec, source: str, *, floats: bool, margin: float = 0.0
) -> None:
    """Refuse valid values that cannot be what the model expects.

    Args:
        sample: (bands, n) in the model's unit, n >= 1.
        spec: The model.
        source: What messages call the scene.
        floats: Whether they are stored as floating-point numbers.
        margin: How much wider the range is in which a median is plausible, on each side, as a share
            of it: for values of a part of a scene, which may be all cloud.

    Raises:
        ValueRangeError: The median of a band is not plausible, or backscatter is linear power.
    """
    if spec.unit == "dB" and (sample >= 0).mean() >= _LINEAR_SHARE:
        raise ValueRangeError(
            f"{source}: values from {sample.min():.3g} to {sample.max():.3g} are"
            f" {'linear power' if floats else 'no decibels'}; {spec.name} expects decibels:"
            f" convert {'' if floats else 'linear power '}with 10 * log10(value)"
        )
    low, high = spec.plausible
    more = margin * (high - low)
    for band, median in zip(spec.band_names, np.median(sample, axis=1).tolist(), strict=True):
        if not low - more <= median <= high + more:
            raise ValueRangeError(
                f"{source}: band {band} has a median of {median:.4g}; {spec.name} expects"
                f" {spec.unit}, whose median lies between {low:g} and {high:g}: {_remedy(spec)}"
            )


def _match(info: SceneInfo, spec: ModelSpec, option: str | None) -> tuple[int, ...]:
    try:
        if option is not None:
            return parse_band_option(option, spec.band_names, len(info.bands), hint=info.hint)
        return match_bands(spec.band_names, info.descriptions, hint=info.hint)
    except BandError as error:
        if option is None and info.is_picture and spec.unit != "any":
            raise BandError(
                f"{info.source}: a picture of bytes (0 to 255) holds no {_NEEDS[spec.unit]}, which"
                f" {spec.name} needs of {' '.join(spec.band_names)}: give a scene that does"
            ) from error
        raise BandError(f"{info.source}: {error}") from error


def _check_scaled(
    name: str, spec: ModelSpec, bands: Sequence[SceneBand], scale: Sequence[float]
) -> None:
    raw = [
        band
        for band, factor in zip(bands, scale, strict=True)
        if np.dtype(band.dtype).kind in "iu" and factor == 1.0
    ]
    if spec.unit == "reflectance" and raw:
        photo = raw[0].dtype == "uint8"
        remedy = "a photo has none; else pass the --scale that makes it so" if photo else _SCALES
        raise ValueRangeError(
            f"{name}: stores {raw[0].dtype} without a scale tag, so its values are not the"
            f" reflectance (0 to 1) that {spec.name} expects: {remedy}"
        )


def _remedy(spec: ModelSpec) -> str:
    if spec.unit == "reflectance":
        return _SCALES
    if spec.unit == "dB":
        return "convert to decibels, or pass --scale and --offset"
    return "check the values, or pass --scale and --offset"


def _sample(fit: Fit, windows: Iterable[Window]) -> NDArray[np.float32]:
    """Valid values (bands, n) of windows spread over the scene, in the model's unit."""
    parts = []
    for window in windows:
        raster = fit.scene.read(window, fit.bands)
        parts.append(fit.normalizer.physical(raster.data[:, raster.valid]))
    return np.concatenate(parts, axis=1)


def _first_valid(fit: Fit, within: Window) -> NDArray[np.float32]:
    """Valid values of the first part that has any, or none (bands, 0)."""
    for row in range(within.row_off, within.row_end, _SAMPLE):
        for col in range(within.col_off, within.col_end, _STRIP):
            part = Window(row_off=row, col_off=col, height=_SAMPLE, width=_STRIP)
            found = _sample(fit, [part.intersect(within)])
            if found.shape[1] > 0:
                return found
    return np.empty((len(fit.bands), 0), np.float32)


def _windows(part: Window) -> Iterator[Window]:
    for row in _starts(part.height):
        for col in _starts(part.width):
            start = part.row_off + row, part.col_off + col
            window = Window(row_off=start[0], col_off=start[1], height=_SAMPLE, width=_SAMPLE)
            yield window.intersect(part)


def _few_blocks(info: SceneInfo, part: Window) -> list[Window]:
    """Blocks of a remote scene, spread over a part of it.

    They are fetched once more when it is segmented: no more than a twelfth of the part, and no
    blocks beside those that are looked at.
    """
    height, width = info.block
    rows = range(part.row_off // height, -(-part.row_end // height))
    cols = range(part.col_off // width, -(-part.col_end // width))
    number = min(max(1, len(rows) * len(cols) // _SHARE), _SAMPLES**2)
    wide = min(len(cols), math.isqrt(number))
    return [
        Window.between(
            row * height,
            col * width,
            row * height + min(height, _SAMPLE),
            col * width + min(width, _STRIP),
        ).intersect(part)
        for row in _spread(rows, min(len(rows), number // wide))
        for col in _spread(cols, wide)
    ]


def _spread(blocks: range, number: int) -> list[int]:
    """So many of them, at equal distances."""
    return [blocks[(2 * i + 1) * len(blocks) // (2 * number)] for i in range(number)]


def _starts(size: int) -> list[int]:
    if size <= _SAMPLE * _SAMPLES:
        return list(range(0, size, _SAMPLE))
    return [i * (size - _SAMPLE) // (_SAMPLES - 1) for i in range(_SAMPLES)]
