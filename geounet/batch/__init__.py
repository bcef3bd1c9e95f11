"""Many scenes, or one that is very large, on the workers of a Dask cluster.

A scene is cut into bands of rows of tiles. Workers keep the strips of a band as parts beside the
class map, in the format in which ``geounet segment`` resumes; meanwhile one of them joins the
strips as that command does, as they come. So the result is the same, byte for byte, and whatever
dies, what was computed stays.
"""

from geounet.batch.driver import failure
from geounet.batch.options import BatchOptions
from geounet.batch.place import folder_of, mosaic_of
from geounet.batch.report import BatchReport
from geounet.batch.run import run_batch
from geounet.batch.scenes import read_scenes

__all__ = [
    "BatchOptions",
    "BatchReport",
    "failure",
    "folder_of",
    "mosaic_of",
    "read_scenes",
    "run_batch",
]
