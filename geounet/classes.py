"""Class schemes: code, name and colour of each class, and the code that means nodata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from geounet.errors import OptionError

NODATA = 255
"""The output code of an invalid pixel; never a class."""

_COLOR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDef:
    """One class of a map."""

    code: int
    """Value in the output raster, 0..254."""
    name: str
    """Name shown in legends and written to polygons."""
    color: str
    """``#rrggbb``, lower case."""

    def __post_init__(self) -> None:
        if type(self.code) is not int or not 0 <= self.code < NODATA:
            raise OptionError(f"class {self.name!r} has code {self.code!r}; codes are 0 to 254")
        if not self.name or not self.name.isprintable():
            raise OptionError(f"class {self.code} has the name {self.name!r}: write one in a line")
        if not _COLOR.fullmatch(self.color):
            raise OptionError(
                f"class {self.name!r} has colour {self.color!r}; write it as #rrggbb, lower case"
            )

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0..255."""
        value = int(self.color[1:], 16)
        return value >> 16, value >> 8 & 255, value & 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScheme:
    """The classes of a map in channel order: channel ``i`` of the network is ``classes[i]``."""

    classes: tuple[ClassDef, ...]
    """At least two, with different codes and names."""

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise OptionError(f"a class scheme needs at least 2 classes, got {len(self.classes)}")
        for what, values in (("code", self.codes), ("name", self.names)):
            if len(set(values)) != len(values):
                raise OptionError(f"a class {what} appears twice in {list(values)}")

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[ClassDef]:
        return iter(self.classes)

    def __str__(self) -> str:
        return ", ".join(f"{c.code} {c.name}" for c in self.classes)

    @property
    def codes(self) -> tuple[int, ...]:
        """Codes in channel order."""
        return tuple(c.code for c in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in channel order."""
        return tuple(c.name for c in self.classes)

    @property
    def nodata(self) -> int:
        """The code of an invalid pixel, 255."""
        return NODATA
