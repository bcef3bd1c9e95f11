"""What a user says about the data to train on, or to score a model on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from geounet.classes import ClassScheme
from geounet.errors import OptionError
from geounet.fit import Reading
from geounet.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest:
    """Images, labels and how to read them."""

    images: str | Path
    """Folder, glob, or one scene."""
    labels: str | Path
    """Folder, glob, one raster, or one vector file."""
    classes: ClassScheme
    """Codes are the values in the labels; of a vector, codes or names in the class field."""
    ignore: frozenset[int] = frozenset()
    """Label values that are neither trained on nor scored."""
    remap: Mapping[int, int] = field(default_factory=dict)
    """Label value -> code, applied after ``ignore``, for masks with other values (255 -> 1)."""
    class_field: str | None = None
    """Of a vector; None: the one whose values are classes."""
    background: str | None = None
    """Class of all that lies outside of the polygons; None: that is ignored."""
    bands: str | None = None
    """``NAME=INDEX,...`` (1-based); None: all, named by their descriptions."""
    scale: float | None = None
    """Stored value times this is the model's unit; None: see ``unit``."""
    offset: float | None = None
    """Added after the scale; None: see ``unit`` (0 where a scale is given)."""
    unit: str = "any"
    """Unit of the model. ``any``: values as stored; else scale tags count, as in ``segment``."""
    model: ModelSpec | None = None
    """What is scored with the data: its bands are found in each image as ``segment`` finds them,
    and a class without a pixel is fine. None: all bands are read, to train a model."""
    groups: Path | None = None
    """JSON (list of lists of stems, or stem -> group) or CSV (stem,group)."""
    mask: str | Path | None = None
    """Folder, glob or raster of masks; where one is 0, the label is ignored."""
    patch: int = 256
    """Side of a training patch in pixels; what is cut into blocks is cut accordingly."""
    seed: int = 0
    """Of whatever is chosen at random."""
    cache: int = 1 << 30
    """Bytes of decoded pixels that are kept."""

    def __post_init__(self) -> None:
        self.reading()
        if self.patch < 1:
            raise OptionError(f"patch {self.patch}: give at least 1 pixel, as in 256")
        for value, code in self.remap.items():
            if code not in self.classes.codes:
                raise OptionError(f"--map {value}={code}: {code} is no class of {self.classes}")
        for code in sorted(self.ignore.intersection(self.classes.codes)):
            raise OptionError(f"--ignore {code}: it is a class of {self.classes}")
        if self.background is not None and self.background not in self.classes.names:
            raise OptionError(
                f"background {self.background!r} is no class: choose from"
                f" {', '.join(self.classes.names)}"
            )

    def reading(self) -> Reading:
        """Bands, scale and offset, checked."""
        return Reading(bands=self.bands, scale=self.scale, offset=self.offset)
