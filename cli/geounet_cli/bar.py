"""How far a run is, on stderr: a bar where a person watches, and lines above it."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class Bar:
    """One bar at a time; a context manager.

    Args:
        quiet: Says and shows nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._watched = sys.stderr.isatty() and not quiet
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def say(self, text: str) -> None:
        """A line on stderr."""
        if self._quiet:
            return
        if self._bar is None:
            print(f"geounet: {text}", file=sys.stderr)
        else:
            self._bar.write(f"geounet: {text}", file=sys.stderr)

    def show(self, done: float, total: float, counts: str, title: str = "") -> None:
        """How much of ``total`` is done; a bar that is not open yet is opened.

        Args:
            done: In the unit of ``total``.
            total: Of this bar.
            counts: How the two are written, as in ``{n:.1f}/{total:.1f} Mpx``.
            title: Before the bar.
        """
        if not self._watched:
            return
        if self._bar is None:
            self._bar = _bar(total, counts, title)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take the bar away; the next one is another."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class PixelBar(Bar):
    """Takes pixels that are done, and of how many."""

    def __call__(self, done: int, total: int) -> None:
        """Show it, in Mpx/s, however slow it is."""
        digits = 2 if total < 10e6 else 1
        self.show(done / 1e6, total / 1e6, f"{{n:.{digits}f}}/{{total:.{digits}f}} Mpx")


def _bar(total: float, counts: str, title: str) -> Any:
    from tqdm import tqdm

    # tqdm's rate_fmt turns to seconds a unit below one a second
    return tqdm(
        total=total,
        unit=f" {counts.rpartition(' ')[2]}",
        leave=False,
        desc=title,
        bar_format=f"{title} {{percentage:3.0f}}% |{{bar}}| {counts}, {{rate_noinv_fmt}},"
        " {remaining} left",
    )
