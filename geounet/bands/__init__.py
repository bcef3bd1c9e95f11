"""Bands: canonical names, how each sensor spells them, and how values become network input."""

from __future__ import annotations

from geounet.bands.match import lacking_bands, match_bands, parse_band_option, sensors_in
from geounet.bands.names import (
    COMMON_NAMES,
    GRAY,
    SENSORS,
    band_number,
    canonical_name,
    placeholder,
    placeholder_in,
)
from geounet.bands.normalizer import BandSpec, Normalizer

__all__ = [
    "COMMON_NAMES",
    "GRAY",
    "SENSORS",
    "BandSpec",
    "Normalizer",
    "band_number",
    "canonical_name",
    "lacking_bands",
    "match_bands",
    "parse_band_option",
    "placeholder",
    "placeholder_in",
    "sensors_in",
]
