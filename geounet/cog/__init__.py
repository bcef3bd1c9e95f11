"""Cloud-optimised GeoTIFFs, put together from blocks that are compressed once.

GDAL's own driver needs a finished raster, which it then reads, thins out and compresses again. Here
blocks and overviews are made while rows come in, and what is left at the end is to copy bytes.
"""

from geounet.cog.assembly import assemble
from geounet.cog.blocks import BLOCK, BlockStore
from geounet.cog.directory import GDALTags, tags_of
from geounet.cog.pyramid import Pyramid, Resampling, level_shapes

__all__ = [
    "BLOCK",
    "BlockStore",
    "GDALTags",
    "Pyramid",
    "Resampling",
    "assemble",
    "level_shapes",
    "tags_of",
]
