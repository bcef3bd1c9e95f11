"""What ``geounet train`` says of the data before it starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geounet.train.data.pairs import PairSource
from geounet.train.data.splitting import Split


def describe(source: PairSource, parts: Split | None = None) -> list[str]:
    """Lines about the data: how they were matched and grouped, bands, classes, ignored pixels.

    Args:
        source: The data.
        parts: With it, the shares of the classes are those of training and of validation.
    """
    pictures = [pair.info for pair in source.content.pairs]
    sizes = sorted({(info.width, info.height) for info in pictures})
    span = " to ".join(f"{w} x {h}" for w, h in dict.fromkeys((sizes[0], sizes[-1])))
    dtypes = sorted({band.dtype for info in pictures for band in info.bands})
    return [
        *source.content.notes,
        f"images of {span} px, {' '.join(dtypes)}, bands {' '.join(source.bands)}",
        *_classes(source, parts),
        _ignored(source),
    ]


def _classes(source: PairSource, parts: Split | None) -> list[str]:
    columns = (
        {"": source.names}
        if parts is None or not parts.validation
        else {"training": parts.train, "validation": parts.validation}
    )
    shares = [(what, class_shares(source, names)) for what, names in columns.items()]
    wide = max(len(name) for name in source.classes.names)
    return [
        f"  {one.code:>3} {one.name:<{wide}} "
        + ", ".join(f"{share[i]:.2%} {what}".rstrip() for what, share in shares)
        + (" of the labelled pixels" if len(shares) == 1 else "")
        for i, one in enumerate(source.classes)
    ]


def class_shares(source: PairSource, names: Sequence[str]) -> list[float]:
    """Share of each class among the labelled pixels of these chips."""
    counts = np.sum([source.pixels(name).classes for name in names], axis=0)
    return [float(share) for share in counts / max(1, counts.sum())]


def _ignored(source: PairSource) -> str:
    pixels = [source.pixels(name) for name in source.names]
    ignored = sum(one.ignored for one in pixels)
    total = ignored + sum(sum(one.classes) for one in pixels)
    return f"{total:,} pixels, {ignored:,} of them ignored ({ignored / total:.1%})"
