"""Protocol buffers as bytes: enough to read and write an ONNX file without a package for it.

The wire format is https://protobuf.dev/programming-guides/encoding/: a message is a sequence of
fields, each a number, a kind, and a varint, four or eight bytes, or so many bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Bytes = bytes | memoryview

_VARINT, _EIGHT, _MANY, _FOUR = 0, 1, 2, 5
_SIZES = {_EIGHT: 8, _FOUR: 4}
_LONGEST = 10  # bytes in a varint of 64 bits


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    number: int
    """Its number in the schema."""
    value: int | memoryview
    """A varint; or the bytes of whatever else it is."""
    raw: memoryview
    """The whole field, as it stands in the message."""


def fields(message: Bytes) -> Iterator[Field]:
    """The fields of a message, in their order; no byte is copied.

    Raises:
        ValueError: The bytes are no message, or end in the middle of one.
    """
    view = memoryview(message)
    at = 0
    while at < len(view):
        start = at
        key, at = _varint(view, at)
        kind = key & 7
        value: int | memoryview
        if kind == _VARINT:
            value, at = _varint(view, at)
        elif kind == _MANY or kind in _SIZES:
            size, at = _varint(view, at) if kind == _MANY else (_SIZES[kind], at)
            if at + size > len(view):
                raise ValueError("it ends too early")
            value, at = view[at : at + size], at + size
        else:
            raise ValueError(f"there is no field of kind {kind}")
        if key >> 3 == 0:
            raise ValueError("there is no field 0")
        yield Field(key >> 3, value, view[start:at])


def many(message: Bytes, number: int) -> list[memoryview]:
    """The values of a field of bytes, texts or messages that may be there more than once."""
    return [f.value for f in fields(message) if f.number == number and not isinstance(f.value, int)]


def text(message: Bytes, number: int) -> str:
    """The last value of a field of text, or nothing."""
    found = many(message, number)
    return bytes(found[-1]).decode() if found else ""


def numbers(message: Bytes, number: int) -> list[int]:
    """The values of a field of integers, packed or not; signed, of 64 bits."""
    found: list[int] = []
    for field in fields(message):
        if field.number != number:
            continue
        if isinstance(field.value, int):
            found.append(field.value)
            continue
        at = 0
        while at < len(field.value):
            value, at = _varint(field.value, at)
            found.append(value)
    return [value - (1 << 64) if value >> 63 else value for value in found]


def join(parts: Iterable[Bytes]) -> bytes:
    """A message of these fields."""
    return b"".join(parts)


def message(number: int, *parts: Bytes) -> bytes:
    """A field that is bytes, or a message of these fields."""
    size = sum(map(len, parts))
    return b"".join([_encoded(number << 3 | _MANY), _encoded(size), *parts])


def string(number: int, value: str) -> bytes:
    """A field of text."""
    return message(number, value.encode())


def integer(number: int, value: int) -> bytes:
    """A field that is an integer of up to 64 bits."""
    return _encoded(number << 3 | _VARINT) + _encoded(value % (1 << 64))


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST):
        if at >= len(view):
            raise ValueError("it ends too early")
        byte = view[at]
        at += 1
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at
    raise ValueError("a number of it has no end")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
