"""All files of a run, fed strip by strip."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from affine import Affine
from odc.geo.geobox import GeoBox

from geounet import qgis
from geounet.address import is_remote
from geounet.bundle import Bundle
from geounet.classes import NODATA, ClassScheme
from geounet.errors import OutputError
from geounet.options import SegmentOptions
from geounet.polygonize.tolerance import tolerance_of
from geounet.polygonize.tracing import Tracing
from geounet.scene import SceneInfo
from geounet.staging import Staging
from geounet.stitch import Strip
from geounet.writer import RasterLayout, StripWriter, lost_crs

if TYPE_CHECKING:
    from geounet.layer import ClassPolygons


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPaths:
    """Where the outputs of a run go."""

    raster: Path
    """The class map."""
    polygons: Path | None
    """The polygon layer."""
    confidence: Path | None
    """The confidence raster."""

    @classmethod
    def of(cls, scene: SceneInfo, model: str, options: SegmentOptions) -> OutputPaths:
        """The names asked for, and the default ones for the others."""
        raster = options.out or Path(f"{scene.name}.{model}.tif")
        beside = raster.with_suffix(".gpkg") if options.polygons else None
        return cls(
            raster=raster,
            polygons=options.polygons if isinstance(options.polygons, Path) else beside,
            confidence=raster.with_suffix(".confidence.tif") if options.confidence else None,
        )

    @property
    def style(self) -> Path:
        """QGIS style of the class map."""
        return self.raster.with_suffix(".qml")

    @property
    def names(self) -> Path:
        """Class names of the class map, as GDAL looks for them."""
        return aux_path(self.raster)

    @property
    def all(self) -> list[Path]:
        """Every file, sidecars first: the class map appears when all else is there."""
        files = [self.style, self.names, self.confidence, self.polygons, self.raster]
        return [path for path in files if path is not None]

    def refuse_input(self, source: str) -> None:
        """Refuse to replace the scene by its own result.

        Raises:
            OutputError: An output has the path of the scene.
        """
        if is_remote(source):  # and perhaps longer than a path may be
            return
        for path in self.all:
            if path.exists() and Path(source).exists() and path.samefile(source):
                raise OutputError(f"{path} is the scene itself: choose another name with -o")


def aux_path(raster: Path) -> Path:
    """Where GDAL looks for what a raster cannot hold itself."""
    return raster.with_name(f"{raster.name}.aux.xml")


def _quietly(_text: str) -> None:
    """Tell nobody."""


class Outputs:
    """Takes strips top to bottom and writes every output of a run under temporary names.

    A context manager: leaving it closes what is open. :meth:`finish` completes the files; the
    caller commits them.
    """

    def __init__(
        self,
        paths: OutputPaths,
        staging: Staging,
        scene: SceneInfo,
        bundle: Bundle,
        *,
        simplify: str | float | None = None,
        smooth: bool = False,
        say: Callable[[str], object] = _quietly,
    ) -> None:
        self._simplify, self._smooth, self._say = simplify, smooth, say
        self._paths, self._staging, self._scene, self._bundle = paths, staging, scene, bundle
        self._scheme = bundle.spec.classes
        # staged in the order in which they are to appear
        self._sidecars = self._stage_sidecars(lost_crs(scene.geobox))
        with contextlib.ExitStack() as opened:
            self._confidence = (
                None
                if paths.confidence is None
                else self._writer(paths.confidence, opened, classes=False)
            )
            self._polygons = None if paths.polygons is None else self._layer(paths.polygons, opened)
            self._raster = self._writer(paths.raster, opened, classes=True)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def write(self, strip: Strip) -> None:
        """Take the next strip.

        Raises:
            OutputError: A file cannot be written.
        """
        self._raster.write(strip.labels)
        if self._confidence is not None and strip.confidence is not None:
            self._confidence.write(strip.confidence)
        if self._polygons is not None:
            self._polygons.result().write(strip)

    def finish(self) -> None:
        """Complete every file, still under its temporary name.

        Raises:
            OutputError: A file cannot be written.
        """
        if self._polygons is not None:
            self._polygons.result().finish()
        if self._confidence is not None:
            self._confidence.finish()
        self._raster.finish()
        for path, text in self._sidecars.items():
            try:
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                raise OutputError(
                    f"{path.parent.absolute()}: style and class names cannot be written"
                    f" ({error.strerror}): free some disk space, or choose another folder with -o"
                ) from error

    def _stage_sidecars(self, srs: str | None) -> dict[Path, str]:
        """Temporary path -> text; ``srs`` is a CRS that GeoTIFF cannot hold."""
        paths, stage = self._paths, self._staging.stage
        texts = {
            stage(paths.style): qgis.raster_qml(self._scheme),
            stage(paths.names): qgis.aux_xml(self._scheme, srs),
        }
        if srs is not None and paths.confidence is not None:
            texts[stage(aux_path(paths.confidence))] = qgis.aux_xml(srs=srs)
        return texts

    def _layer(self, final: Path, opened: contextlib.ExitStack) -> Future[ClassPolygons]:
        """The layer, which is opened while the first tiles are computed."""
        tracing = Tracing(
            geobox=shown_grid(self._scene),
            nodata=NODATA,
            simplify=tolerance_of(self._simplify, self._scene.geobox),
            smooth=self._smooth,
            confidence=self._paths.confidence is not None,
        )
        path, scheme, say = self._staging.stage(final), self._scheme, self._say

        def open_it() -> ClassPolygons:
            from geounet.layer import ClassPolygons

            return ClassPolygons(path, final.stem, scheme, tracing, say)

        pool = opened.enter_context(ThreadPoolExecutor(1, "geounet-open"))
        layer = pool.submit(open_it)
        opened.callback(_abort, layer)
        return layer

    def _writer(self, final: Path, opened: contextlib.ExitStack, *, classes: bool) -> StripWriter:
        layout = RasterLayout(
            geobox=self._scene.geobox,
            georeferenced=self._scene.georeferenced,
            description="class" if classes else "confidence (percent)",
            resampling="MODE" if classes else "AVERAGE",
            scheme=self._scheme if classes else None,
            tags=provenance(self._bundle),
        )
        writer = StripWriter(self._staging.stage(final), self._staging.scratch(final), layout)
        opened.callback(writer.abort)
        return writer


def _abort(layer: Future[ClassPolygons]) -> None:
    """Let go of the file, when it is open."""
    if layer.exception() is None:
        layer.result().abort()


def shown_grid(scene: SceneInfo) -> GeoBox:
    """Where its polygons lie: QGIS shows a raster without a place with its rows down from 0."""
    if scene.georeferenced:
        return scene.geobox
    return GeoBox(scene.geobox.shape, Affine.scale(1, -1), None)


def provenance(bundle: Bundle) -> dict[str, str]:
    """Dataset tags that say what made a raster."""
    return {
        "GEOUNET_VERSION": version("geounet"),
        "GEOUNET_MODEL": f"{bundle.spec.name} {bundle.spec.version}",
        "GEOUNET_MODEL_SHA256": bundle.sha256,
        "GEOUNET_CLASSES": classes_json(bundle.spec.classes),
    }


def classes_json(scheme: ClassScheme) -> str:
    """The classes as a JSON list of code, name and colour."""
    return json.dumps([{"code": c.code, "name": c.name, "color": c.color} for c in scheme])
