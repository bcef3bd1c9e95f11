"""Engines that stay in a process, so that a model is loaded once a worker and not once a task."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from geounet.bands import Normalizer
from geounet.bundle import Bundle
from geounet.cores import usable_cores
from geounet.engine import ModelEngine
from geounet.engine.select import make_engine
from geounet.errors import ModelError
from geounet.models import bundled_models, load_model
from geounet.options import SegmentOptions

_KEPT = 4
"""Models that a process remembers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecipe:
    """How an engine is built, wherever a task runs; the engine itself never travels."""

    model: str
    """Name of a bundled model, or absolute path of a file that every worker sees."""
    sha256: str
    """What that must be."""
    scale: tuple[float, ...]
    """Stored value times this ..."""
    offset: tuple[float, ...]
    """... plus this is in the model's unit; one a band."""
    engine: str
    """As in :func:`geounet.engine.select.make_engine`."""
    device: str
    """As there."""
    precision: str
    """As there."""

    @classmethod
    def of(cls, normalizer: Normalizer, bundle: Bundle, options: SegmentOptions) -> Self:
        """Of a scene's normalizer, a model and what was asked for."""
        return cls(
            model=_everywhere(options.model, bundle),
            sha256=bundle.sha256,
            scale=tuple(normalizer.scale.tolist()),
            offset=tuple(normalizer.offset.tolist()),
            engine=options.engine,
            device=options.device,
            precision=options.precision,
        )


class Engines:
    """The engines of one recipe in this process.

    A second one is built only where two tasks run at once and processors would be left over: each
    takes the threads that ``OMP_NUM_THREADS`` says, or all, and a GPU has one.

    Raises:
        ModelError: The model is not there, or is another one.
        GeounetError: As :func:`geounet.engine.select.make_engine`.
    """

    def __init__(self, recipe: EngineRecipe) -> None:
        self.bundle: Bundle = load_model(recipe.model)
        if self.bundle.sha256 != recipe.sha256:
            raise ModelError(
                f"{recipe.model} is another model here than the one that the labels were asked of:"
                " give every worker the same file, or make the labels again"
            )
        spec = self.bundle.spec
        self.normalizer = Normalizer.of(spec.bands, spec.clip, recipe.scale, recipe.offset)
        self._recipe = recipe
        self.first: ModelEngine = self._make()
        """One to ask how it computes; it may be computing for somebody else."""
        self._free = [self.first]
        self._turns = threading.Semaphore(_at_once(self.first.device))

    @contextmanager
    def one(self) -> Iterator[ModelEngine]:
        """An engine that nobody else has, as soon as there is one."""
        with self._turns:
            try:
                engine = self._free.pop()
            except IndexError:
                engine = self._make()
            try:
                yield engine
            finally:
                self._free.append(engine)

    def _make(self) -> ModelEngine:
        recipe = self._recipe
        return make_engine(
            self.bundle,
            self.normalizer,
            engine=recipe.engine,
            device=recipe.device,
            precision=recipe.precision,
        )


def engines_of(recipe: EngineRecipe) -> Engines:
    """Those of a recipe, built when they are first asked for."""
    with _LOCK:
        return _engines(recipe)


_LOCK = threading.Lock()


@lru_cache(maxsize=_KEPT)
def _engines(recipe: EngineRecipe) -> Engines:
    return Engines(recipe)


def _at_once(device: str) -> int:
    if device != "cpu":
        return 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, usable_cores() // int(asked)) if asked.isdigit() and int(asked) else 1


def _everywhere(model: str | Path | None, bundle: Bundle) -> str:
    """What a worker finds a model by: its name if it ships with geounet, else its whole path."""
    shipped = {str(path): name for name, path in bundled_models().items()}
    if bundle.path in shipped:
        return shipped[bundle.path]
    return str(Path(model or bundle.path).absolute())
