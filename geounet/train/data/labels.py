"""Label rasters, on the grid of their image."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from geounet.errors import DataError, SceneError
from geounet.gdalenv import read_env
from geounet.samegrid import check_same_grid
from geounet.scene import MemoryScene, SceneInfo, SceneReader, open_scene
from geounet.scene.grid import overlap
from geounet.train.data.place import wkt
from geounet.window import Window

Values = tuple[NDArray[Any], NDArray[np.bool_]]
"""Label values and validity, both (height, width)."""


class Labels(Protocol):
    """Reads windows of the label of one image, counted in the pixels of the image.

    Not shared between threads without a lock.
    """

    def read(self, window: Window) -> Values:
        """Whole numbers, and where they are labels."""

    def close(self) -> None:
        """Release every handle; a later read opens anew."""


class RasterLabels:
    """A raster that lies pixel on pixel on its image."""

    def __init__(self, reader: SceneReader) -> None:
        self._reader = reader
        self._bands = class_bands(reader.info)

    def read(self, window: Window) -> Values:
        """See :class:`Labels`.

        Raises:
            DataError: Fractions, or colours instead of codes.
        """
        raster = self._reader.read(window, self._bands)
        name = self._reader.info.source
        if (raster.data != raster.data[:1]).any():
            raise DataError(f"{name} holds colours; a label has one band of class codes")
        return whole(raster.data[0], raster.valid, name), raster.valid

    def close(self) -> None:
        """Release the reader."""
        self._reader.close()


class AlignedLabels:
    """A raster on another grid, brought onto that of the image: nearest neighbour, by GDAL.

    A pixel is a label where the nearest pixel of the raster is one; outside of the raster there are
    none. (torchgeo and GDAL's default would put 0 there.)
    """

    def __init__(self, path: str, grid: GeoBox) -> None:
        self._path, self._grid = path, grid
        self._open: tuple[Any, Any] | None = None

    def read(self, window: Window) -> Values:
        """See :class:`Labels`."""
        part = (window.row_off, window.row_end), (window.col_off, window.col_end)
        try:
            with read_env(self._path):
                warped = self._handle()
                data = warped.read(1, window=part)
                valid = warped.dataset_mask(window=part) > 0
        except RasterioError as error:
            raise SceneError(f"{self._path}: the pixels cannot be read ({error})") from error
        valid &= np.isfinite(data)
        return whole(data, valid, self._path), valid

    def close(self) -> None:
        """Close the handles."""
        for handle in self._open or ():
            handle.close()
        self._open = None

    def _handle(self) -> Any:
        if self._open is None:
            source = rasterio.open(self._path)
            masked = source.nodata is not None or "alpha" in [c.name for c in source.colorinterp]
            warped = WarpedVRT(
                source,
                crs=wkt(self._grid),
                transform=self._grid.affine,
                height=self._grid.shape[0],
                width=self._grid.shape[1],
                resampling=Resampling.nearest,
                # else what lies outside of the file is 0, which is a class
                add_alpha=not masked,
                nodata=source.nodata,
                tolerance=0.001,  # of a pixel; GDAL's eighth moves borders
            )
            self._open = warped, source
        return self._open[0]


class MaskedLabels:
    """Labels inside of a mask: a field of view, an area that was looked at."""

    def __init__(self, labels: Labels, mask: Labels) -> None:
        self._labels, self._mask = labels, mask

    def read(self, window: Window) -> Values:
        """See :class:`Labels`."""
        values, valid = self._labels.read(window)
        inside, known = self._mask.read(window)
        return values, valid & known & (inside != 0)

    def close(self) -> None:
        """Release both."""
        self._labels.close()
        self._mask.close()


def open_pixels(path: Path) -> SceneReader:
    """The reader of an image or a label, as ``segment`` would open it, or of a ``.mat`` file."""
    return _open_mat(path) if path.suffix.lower() == ".mat" else open_scene(str(path))


def open_raster_labels(path: Path, image: SceneInfo) -> Labels:
    """The labels of an image from a raster, aligned to it where its grid is another.

    Raises:
        SceneError: It cannot be read, does not have the size of an image without a place, or lies
            elsewhere.
    """
    reader = open_pixels(path)
    info = reader.info
    class_bands(info)
    on_map = image.georeferenced and info.georeferenced
    if not (on_map and image.geobox.crs is not None and info.geobox.crs is not None):
        _check_size(info, image)
        return RasterLabels(reader)
    with suppress(SceneError):
        check_same_grid(image, info)
        return RasterLabels(reader)
    reader.close()
    if not overlap(image.geobox, info.geobox):
        raise SceneError(f"{path} lies elsewhere than {image.source}: check the pair and its CRS")
    return AlignedLabels(str(path), image.geobox)


def class_bands(info: SceneInfo) -> tuple[int, ...]:
    """The band of class codes, or three that may all be the same.

    Raises:
        SceneError: Some other number of bands.
    """
    bands = tuple(i for i, band in enumerate(info.bands, start=1) if not band.is_alpha)
    if len(bands) not in (1, 3):
        raise SceneError(f"{info.source} has {len(bands)} bands; a label has one of class codes")
    return bands


def whole(values: NDArray[Any], valid: NDArray[np.bool_], name: str) -> NDArray[Any]:
    """The values as integers.

    Raises:
        DataError: A valid one has a fraction.
    """
    if values.dtype.kind in "iub":
        return values
    kept = np.where(valid, values, 0)
    rounded = np.rint(kept)
    if (rounded != kept).any():
        odd = kept[rounded != kept][0]
        raise DataError(f"{name} holds fractions such as {odd:g}; a label holds class codes")
    return rounded.astype(np.int64)


def _check_size(label: SceneInfo, image: SceneInfo) -> None:
    if (label.height, label.width) != (image.height, image.width):
        raise SceneError(
            f"{Path(label.source).name} ({label.width} x {label.height} px) against"
            f" {Path(image.source).name} ({image.width} x {image.height} px)"
        )


def _open_mat(path: Path) -> SceneReader:
    """``groundTruth.Segmentation`` as crack and contour data sets have it, or the only matrix."""
    import scipy.io

    try:
        content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    except (ValueError, NotImplementedError, OSError, TypeError) as error:
        raise SceneError(f"{path} cannot be read as a MATLAB file ({error})") from error
    truth = content.get("groundTruth")
    fields = content if truth is None else vars(truth)
    found = _matrices(fields)
    if len(found) != 1:
        raise SceneError(f"{path} holds {len(found)} matrices: one of class codes is needed")
    scene = MemoryScene.of(found[0][None])
    return MemoryScene(raster=scene.raster, name=str(path), georeferenced=False)


def _matrices(fields: Mapping[str, Any]) -> list[NDArray[Any]]:
    if "Segmentation" in fields:
        return [np.asarray(fields["Segmentation"])]
    arrays = [np.asarray(v) for k, v in fields.items() if not k.startswith("__")]
    return [a for a in arrays if a.ndim == 2 and a.dtype.kind in "iubf"]
