"""Scenes that GDAL reads: GeoTIFF, COG, VRT, JPEG, PNG, zipped and remote files."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT

from geounet.address import bare, gdal_path, is_remote, remote_files, shown
from geounet.bands import band_number, canonical_name
from geounet.errors import SceneError, UnreachableError
from geounet.gdalenv import read_env
from geounet.hushed import hushed
from geounet.raster import Raster
from geounet.scene.blocktable import fetch_table
from geounet.scene.grid import is_coarser
from geounet.scene.memory import as_stored, finite
from geounet.scene.port import SceneBand, SceneInfo
from geounet.scene.refusal import (
    LostConnectionError,
    LostMaskError,
    innermost,
    why_unopened,
    why_unread,
)
from geounet.scene.remote import Patience, Watch
from geounet.signalled import signalled
from geounet.window import Window

T = TypeVar("T")

_LONG = 8  # bytes
_SUFFIX = 7  # letters at most
_PACKED = ("gz", "zip", "tgz", "tar", "bz2", "xz")
_MEMBER = re.compile(
    r"(?:(?:zip|tar)(?:\+file)?://)?(?P<archive>(?:(?!://).)+\.(?:(?P<zip>zip)|tar|tgz|tar\.gz))!/?"
    r"(?P<member>.+)",
    re.IGNORECASE,
)
_SOME_CRS = "EPSG:3857"
_TOLERANCE = 0.001  # of a pixel
_COLORS = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}


class GeoTIFFScene:
    """The GDAL adapter of :class:`~geounet.scene.port.SceneReader`; one handle a thread.

    Args:
        path: Anything GDAL opens.
        grid: Resample onto this grid while reading: bilinear, or the mean where its pixels are
            larger; None: the file's own.
        nearest: Take the nearest pixel instead, as codes of classes need it.

    Raises:
        SceneError: Missing, unreadable, without bands, complex, or placed by control points only.
    """

    def __init__(
        self, path: str | Path, *, grid: GeoBox | None = None, nearest: bool = False
    ) -> None:
        self._path = str(path)
        self._grid, self._nearest = grid, nearest
        self._local = threading.local()
        self._handles: list[Any] = []
        self._masks: Any = None
        self._seen = False
        self._fetched = remote_files([self._path])
        self._watch: Watch | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path, "grid": self._grid, "nearest": self._nearest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"GeoTIFFScene({shown(self._path)!r})"

    @cached_property
    def info(self) -> SceneInfo:
        """The header."""
        return self.look(self._header)

    def tags(self) -> dict[str, str]:
        """Dataset tags of the file."""
        return self.look(lambda dataset: dict(dataset.tags()))

    def read(self, window: Window, bands: Sequence[int]) -> Raster:
        """Stored values and validity of ``bands`` in ``window``."""
        part = (window.row_off, window.row_end), (window.col_off, window.col_end)

        def pixels(dataset: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
            if self._fetched:
                fetch_table(dataset, window, bands)
            data = dataset.read(list(bands), window=part)
            return data, self._valid(dataset, data, bands, {"window": part})

        what = f"rows {window.row_off} to {window.row_end - 1}"
        data, valid = self.look(pixels, what)
        rows, cols = window.slices
        return Raster(data=data, valid=valid, geobox=self.info.geobox[rows, cols])

    def preview(self, max_size: int, bands: Sequence[int]) -> Raster:
        """The whole scene, decimated (from overviews where it has them)."""
        info = self.info
        factor = max(1.0, max(info.height, info.width) / max_size)
        shape = max(1, round(info.height / factor)), max(1, round(info.width / factor))

        def pixels(dataset: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
            data = dataset.read(list(bands), out_shape=(len(bands), *shape))
            return data, self._valid(dataset, data, bands, {"out_shape": shape})

        data, valid = self.look(pixels, "the overview")
        return Raster(data=data, valid=valid, geobox=info.geobox.zoom_to(shape))

    def look(self, act: Callable[[Any], T], what: str = "the header") -> T:
        """What ``act`` makes of this thread's open dataset (rasterio's).

        A remote file is tried several times, each with a fresh handle.

        Args:
            act: May be called several times.
            what: Which part of the file it reads, for messages.

        Raises:
            SceneError: The file cannot be opened, or ``act`` cannot read it.
        """
        patience: Patience | None = None
        while True:
            opened = bool(self._fetched and self._seen)  # before
            try:
                with read_env(self._path), signalled() as lost:
                    handle = self._handle()
                    opened = True
                    found = act(handle)
                    if lost and self._fetched:
                        raise LostConnectionError(lost[0])
                    self._seen = True
                    return found
            except RasterioError as error:
                self._let_go()
                patience = patience or Patience(self._fetched)
                if patience.again():
                    continue
                tell = why_unread if opened else why_unopened
                kind = UnreachableError if patience.answer else SceneError
                raise kind(tell(self._path, error, patience.answer, what)) from error

    def close(self) -> None:
        """Close the handles of all threads."""
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()
            self._local = threading.local()

    def _valid(
        self, dataset: Any, data: NDArray[Any], bands: Sequence[int], part: dict[str, Any]
    ) -> NDArray[np.bool_]:
        """Whatever says that a pixel is invalid is believed: GDAL's own mask follows one only."""
        valid = finite(data)
        for layer, band in zip(data, bands, strict=True):
            nodata = dataset.nodatavals[band - 1]
            if nodata is not None and not np.isnan(nodata) and _exact(layer.dtype):
                valid &= layer != as_stored(nodata, layer.dtype)
        for band in _masked(dataset, bands):
            valid &= dataset.read_masks(band, **part) > 0
        for band in set(_alphas(dataset)).difference(bands):  # asked for as data, it is data
            valid &= dataset.read(band, **part) > 0
        return valid

    def _header(self, dataset: Any) -> SceneInfo:
        return SceneInfo(
            name=short_name(self._path),
            source=shown(self._path),
            path=self._path,
            geobox=_geobox(dataset, self._path) if self._grid is None else self._grid,
            georeferenced=_placed(dataset),
            bands=tuple(_bands(dataset)),
            block=max(dataset.block_shapes),
            hint=_hint(self._path, dataset.tags()),
            files=tuple(dataset.files),
        )

    def _handle(self) -> Any:
        handle = getattr(self._local, "handle", None)
        if handle is None:
            handle = self._open()
            self._local.handle = handle
            with self._lock:
                self._handles.append(handle)
        return handle

    def _let_go(self) -> None:
        """Close this thread's handle."""
        handle: Any = getattr(self._local, "handle", None)
        self._local.handle = None
        with self._lock:
            self._masks = self._masks if self._seen else None  # which may have been lost
            if handle in self._handles:
                self._handles.remove(handle)
                handle.close()

    def _open(self) -> Any:
        self._refuse_replaced()
        with hushed(NotGeoreferencedWarning):  # rasterio warns here, and nowhere else
            dataset = rasterio.open(_gdal_path(self._path))
        try:
            _refuse_unusable(dataset, shown(self._path))
            self._refuse_changed(dataset)
            if self._grid is None:
                return dataset
            return _warped(dataset, self._grid, self._path, nearest=self._nearest)
        except BaseException:
            dataset.close()
            raise

    def _refuse_changed(self, dataset: Any) -> None:
        """GDAL says nothing where a connection is lost before a mask: all is valid then."""
        masks = dataset.mask_flag_enums
        with self._lock:
            self._masks = self._masks or masks
            if masks != self._masks:
                raise LostMaskError
        self._fetched = self._fetched or remote_files(dataset.files)  # of a local VRT

    def _refuse_replaced(self) -> None:
        """It is asked before GDAL would ask, which takes over what it was told then.

        So nothing is asked twice, and servers that refuse HEAD have been asked with GET.
        """
        if self._watch is not None:
            self._watch.check()
        self._watch = self._watch or Watch(self._fetched)


def _gdal_path(path: str) -> str:
    """GDAL's own path of a file in an archive (``zip://a.zip!b.tif``).

    rasterio's parser would need the archive's path to be absolute:
    https://github.com/rasterio/rasterio/blob/1.4.3/rasterio/_path.py
    """
    found = _MEMBER.fullmatch(path)
    if found is None:
        return gdal_path(path)
    return f"/vsi{'zip' if found['zip'] else 'tar'}/{found['archive']}/{found['member']}"


def _warped(dataset: Any, grid: GeoBox, path: str, *, nearest: bool) -> _Warped:
    try:
        coarser = is_coarser(grid, _geobox(dataset, path))
        smooth = Resampling.average if coarser else Resampling.bilinear
        return _Warped(dataset, grid, Resampling.nearest if nearest else smooth)
    except SceneError:
        raise
    except Exception as error:  # rasterio passes on what GDAL and PROJ raise, of many kinds
        raise SceneError(
            f"{shown(path)} cannot be brought onto the grid of the other files"
            f" ({innermost(error)}): warp it first with gdalwarp"
        ) from error


class _Warped(WarpedVRT):  # type: ignore[misc]
    """A dataset on another grid; closing it closes both.

    Law (window): a part that is read is that part of the whole.
    """

    def __init__(self, dataset: Any, grid: GeoBox, resampling: Resampling) -> None:
        # Without a CRS both grids count in the same units, and any CRS says so to GDAL.
        crs = _SOME_CRS if grid.crs is None else grid.crs.to_wkt()
        super().__init__(
            dataset,
            src_crs=_SOME_CRS if dataset.crs is None else None,
            crs=crs,
            transform=grid.affine,
            height=grid.shape[0],
            width=grid.shape[1],
            resampling=resampling,
            src_nodata=dataset.nodata,
            # Pixels outside the file are invalid, not 0. And with a second band GDAL computes fixed
            # blocks; alone, a band is computed for the window that is asked for, and differs:
            # https://github.com/OSGeo/gdal/blob/v3.10.3/frmts/vrt/vrtwarped.cpp
            add_alpha=ColorInterp.alpha not in dataset.colorinterp,
            # GDAL's eighth of a pixel would show where blocks meet; rasterio 1.4 fails with 0
            tolerance=_TOLERANCE,
            # else GDAL estimates for each block whether it shrinks, and may smooth one and not the
            # next: https://gdal.org/en/stable/api/gdalwarp_cpp.html
            XSCALE=1,
            YSCALE=1,
        )
        self._source = dataset

    def close(self) -> None:
        super().close()
        self._source.close()


def _hint(path: str, tags: Mapping[str, str]) -> str:
    """The file's name, then what its tags say, then the folders."""
    folder, _, name = shown(path).rpartition("/")
    said = " ".join(" ".join(map(str, tags.values())).split())
    return "\n".join([name, said[:4000], *reversed(folder.split("/"))])


def short_name(path: str) -> str:
    """File name without folders, protocol and suffix, for default output names."""
    found = _MEMBER.fullmatch(path)
    path = found["member"] if found else path
    if is_remote(path):
        path = bare(path)
    name = path.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1].split("?")[0]
    stem = name.rsplit(":", 1)[-1]
    for _ in range(2):
        head, _, tail = stem.rpartition(".")
        if not (head and tail.isalnum() and len(tail) <= _SUFFIX and not tail.isdigit()):
            break
        stem = head
        if tail.lower() not in _PACKED:
            break
    return stem.strip("\"' ") or "scene"


def _masked(dataset: Any, bands: Sequence[int]) -> list[int]:
    """Bands whose masks are to be read: those that nodata values and alpha do not explain."""
    found: list[int] = []
    for band in bands:
        flags = dataset.mask_flag_enums[band - 1]
        if MaskFlags.all_valid in flags or MaskFlags.alpha in flags:
            continue
        if flags == [MaskFlags.nodata] and _exact(np.dtype(dataset.dtypes[band - 1])):
            continue
        found.append(band)
        if MaskFlags.per_dataset in flags:  # one mask serves all bands
            break
    return found


def _alphas(dataset: Any) -> list[int]:
    """Alpha bands. One whose description names a band is none, whatever its tag says.

    GDAL tags the fourth band of every four-band byte raster as alpha unless told otherwise, and
    so the near infrared of many aerial photos.
    """
    return [
        index
        for index, (interp, name) in enumerate(
            zip(dataset.colorinterp, dataset.descriptions, strict=True), start=1
        )
        if interp is ColorInterp.alpha
        and not (name and (canonical_name(name) or band_number(name)))
    ]


def _exact(dtype: np.dtype[Any]) -> bool:
    """Whether rasterio's float holds every nodata value of the type (64-bit integers: no)."""
    return dtype.kind not in "iu" or dtype.itemsize < _LONG


def _placed(dataset: Any) -> bool:
    return dataset.crs is not None or not dataset.transform.is_identity


def _bands(dataset: Any) -> Iterator[SceneBand]:
    """The bands; the only one of a scene with a place bears its file's name, if it has no other.

    ``T32UNU_B04.jp2`` says what it holds, ``red-squirrel.png`` does not.
    """
    alphas = _alphas(dataset)
    for index in range(dataset.count):
        interp = dataset.colorinterp[index]
        name = dataset.descriptions[index] or _COLORS.get(interp, "")
        if dataset.count == 1 and not name and _placed(dataset):
            name = short_name(dataset.name)
        yield SceneBand(
            name=name,
            dtype=dataset.dtypes[index],
            scale=dataset.scales[index],
            offset=dataset.offsets[index],
            nodata=dataset.nodatavals[index],
            is_alpha=index + 1 in alphas,
        )


def _geobox(dataset: Any, path: str) -> GeoBox:
    transform: Affine = dataset.transform
    if transform.is_degenerate:
        raise SceneError(
            f"{shown(path)}: its transform {tuple(transform)[:6]} has no area: mend it with"
            " gdal_edit.py -a_ullr"
        )
    try:
        return GeoBox(dataset.shape, transform, dataset.crs or None)
    except Exception as error:  # pyproj and odc-geo raise many kinds for a CRS they cannot read
        raise SceneError(
            f"{shown(path)}: its CRS cannot be understood ({innermost(error)}): set one with"
            " gdal_edit.py -a_srs"
        ) from error


def _refuse_unusable(dataset: Any, path: str) -> None:
    if dataset.count == 0:
        parts = ", ".join(dataset.subdatasets[:4])
        raise SceneError(
            f"{path} holds no bands of its own"
            + (f": name one of its subdatasets, e.g. {parts}" if parts else "")
        )
    if any(np.dtype(t.replace("_int16", "64")).kind == "c" for t in dataset.dtypes):
        raise SceneError(
            f"{path} holds complex numbers ({dataset.dtypes[0]}): turn it into calibrated,"
            " multilooked intensity in dB first"
        )
    if dataset.transform.is_identity:
        if dataset.rpcs is not None:
            raise SceneError(
                f"{path} is placed by RPCs, not by a grid: orthorectify it first, e.g."
                " gdalwarp -rpc IN OUT"
            )
        if dataset.gcps[0]:
            raise SceneError(
                f"{path} is placed by {len(dataset.gcps[0])} ground control points, not by a grid:"
                " warp it first, e.g. gdalwarp -tps IN OUT"
            )
