"""Everything that is wrong with a data set, told at once."""

from __future__ import annotations

from collections.abc import Iterable

from geounet.errors import DataError

_LISTED = 12  # names a kind of problem; the rest are counted


class Problems:
    """Collects what is wrong, by kind, until it is time to refuse."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, kind: str, item: str = "") -> None:
        """One more of a kind; ``kind`` says what is wrong and how to mend it, ``item`` where."""
        self._found.setdefault(kind, []).append(item)

    def refuse(self) -> None:
        """Go on only if nothing is wrong.

        Raises:
            DataError: One line a kind of problem, with the names it concerns.
        """
        if self._found:
            lines = [_line(kind, items) for kind, items in self._found.items()]
            count = len(lines)
            head = f"the data cannot be used, {count} problem{'s' if count > 1 else ''}:"
            raise DataError("\n  - ".join([head, *lines]))


def listing(items: Iterable[str]) -> str:
    """Some names, and how many there are beyond them."""
    names = list(items)
    shown = ", ".join(names[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _line(kind: str, items: list[str]) -> str:
    named = listing(item for item in items if item)
    return f"{kind}: {named}" if named else kind
