"""Which assets of a STAC item are the bands of a scene, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geounet.bands import SENSORS, band_number, canonical_name, match_bands, sensors_in
from geounet.errors import BandError, SceneError
from geounet.scene import BandNote

_RASTERS = (".tif", ".tiff", ".jp2", ".vrt", ".img", ".nc", ".zarr")
_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/x-geotiff")
_NO_DATA_ROLES = frozenset({"thumbnail", "overview", "visual", "metadata", "tilejson"})
_PICTURES = frozenset({"visual", "preview", "thumbnail", "rendered_preview", "overview", "tci"})
"""Keys of assets that show a scene; some catalogues give them the role ``data``."""

_CODES = frozenset({"classification:bitfields", "classification:classes"})
"""What assets have whose values are codes."""

_APPLIED = "earthsearch:boa_offset_applied"
"""Where it is true, the offset that the bands tell is in the pixels already:
https://github.com/Element84/earth-search/issues/9"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Files of a scene, with its bands in their order."""

    hrefs: tuple[str, ...]
    """One a band, or one with all."""
    notes: tuple[BandNote, ...]
    """One a band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asset:
    """An asset that may be of use."""

    href: str
    notes: tuple[BandNote, ...]
    order: tuple[bool, float]
    """Those that come first are better for the same band."""


def sensor_hint(item: Mapping[str, Any]) -> str:
    """What an item says of its sensor, in a line."""
    properties = item.get("properties") or {}
    said = [properties.get(key) for key in ("platform", "constellation", "instruments")]
    return " ".join(str(one) for one in [*said, item.get("collection"), item.get("id")] if one)


def choose_assets(item: Mapping[str, Any], needed: Sequence[str], where: str) -> Chosen:
    """The assets that are the bands of the scene.

    Single-band assets if there are enough, else the one with several bands that fits best; of those
    with the same band the one that is cloud-optimised, then the one with the finest pixels.

    Args:
        item: The item.
        needed: Canonical names of the bands that are wanted; none: all that have such a name.
        where: For messages.

    Raises:
        SceneError: No asset has bands whose names are known.
        BandError: A needed band is not there.
    """
    assets = list(_assets(item))
    singles: dict[str, _Asset] = {}
    for one in sorted((a for a in assets if len(a.notes) == 1), key=lambda a: a.order):
        singles.setdefault(one.notes[0].name, one)
    several = sorted((a for a in assets if len(a.notes) > 1), key=lambda a: -len(a.notes))
    choices = [
        Chosen(hrefs=(one.href,), notes=one.notes)
        for one in several
        if len({note.name for note in one.notes}) == len(one.notes)
    ]
    if singles:
        choices.insert(
            0,
            Chosen(
                hrefs=tuple(a.href for a in singles.values()),
                notes=tuple(a.notes[0] for a in singles.values()),
            ),
        )
    if not choices:
        keys = ", ".join(sorted(item.get("assets") or {})) or "none"
        raise SceneError(
            f"{where} has no asset with bands of known names (assets: {keys}): give an item with"
            " bands such as B02, blue or vv"
        )
    if needed:
        return _with_needed(choices, needed, where)
    return max(choices, key=lambda choice: len(choice.notes))


def _with_needed(choices: Sequence[Chosen], needed: Sequence[str], where: str) -> Chosen:
    """The first choice that has all; of single-band files only those."""
    refusal = None
    for choice in choices:
        try:
            picked = match_bands(needed, [note.name for note in choice.notes])
        except BandError as error:
            refusal = refusal or error
            continue
        if len(choice.hrefs) == 1 < len(choice.notes):
            return choice
        return Chosen(
            hrefs=tuple(choice.hrefs[i - 1] for i in picked),
            notes=tuple(choice.notes[i - 1] for i in picked),
        )
    raise BandError(f"{where}: {refusal}")


def _assets(item: Mapping[str, Any]) -> Iterator[_Asset]:
    """Those that are rasters whose bands have known names, in the order of the item."""
    sensors = sensors_in(sensor_hint(item))
    numbers = SENSORS[sensors[0]] if len(sensors) == 1 else {}
    applied = bool((item.get("properties") or {}).get(_APPLIED))
    for key, asset in (item.get("assets") or {}).items():
        if not isinstance(asset, dict) or not _is_raster(key, asset):
            continue
        bands = _bands(asset)
        names = [_name(key if len(bands) == 1 else "", band, numbers) for band in bands]
        if all(names):
            yield _Asset(
                href=asset["href"],
                notes=tuple(
                    _note(name, band, asset, applied=applied)
                    for name, band in zip(names, bands, strict=True)
                ),
                order=(not _is_tiff(asset), _pixel(asset, bands)),
            )


def _is_raster(key: str, asset: Mapping[str, Any]) -> bool:
    href, kind = asset.get("href"), str(asset.get("type") or "")
    roles = {str(role) for role in asset.get("roles") or ()}
    if not isinstance(href, str) or roles & _NO_DATA_ROLES:
        return False
    if key.lower() in _PICTURES or key.lower().startswith("qa") or _CODES & asset.keys():
        return False
    path = href.split("?")[0].lower()
    return kind.startswith(_TYPES) or (not kind and path.endswith(_RASTERS))


def _is_tiff(asset: Mapping[str, Any]) -> bool:
    return "tiff" in str(asset.get("type") or "") or ".tif" in asset["href"].lower()


def _bands(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is said of each band, from STAC 1.1's ``bands`` or the older lists side by side."""
    lists = [asset.get(key) for key in ("eo:bands", "raster:bands", "bands")]
    known = [one for one in lists if isinstance(one, list) and one]
    count = max((len(one) for one in known), default=1)
    merged: list[dict[str, Any]] = [{} for _ in range(count)]
    for one in known:
        if len(one) == count:
            for band, said in zip(merged, one, strict=True):
                band.update(said if isinstance(said, dict) else {})
    return merged


def _name(key: str, band: Mapping[str, Any], numbers: Mapping[str, str]) -> str:
    """What a band is: by the sensor's number, else by its common name, its name, or its key."""
    for text in (band.get("name"), key):
        number = band_number(str(text or "")) or ""
        if number in numbers:
            return numbers[number]  # empty where no model here reads it
    common = band.get("eo:common_name") or band.get("common_name")
    for text in (common, band.get("name"), band.get("description"), key):
        found = canonical_name(str(text or ""))
        if found is not None:
            return found
    return ""


def _note(
    name: str, band: Mapping[str, Any], asset: Mapping[str, Any], *, applied: bool
) -> BandNote:
    def said(what: str) -> float | None:
        for holder in (band, asset):
            for key in (f"raster:{what}", what):
                if isinstance(holder.get(key), (int, float)):
                    return float(holder[key])
        return None

    return BandNote(name=name, scale=said("scale"), offset=0.0 if applied else said("offset"))


def _pixel(asset: Mapping[str, Any], bands: Sequence[Mapping[str, Any]]) -> float:
    """Side of a pixel in metres, where the item says it."""
    for holder in (*bands, asset):
        for key in ("raster:spatial_resolution", "spatial_resolution", "gsd"):
            if isinstance(holder.get(key), (int, float)):
                return float(holder[key])
    return float("inf")
