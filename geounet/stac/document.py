"""A JSON document of a catalogue, and what its links lead to."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from geounet.errors import SceneError

_TIMEOUT = 60.0  # seconds
_LARGEST = 1 << 30  # bytes; an item has about 20 thousand
_WEB = ("http://", "https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An object of JSON, and where it came from."""

    source: str
    """Path or URL."""
    content: dict[str, Any]
    """The object."""

    @classmethod
    def read(cls, source: str | Path) -> Document:
        """From a file or over http.

        Raises:
            SceneError: It cannot be had, or is no JSON object.
        """
        source = str(source)
        text = _fetched(source) if source.startswith(_WEB) else _loaded(source)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SceneError(
                f"{source} is no JSON ({error}): give a STAC Item or ItemCollection"
            ) from error
        if not isinstance(content, dict):
            raise SceneError(
                f"{source} holds a {type(content).__name__}, no object: give a STAC Item or"
                " ItemCollection"
            )
        return cls(source=source, content=content)


def resolved(href: str, base: str) -> str:
    """What a link means in a document: a URL, or a path as GDAL takes it.

    Args:
        href: Absolute or relative.
        base: Path or URL of the document.
    """
    if href.startswith("file:"):
        return unquote(urlsplit(href).path)
    if "://" in href or href.startswith("/"):
        return href
    if "://" in base:
        return urljoin(base, href)
    return str(Path(base).parent / href)


def _loaded(path: str) -> bytes:
    if "://" in path:
        raise SceneError(f"{path}: a catalogue is read from a file or over http: download it first")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SceneError(f"{path} cannot be read ({error.strerror}): check the path") from error


def _fetched(url: str) -> bytes:
    request = urllib.request.Request(  # noqa: S310  http alone comes here
        url, headers={"Accept": "application/geo+json, application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            text: bytes = answer.read(_LARGEST)
    except urllib.error.HTTPError as error:
        raise SceneError(f"{url} cannot be had (HTTP {error.code}): check the address") from error
    except (OSError, ValueError) as error:  # URLError is one, and so are time-outs
        reason = getattr(error, "reason", error)
        raise SceneError(f"{url} cannot be had ({reason}): check address and network") from error
    return text
