"""What a scene offers, whatever it is read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from odc.geo.geobox import GeoBox

from geounet.address import is_remote
from geounet.raster import Raster
from geounet.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneBand:
    """One band of a scene, as its file describes it."""

    name: str
    """Description, or what can be told from colour or file name; empty: unknown."""
    dtype: str
    """numpy name of the stored type."""
    scale: float = 1.0
    """Stored value times this ..."""
    offset: float = 0.0
    """... plus this is the physical value."""
    nodata: float | None = None
    """Stored value that means nodata (NaN is always invalid)."""
    is_alpha: bool = False
    """An alpha band is validity, not data: it is never matched to a model's band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneInfo:
    """The header of a scene."""

    name: str
    """Short name, for default output names."""
    source: str
    """Path or description, for messages: without what is secret in a URL."""
    geobox: GeoBox
    """CRS (None: none), affine and shape."""
    georeferenced: bool
    """False: the affine only counts pixels, because the scene says nothing of its place."""
    bands: tuple[SceneBand, ...]
    """In file order; band ``i`` of a read is ``bands[i - 1]``."""
    block: tuple[int, int] = (1, 1)
    """Height and width of the blocks in which the pixels are stored."""
    hint: str = ""
    """File names and tags in which a sensor may be named, those to trust most in the first line."""
    path: str = field(default="", repr=False)
    """What GDAL opens, with what may be secret in it; empty: no single file."""
    files: tuple[str, ...] = field(default=(), repr=False)
    """Every file that is read, as far as known: none of them may be replaced by an output."""
    note: str = ""
    """What the user should hear of how the scene is read; empty: nothing."""

    @property
    def descriptions(self) -> tuple[str, ...]:
        """One text a band, empty where it is unknown, to match a model's bands."""
        return tuple("alpha" if band.is_alpha else band.name for band in self.bands)

    @property
    def is_picture(self) -> bool:
        """Whether it holds bytes without a scale, as photos do: no reflectance, no decibels."""
        data = [band for band in self.bands if not band.is_alpha]
        return all((b.dtype, b.scale, b.offset) == ("uint8", 1, 0) for b in data)

    @property
    def is_remote(self) -> bool:
        """Whether pixels come over a network."""
        return any(is_remote(file) for file in self.files)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.geobox.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.geobox.shape[1])

    @property
    def window(self) -> Window:
        """The whole scene."""
        return Window(row_off=0, col_off=0, height=self.height, width=self.width)


@runtime_checkable
class SceneReader(Protocol):
    """Reads windows of a scene.

    Threads: ``read`` may be called from several threads at once; adapters keep a handle for each.
    Pickle: an adapter pickles its recipe (path and options), never an open handle.
    """

    @property
    def info(self) -> SceneInfo:
        """The header; reading it opens the scene and no pixel."""

    def read(self, window: Window, bands: Sequence[int]) -> Raster:
        """Stored values of ``bands`` (1-based) in ``window``, which must lie in the scene.

        A pixel is valid where the dataset mask, the nodata value of each of ``bands``, alpha and
        NaN (or infinity) all say so. Data are in this machine's byte order.

        Raises:
            SceneError: The pixels cannot be read (a damaged block, a lost connection).
        """

    def preview(self, max_size: int, bands: Sequence[int]) -> Raster:
        """The whole scene, decimated so that its longer side is at most ``max_size`` pixels."""

    def close(self) -> None:
        """Release every handle; a later read opens anew."""
