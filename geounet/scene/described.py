"""A scene of which somebody else says what its bands are: a catalogue, not its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from geounet.errors import SceneError
from geounet.raster import Raster
from geounet.scene.port import SceneBand, SceneInfo, SceneReader
from geounet.scene.stack import StackScene
from geounet.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class BandNote:
    """What is said of a band."""

    name: str
    """Canonical where there is such a name."""
    scale: float | None = None
    """Stored value times this ...; None: as the file says."""
    offset: float | None = None
    """... plus this is the physical value; None: as the file says."""

    def on(self, band: SceneBand) -> SceneBand:
        """The band, as this says it is."""
        return replace(
            band,
            name=self.name,
            scale=band.scale if self.scale is None else self.scale,
            offset=band.offset if self.offset is None else self.offset,
        )


class DescribedScene:
    """A :class:`~geounet.scene.port.SceneReader` whose name and bands are told from outside.

    Args:
        scene: What is read.
        name: Of the scene.
        notes: One a band, alpha left out.
        hint: In which a sensor is named.

    Raises:
        SceneError: At the first look at :attr:`info`: it has more or fewer bands.
    """

    def __init__(
        self, scene: SceneReader, *, name: str, notes: Sequence[BandNote], hint: str = ""
    ) -> None:
        self._scene, self._name, self._notes, self._hint = scene, name, tuple(notes), hint

    @property
    def is_stack(self) -> bool:
        """Whether each band has a file of its own, so that some can be left out."""
        return isinstance(self._scene, StackScene)

    def only(self, bands: Sequence[int], pixel_size: tuple[float, float] | None) -> DescribedScene:
        """As :meth:`StackScene.only`, where :attr:`is_stack`."""
        assert isinstance(self._scene, StackScene)  # noqa: S101  for the type checker
        return DescribedScene(
            self._scene.only(bands, pixel_size),
            name=self._name,
            notes=[self._notes[band - 1] for band in bands],
            hint=self._hint,
        )

    @cached_property
    def info(self) -> SceneInfo:
        """The header of the scene, with what is told."""
        info = self._scene.info
        count = sum(not band.is_alpha for band in info.bands)
        if count != len(self._notes):
            raise SceneError(
                f"{info.source} has {count} bands and its catalogue tells of {len(self._notes)}:"
                " segment the file itself, with --bands"
            )
        notes = iter(self._notes)
        bands = tuple(b if b.is_alpha else next(notes).on(b) for b in info.bands)
        hint = f"{self._hint}\n{info.hint}" if self._hint else info.hint
        return replace(info, name=self._name, bands=bands, hint=hint)

    def read(self, window: Window, bands: Sequence[int]) -> Raster:
        """As the scene reads."""
        return self._scene.read(window, bands)

    def preview(self, max_size: int, bands: Sequence[int]) -> Raster:
        """As the scene shows."""
        return self._scene.preview(max_size, bands)

    def close(self) -> None:
        """Close the scene."""
        self._scene.close()
