"""What ``geounet batch`` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geounet.errors import OptionError
from geounet.options import SegmentOptions
from geounet.polygonize.layers import SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Where a batch runs, and what is done to each scene."""

    folder: Path | str
    """Where outputs and the manifest go; made if it is not there. Of a bucket, the address without
    a slash behind: :func:`geounet.batch.folder_of` tells the two apart."""
    segment: SegmentOptions
    """As for one scene, without names of outputs; ``polygons`` says whether there are any."""
    polygons: str = ".gpkg"
    """What layers of polygons end in."""
    workers: int | None = None
    """Of a local cluster; None: one a GPU, or one a core as far as memory goes."""
    scheduler: str | None = None
    """Address of a scheduler; None: a local cluster."""
    mosaic: Path | None = None
    """One class map of all scenes (``.tif``), when all are done; in a bucket its name there."""
    stac: bool = False
    """Whether class maps get STAC items (``.json``), and the folder a collection."""
    max_retries: int = 2
    """How often a task that failed, or whose worker died, is tried again."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"--workers {self.workers}: give 1 or more")
        if self.workers is not None and self.scheduler is not None:
            raise OptionError("--workers and --scheduler: a scheduler has workers of its own")
        if self.mosaic is not None and self.mosaic.suffix.lower() not in (".tif", ".tiff"):
            raise OptionError(f"--mosaic {self.mosaic}: it is a GeoTIFF: end it in .tif")
        if self.max_retries < 0:
            raise OptionError(f"--max-retries {self.max_retries}: give 0 or more")
        if self.polygons not in SUFFIXES:
            raise OptionError(
                f"--polygons {self.polygons.lstrip('.')}: choose"
                f" {', '.join(suffix.lstrip('.') for suffix in SUFFIXES)}"
            )
        if "," in self.segment.device:
            raise OptionError(
                f"--device {self.segment.device}: each worker of a batch has one device: pass"
                " --device cuda, which takes every GPU that CUDA_VISIBLE_DEVICES names"
            )
        if self.segment.out is not None or isinstance(self.segment.polygons, Path):
            raise OptionError("outputs of a batch are named after their scenes")
