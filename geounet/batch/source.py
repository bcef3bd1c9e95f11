"""A scene of a batch: files, or an item of a STAC catalogue."""

from __future__ import annotations

import os
from dataclasses import replace

from geounet.scene import SceneReader, open_scene
from geounet.stac import StacScene

Source = tuple[str, ...] | StacScene
"""A path, those of the single-band files of one scene, or what an item says."""


def name_of(source: Source) -> str:
    """What messages and the manifest call it."""
    return source.name if isinstance(source, StacScene) else " ".join(source)


def opened(source: Source) -> SceneReader:
    """Its reader, which opens nothing yet."""
    return source.open() if isinstance(source, StacScene) else open_scene(source)


def everywhere(source: Source) -> Source:
    """The same with absolute paths, so that a worker may have another current folder."""
    if isinstance(source, StacScene):
        return replace(source, files=_absolute(source.files), item=_absolute([source.item])[0])
    return _absolute(source)


def _absolute(paths: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return tuple(os.path.abspath(p) if os.path.exists(p) else p for p in paths)  # noqa: PTH100, PTH110  a URL is no Path
