"""How many pixels are done."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class PixelBar:
    """A progress bar where a person watches, nothing otherwise."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int) -> None:
        """Show it."""
        if not self._shown:
            return
        if self._bar is None:
            self._bar = self._start(total)
        self._bar.update(done / 1e6 - self._bar.n)

    def say(self, text: str) -> None:
        """A line on stderr, above the bar."""
        if self._bar is None:
            print(f"geounet: {text}", file=sys.stderr)
        else:
            self._bar.write(f"geounet: {text}", file=sys.stderr)

    @staticmethod
    def _start(total: int) -> Any:
        from tqdm import tqdm

        return tqdm(
            total=total / 1e6,
            unit="Mpx",
            leave=False,
            bar_format="{percentage:3.0f}% |{bar}| {n:.1f}/{total:.1f} Mpx, {rate_fmt},"
            " {remaining} left",
        )
