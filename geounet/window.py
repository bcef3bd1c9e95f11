"""Integer pixel rectangles."""

from __future__ import annotations

from dataclasses import dataclass

from geounet.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Window:
    """A half-open pixel rectangle: rows ``[row_off, row_off + height)``, columns alike.

    Offsets may be negative (context outside a scene); sizes may not. No pixel index ever goes
    through a float.
    """

    row_off: int
    """First row, counted from the top of the scene."""
    col_off: int
    """First column, counted from the left of the scene."""
    height: int
    """Rows, >= 0."""
    width: int
    """Columns, >= 0."""

    def __post_init__(self) -> None:
        if self.height < 0 or self.width < 0:
            raise OptionError(f"a window cannot be {self.height} x {self.width} pixels")

    def __str__(self) -> str:
        return f"{self.height} x {self.width} px at row {self.row_off}, col {self.col_off}"

    @property
    def row_end(self) -> int:
        """Row after the last."""
        return self.row_off + self.height

    @property
    def col_end(self) -> int:
        """Column after the last."""
        return self.col_off + self.width

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slice, for an array whose (0, 0) is the scene's."""
        return slice(self.row_off, self.row_end), slice(self.col_off, self.col_end)

    @classmethod
    def between(cls, row_off: int, col_off: int, row_end: int, col_end: int) -> Window:
        """The window from its corners; empty where an end lies before its start."""
        return cls(
            row_off=row_off,
            col_off=col_off,
            height=max(0, row_end - row_off),
            width=max(0, col_end - col_off),
        )

    def grow(self, pixels: int) -> Window:
        """This window with ``pixels`` more on each side."""
        return Window.between(
            self.row_off - pixels,
            self.col_off - pixels,
            self.row_end + pixels,
            self.col_end + pixels,
        )

    def intersect(self, other: Window) -> Window:
        """The pixels in both (possibly none)."""
        return Window.between(
            max(self.row_off, other.row_off),
            max(self.col_off, other.col_off),
            min(self.row_end, other.row_end),
            min(self.col_end, other.col_end),
        )

    def relative_to(self, origin: Window) -> Window:
        """The same pixels, counted from the top-left corner of ``origin``."""
        return Window(
            row_off=self.row_off - origin.row_off,
            col_off=self.col_off - origin.col_off,
            height=self.height,
            width=self.width,
        )

    def contains(self, other: Window) -> bool:
        """Whether every pixel of ``other`` is in this window."""
        return other.size == 0 or self.intersect(other) == other
