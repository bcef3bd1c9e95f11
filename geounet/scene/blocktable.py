"""The table of a TIFF's blocks, of which GDAL fetches a part at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geounet.scene.refusal import LostConnectionError
from geounet.signalled import signalled
from geounet.window import Window


def fetch_table(dataset: Any, window: Window, bands: Sequence[int]) -> None:
    """Have GDAL fetch what the table says of the outer blocks of a window.

    Where it cannot, reading the window would ask anew for each of hundreds of blocks, with all of
    GDAL's retries, and end in zeros.

    Args:
        dataset: rasterio's; what is no TIFF has no such table.
        window: Not empty.
        bands: 1-based.

    Raises:
        LostConnectionError: It could not be fetched.
    """
    if dataset.driver != "GTiff" or not window.size:
        return
    height, width = dataset.block_shapes[0]
    rows = {window.row_off // height, (window.row_end - 1) // height}
    cols = {window.col_off // width, (window.col_end - 1) // width}
    with signalled() as lost:
        for band in bands:
            for block in (f"{col}_{row}" for row in rows for col in cols):
                for what in ("OFFSET", "SIZE"):
                    dataset.get_tag_item(f"BLOCK_{what}_{block}", "TIFF", band)
                    if lost:
                        raise LostConnectionError(lost[0])
