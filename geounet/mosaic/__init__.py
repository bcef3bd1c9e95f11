"""Class maps that overlap, of one CRS or several, put together on one grid."""

from geounet.mosaic.grid import GridChoice, choose_grid
from geounet.mosaic.joining import Mosaic
from geounet.mosaic.maps import ClassMap, read_maps
from geounet.mosaic.placing import PlacedMap
from geounet.mosaic.run import MosaicOptions, MosaicReport, mosaic_maps

__all__ = [
    "ClassMap",
    "GridChoice",
    "Mosaic",
    "MosaicOptions",
    "MosaicReport",
    "PlacedMap",
    "choose_grid",
    "mosaic_maps",
    "read_maps",
]
