"""STAC: scenes from the items of a catalogue, and items for what is made of them.

Items are plain JSON by the specification (https://github.com/radiantearth/stac-spec, 1.1.0) and its
extensions; nothing but what segmenting needs is needed for it.
"""

from geounet.stac.collection import write_collection
from geounet.stac.item import item_of, write_item
from geounet.stac.reading import StacScene, read_scenes
from geounet.stac.when import When

__all__ = ["StacScene", "When", "item_of", "read_scenes", "write_collection", "write_item"]
