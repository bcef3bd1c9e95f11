"""One picture of a scene beside its class map, with legend and scale bar."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from PIL import Image
from pyproj import Transformer
from pyproj.exceptions import ProjError

from geounet.bands import match_bands
from geounet.errors import BandError, OptionError, OutputError, SceneError
from geounet.legend import palette_color, read_legend
from geounet.raster import Raster
from geounet.samegrid import check_same_grid
from geounet.scene import SceneInfo, SceneReader, SceneSource, StackScene, open_scene
from geounet.sheet import Color, Sheet, draw_sheet
from geounet.staging import Staging, check_outputs, refuse_inputs
from geounet.window import Window

COMPOSITES: tuple[tuple[str, ...], ...] = (
    ("red", "green", "blue"),
    ("swir1", "nir", "red"),
    ("nir", "red", "green"),
    ("VV", "VH"),
    ("HH", "HV"),
)
"""Bands shown as red, green and blue, the first that a scene has; of two the third is the ratio."""

STRETCH = (2.0, 98.0)
"""Percentiles of the valid pixels that become black and white."""

GAMMA = 0.8
"""Exponent that lifts dark woods and water of optical scenes."""

MOST_CLASSES = 64
"""More values than this are no classes."""

_NO_DATA = np.array([232, 231, 228], np.float32)
_STRIP_PIXELS = 4 << 20
_SHARES_SHOWN = 0.0005


def render_quicklook(
    scene: SceneSource,
    classes: SceneSource,
    out: str | Path,
    *,
    max_size: int = 900,
    overwrite: bool = False,
) -> Path:
    """Draw a scene beside its class map into a PNG.

    Both are read decimated, so that a scene of any size fits; only the shares of the classes are
    counted on every pixel, strip by strip.

    Args:
        scene: What was segmented.
        classes: Its class map, on the same grid.
        out: PNG to write.
        max_size: Longer side of each of the two pictures, in pixels.
        overwrite: Replace ``out`` where it exists.

    Returns:
        ``out``.

    Raises:
        SceneError: A raster cannot be read, or the grids differ.
        OutputError: ``out`` exists, is one of the rasters, or cannot be written.
        OptionError: ``max_size`` is too small, or ``out`` is no PNG.
    """
    out = Path(out)
    if max_size < 64:
        raise OptionError(f"max_size {max_size} is too small for a picture: use 64 or more")
    if out.suffix.lower() != ".png":
        raise OptionError(f"{out} is not a PNG: give a name that ends in .png")
    check_outputs([out], overwrite=overwrite)
    with closing(open_scene(classes)) as mapped, closing(_on_grid(scene, mapped)) as seen:
        refuse_inputs([out], [*seen.info.files, *mapped.info.files], "one of the rasters")
        check_same_grid(seen.info, mapped.info)
        picture = draw_sheet(_look(seen, mapped, max_size))
    with Staging() as staging:
        try:
            picture.save(staging.stage(out), "PNG", optimize=True)
        except OSError as error:
            raise OutputError(f"{out} cannot be written ({error.strerror or error})") from error
        staging.commit()
    return out


def _on_grid(source: SceneSource, classes: SceneReader) -> SceneReader:
    """The scene; files of several resolutions on the grid of the class map, which was made so."""
    scene = open_scene(source)
    if isinstance(scene, StackScene) and scene.info.note:
        return scene.on(classes.info.geobox)
    return scene


def class_shares(classes: SceneReader) -> tuple[dict[int, float], float]:
    """Share of each code in the valid area of a class map, and the share without data.

    Every pixel is counted, a strip at a time; in a geographic CRS it weighs what its latitude
    makes it cover.
    """
    info, area = classes.info, dict[int, float]()
    rows = max(16, _STRIP_PIXELS // info.width)
    valid_area = total = 0.0
    for start in range(0, info.height, rows):
        window = Window(row_off=start, col_off=0, height=rows, width=info.width)
        raster = classes.read(window.intersect(info.window), [1])
        weight = _row_weight(raster.geobox)
        codes, counts = np.unique(raster.data[0][raster.valid].astype(int), return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            area[code] = area.get(code, 0.0) + weight * count
        valid_area += weight * int(raster.valid.sum())
        total += weight * raster.valid.size
    shares = {code: part / valid_area for code, part in sorted(area.items())}
    return shares, 1 - valid_area / total


def _row_weight(grid: GeoBox) -> float:
    if grid.crs is None or not grid.crs.geographic:
        return 1.0
    middle = grid.affine @ (grid.shape[1] / 2, grid.shape[0] / 2)
    return max(math.cos(math.radians(middle[1])), 1e-6)


def _look(scene: SceneReader, classes: SceneReader, max_size: int) -> Sheet:
    info = scene.info
    bands, caption = choose_bands(info)
    fine = scene.preview(2 * max_size, bands)  # twice as fine, then averaged: no aliasing
    mapped = classes.preview(2 * max_size, [1])
    shares, missing = class_shares(classes)
    legend = paints(classes.info, shares)
    rgb = stretched(fine)
    overlay = _overlay(rgb, fine.valid, mapped, legend)
    size = _picture_size(fine.valid.shape, max_size)
    rgb[~fine.valid] = _NO_DATA
    ground = metres_per_pixel(info.geobox) if info.georeferenced else None
    return Sheet(
        scene=_image(rgb, size),
        classes=_image(overlay, size),
        title=info.name,
        subtitle=_subtitle(info),
        caption=caption,
        legend=(*_entries(legend, shares), *_missing(missing)),
        metres=None if ground is None else ground * info.width / size[0],
    )


def choose_bands(info: SceneInfo) -> tuple[tuple[int, ...], str]:
    """The bands to show (1-based, one to three), and what they are."""
    names = [band.name for band in info.bands]
    for wanted in COMPOSITES:
        try:
            picked = match_bands(wanted, names, hint=info.hint)
        except BandError:
            continue
        shown = wanted if len(wanted) > 2 else (*wanted, f"{wanted[0]} / {wanted[1]}")
        return picked, ", ".join(shown)
    data = [i for i, band in enumerate(info.bands, start=1) if not band.is_alpha] or [1]
    picked = tuple(data[:3]) if len(data) > 2 else (data[0],)
    return picked, "band " + ", ".join(names[i - 1] or str(i) for i in picked)


def stretched(raster: Raster) -> NDArray[np.float32]:
    """Colours (height, width, 3), 0..255, stretched over the valid pixels of each channel."""
    data, valid = raster.data.astype(np.float32), raster.valid
    radar = len(data) == 2
    if radar:
        data = _with_ratio(data, valid)
    if not valid.any():
        return np.zeros((*valid.shape, 3), np.float32)
    low, high = np.percentile(data[:, valid], STRETCH, axis=1)
    if radar:  # speckle fills the range: leave it room, or every pixel is garish
        low, high = low - 0.05 * (high - low), high + 0.2 * (high - low)
    else:  # meet halfway between a stretch of each band and one of all, to keep hues natural
        low, high = (low + low.min()) / 2, (high + high.max()) / 2
    span = np.maximum(high - low, 1e-9)[:, None, None]
    scaled = np.clip((np.where(valid, data, 0) - low[:, None, None]) / span, 0, 1)
    rgb = np.moveaxis(255 * scaled ** (1.0 if radar else GAMMA), 0, -1)
    return np.broadcast_to(rgb, (*valid.shape, 3)).astype(np.float32)


def _with_ratio(data: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    if not (data[:, valid] < 0).any():  # linear power; shown in dB
        data = (10 * np.log10(np.maximum(data, 1e-6))).astype(np.float32)
    floor = np.percentile(data[1][valid], 5) if valid.any() else 0  # below lies mostly noise
    ratio = data[0] - np.maximum(data[1], floor)
    calm = _mean_of_9(np.where(valid, ratio, 0))  # speckle counts twice in a ratio
    return np.concatenate([data, calm[None]])


def _mean_of_9(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over 3 x 3 pixels of (height, width), mirrored at the edges."""
    height, width = values.shape
    padded = np.pad(values, 1, mode="symmetric")
    shifted = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.asarray(sum(shifted) / np.float32(9), np.float32)


def paints(info: SceneInfo, codes: Collection[int]) -> dict[int, tuple[str, Color]]:
    """Name and colour of each code, from the legend of the class map or, failing that, made up.

    Raises:
        SceneError: There are too many codes for a class map.
    """
    if len(codes) > MOST_CLASSES:
        raise SceneError(
            f"{info.source} holds {len(codes)} different values, more than a picture can tell apart"
            f" ({MOST_CLASSES}): give the class map"
        )
    known = read_legend(info.path or info.source)
    return {
        code: (known[code].name, known[code].rgb)
        if code in known
        else (str(code), palette_color(rank))
        for rank, code in enumerate(sorted(codes))
    }


def _overlay(
    rgb: NDArray[np.float32],
    valid: NDArray[np.bool_],
    mapped: Raster,
    legend: Mapping[int, tuple[str, Color]],
) -> NDArray[np.float32]:
    """Class colours with the light and shade of the scene (height, width, 3)."""
    codes = np.array(sorted(legend), dtype=np.int64)
    colors = np.array([legend[code][1] for code in sorted(legend)] or [(0, 0, 0)], np.float32)
    labels = np.where(mapped.valid, mapped.data[0], codes[0] if codes.size else 0)
    rank = np.clip(np.searchsorted(codes, labels), 0, len(colors) - 1)
    grey = rgb @ np.array([0.35, 0.45, 0.20], np.float32)
    shade = np.where(valid, 0.72 + 0.42 * grey / 255, 1.0)
    painted = np.clip(colors[rank] * shade[..., None], 0, 255)
    return np.where(mapped.valid[..., None], painted, _NO_DATA).astype(np.float32)


def _picture_size(shape: tuple[int, ...], max_size: int) -> tuple[int, int]:
    factor = max_size / max(shape)
    if factor > 1:  # a small scene: whole steps keep its pixels square
        factor = max(1, math.floor(factor))
    return max(1, round(shape[1] * factor)), max(1, round(shape[0] * factor))


def _image(rgb: NDArray[np.float32], size: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(np.rint(rgb).astype(np.uint8))
    larger = size[0] > picture.width
    return picture.resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.BOX)


def metres_per_pixel(grid: GeoBox) -> float | None:
    """Ground length of a pixel along the middle row, measured on the ellipsoid.

    Right in degrees, in Web Mercator and in feet alike; None where the CRS has no place on Earth.
    """
    if grid.crs is None:
        return None
    height, width = grid.shape
    ends = [grid.affine @ (width / 2 + step, height / 2) for step in (-0.5, 0.5)]
    crs = grid.crs.proj
    geod = crs.get_geod()
    if crs.geodetic_crs is None or geod is None:
        return None
    try:
        to_degrees = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
        (x0, y0), (x1, y1) = ends
        lon, lat = to_degrees.transform([x0, x1], [y0, y1], errcheck=True)
    except ProjError:
        return None
    length = float(geod.inv(lon[0], lat[0], lon[1], lat[1])[2])
    return length if math.isfinite(length) and length > 0 else None


def _subtitle(info: SceneInfo) -> str:
    parts = [f"{info.width} x {info.height} px"]
    crs = info.geobox.crs
    if crs is not None:
        parts.append(f"EPSG:{crs.epsg}" if crs.epsg else str(crs.proj.name))
    size = metres_per_pixel(info.geobox) if info.georeferenced else None
    if size is not None:
        parts.append(f"{size:.3g} m a pixel" if size < 1000 else f"{size / 1000:.3g} km a pixel")
    return "  ·  ".join(parts)


def _entries(
    legend: Mapping[int, tuple[str, Color]], shares: Mapping[int, float]
) -> list[tuple[str, Color]]:
    return [(f"{name}  {_percent(shares[code])}", rgb) for code, (name, rgb) in legend.items()]


def _missing(share: float) -> list[tuple[str, Color]]:
    if share < _SHARES_SHOWN:
        return []
    red, green, blue = _NO_DATA.astype(int).tolist()
    return [(f"no data  {_percent(share)} of the scene", (red, green, blue))]


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= _SHARES_SHOWN else "< 0.1%"
