"""What a model is, apart from its weights: one frozen value that turns into JSON and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from geounet.bands import BandSpec
from geounet.classes import ClassDef, ClassScheme
from geounet.errors import ModelError, OptionError

SPEC_VERSION = 1
"""Version of the JSON layout; a bundle with another one is refused."""

Unit = Literal["reflectance", "dB", "any"]
Seam = Literal["exact", "blend"]

GRAPH = "onnx"
"""Name of the architecture of a model that is a graph alone, of which no more is known."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_ARCH = re.compile(r"[a-z0-9][a-z0-9_.-]{0,95}")  # no colon or slash: nothing that is fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSpec:
    """The network, as the name and parameters that rebuild it."""

    name: str
    """One of ``geounet.nn``, e.g. ``"unet"``; decoder-encoder of segmentation-models-pytorch,
    e.g. ``"unet-resnet34"``; or ``"onnx"``, a graph of another's making."""
    width: int | None = None
    """Channels of the first level; None where an encoder or a graph brings its own."""
    depth: int | None = None
    """Number of poolings (the stride is ``2 ** depth``); None as for the width."""

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and _ARCH.fullmatch(self.name)):
            raise OptionError(
                f"architecture {self.name!r}: use lower case, digits and - _ . as in unet-resnet34"
            )
        if (self.has_encoder or self.name == GRAPH) and self.width is self.depth is None:
            return
        if self.has_encoder:
            raise OptionError(
                f"{self.name} has the width and depth of its encoder: leave out width"
                f" {self.width!r} and depth {self.depth!r}"
            )
        whole = type(self.width) is type(self.depth) is int
        if not (whole and 1 <= (self.width or 0) <= 1024 and 1 <= (self.depth or 0) <= 8):
            raise OptionError(
                f"{self.name}: width {self.width!r} must be 1 to 1024 and depth {self.depth!r} 1"
                " to 8"
            )

    def __str__(self) -> str:
        """E.g. ``unet, width 32, depth 4``."""
        if self.width is None:
            return self.name
        return f"{self.name}, width {self.width}, depth {self.depth}"

    @property
    def has_encoder(self) -> bool:
        """Whether the name is that of a decoder and an encoder, ``unet-resnet34``."""
        return "-" in self.name

    @property
    def seam(self) -> Seam:
        """How its tiles are joined at best: exact where its reach is known, else blended."""
        return "blend" if self.has_encoder else "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a user must know before trusting a model."""

    summary: str
    """One line: what it maps, from what."""
    data: str
    """What it was trained on."""
    terms: str
    """Licence of the weights and terms of the data."""
    limits: str
    """What it is not good for."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Scores on groups the model had not seen, beside the baselines."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Command, seed, versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Everything about a model but its weights."""

    name: str
    """Short name: lower case, digits and hyphens; used in file names."""
    version: str
    """Version of the model."""
    arch: ArchSpec
    """The network."""
    bands: tuple[BandSpec, ...]
    """Input bands in channel order."""
    unit: Unit
    """Physical unit of the input: reflectance 0..1, dB, or any (stored values as they are)."""
    clip: tuple[float, float]
    """Input is clipped to this range, in the unit."""
    plausible: tuple[float, float]
    """The median of each band of a scene lies in here, or its unit or scale is wrong."""
    classes: ClassScheme
    """Output classes in channel order."""
    pixel_size: tuple[float, float] | None
    """Smallest and largest pixel size in metres that it was trained for; None: not known, because
    it was trained on images without a place."""
    card: ModelCard
    """Data, terms, metrics, limits."""
    seam: Seam = "exact"
    """How tiles are joined: exact (halo >= receptive radius) or blended by a taper."""
    bf16_agreement: float | None = None
    """Share of pixels with the same label in bfloat16 as in float32; None: unknown."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise OptionError(f"model name {self.name!r}: use lower case, digits and hyphens")
        if not isinstance(self.version, str):
            raise OptionError(f"model {self.name}: version {self.version!r} is no text")
        if not self.bands:
            raise OptionError(f"model {self.name} has no input bands")
        if len(set(self.band_names)) < len(self.bands):
            raise OptionError(f"model {self.name} has a band twice: {' '.join(self.band_names)}")
        self._check_choices()
        self._check_ranges()

    def _check_choices(self) -> None:
        for what, value, choices in (
            ("unit", self.unit, get_args(Unit)),
            ("seam", self.seam, get_args(Seam)),
        ):
            if value not in choices:
                raise OptionError(f"model {self.name}: {what} {value!r}: {' or '.join(choices)}")
        if self.seam == "exact" and self.arch.seam != "exact":
            raise OptionError(
                f"model {self.name}: {self.arch.name} looks too far for exact tiles: its seam is"
                f" {self.arch.seam}"
            )

    def _check_ranges(self) -> None:
        for what, (low, high) in (("clip", self.clip), ("plausible", self.plausible)):
            if not low < high:
                raise OptionError(f"model {self.name}: {what} range {low}..{high} is empty")
        size = self.pixel_size
        if size is not None and not 0 < size[0] <= size[1]:
            raise OptionError(f"model {self.name}: pixel size {size[0]}..{size[1]} m")
        if self.bf16_agreement is not None and not 0 <= self.bf16_agreement <= 1:
            raise OptionError(
                f"model {self.name}: bf16_agreement {self.bf16_agreement} must be 0 to 1"
            )

    @property
    def band_names(self) -> tuple[str, ...]:
        """Canonical names of the input bands in channel order."""
        return tuple(band.name for band in self.bands)

    def to_json(self) -> str:
        """The spec as JSON text; :meth:`from_json` gives back an equal spec."""
        return json.dumps({"spec_version": SPEC_VERSION, **asdict(self)}, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """The spec in a JSON text.

        Raises:
            ModelError: The text is no spec, has unknown keys, or is of another version.
        """
        try:
            return cls._from_dict(json.loads(text))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as e:
            line = " ".join(str(e).split())[:160]
            raise ModelError(f"the model's spec cannot be read ({line}): get it again") from e

    @classmethod
    def _from_dict(cls, raw: dict[str, Any]) -> ModelSpec:
        version = raw.pop("spec_version", None)
        if version != SPEC_VERSION:
            raise ModelError(
                f"the model's spec has version {version}; this geounet reads {SPEC_VERSION}:"
                " install a geounet that fits the model"
            )
        unknown = set(raw) - {f.name for f in fields(cls)}
        if unknown:
            raise ModelError(f"the model's spec has unknown keys: {', '.join(sorted(unknown))}")
        return cls(
            **{
                **raw,
                "arch": ArchSpec(**raw["arch"]),
                "bands": tuple(BandSpec(**band) for band in raw["bands"]),
                "classes": ClassScheme(
                    classes=tuple(ClassDef(**c) for c in raw["classes"]["classes"])
                ),
                "card": ModelCard(**raw["card"]),
                **{k: _pair(raw[k]) for k in ("clip", "plausible")},
                "pixel_size": None if raw["pixel_size"] is None else _pair(raw["pixel_size"]),
            }
        )


def _pair(values: Any) -> tuple[Any, Any]:
    return values[0], values[1]
