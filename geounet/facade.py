"""What goes in decides how it is segmented, and what comes out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, overload

from geounet.options import SegmentKeywords, SegmentOptions
from geounet.report import SegmentReport
from geounet.scene import SceneReader, SceneSource, XarrayScene, open_scene
from geounet.segmentation import run_segment, segment_array
from geounet.warn import warn_caller

if TYPE_CHECKING:
    import xarray as xr

_LOG = logging.getLogger("geounet")


@overload
def segment(
    scene: xr.DataArray | xr.Dataset,
    *,
    model: str | Path | None = None,
    out: None = None,
    **options: Unpack[SegmentKeywords],
) -> xr.DataArray: ...
@overload
def segment(
    scene: xr.DataArray | xr.Dataset,
    *,
    model: str | Path | None = None,
    out: str | Path,
    **options: Unpack[SegmentKeywords],
) -> SegmentReport: ...
@overload
def segment(
    scene: str | Path | Sequence[str | Path] | SceneReader,
    *,
    model: str | Path | None = None,
    out: str | Path | None = None,
    **options: Unpack[SegmentKeywords],
) -> SegmentReport: ...
def segment(
    scene: SceneSource,
    *,
    model: str | Path | None = None,
    out: str | Path | None = None,
    **options: Unpack[SegmentKeywords],
) -> SegmentReport | xr.DataArray:
    """Segment a scene.

    A path, URL, list of single-band files or reader gives files and a report; a
    :class:`xarray.DataArray` or Dataset without ``out`` gives a DataArray of labels on its grid. If
    it is Dask's, so are the labels: lazy, in its chunks (see :mod:`geounet.lazy`).

    Args:
        scene: What to segment, see :func:`geounet.scene.open_scene`.
        model: Name of a bundled model, or path of a ``.geounet`` or ``.onnx`` file (see
            :func:`geounet.onnx.load_onnx`); None: the bundled model whose bands the scene has.
        out: The class map (``.tif``); None: ``<scene>.<model>.tif`` in the current folder.
        **options: As the options of the command line, see
            :class:`geounet.options.SegmentKeywords`.

    Returns:
        The report, with the fields of ``geounet segment --json``; or labels (y, x), uint8, class
        codes, 255 = nodata.

    Raises:
        GeounetError: One line that says what is wrong and how to mend it; nothing is left behind.
    """
    progress = options.pop("progress", None)
    chosen = SegmentOptions.of(model, out, options)
    if out is not None or not hasattr(scene, "dims"):
        return run_segment(scene, chosen, say=_LOG.info, warn=warn_caller, progress=progress)
    array = open_scene(scene)
    if isinstance(array, XarrayScene) and array.is_lazy:
        from geounet.lazy import segment_lazily

        return segment_lazily(array, chosen, progress=progress)
    return segment_array(array, chosen, progress=progress)
