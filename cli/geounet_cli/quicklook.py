"""``geounet quicklook``: a picture of a scene beside its class map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "quicklook",
        help="draw a scene beside its class map",
        description="Draw a scene beside its class map, with legend, shares of the area and a scale"
        " bar.",
    )
    parser.add_argument(
        "scene", nargs="+", metavar="SCENE", help="what was segmented, as for geounet segment"
    )
    parser.add_argument("classes", metavar="CLASSES", help="its class map, on the same grid")
    parser.add_argument("out", type=Path, metavar="OUT.png", help="the picture to write")
    parser.add_argument(
        "--max-size",
        type=int,
        default=900,
        metavar="PX",
        help="longer side of each of the two pictures (default: %(default)d)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.png if it exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from geounet.quicklook import render_quicklook

    scene = args.scene if len(args.scene) > 1 else args.scene[0]
    path = render_quicklook(
        scene, args.classes, args.out, max_size=args.max_size, overwrite=args.overwrite
    )
    print(path)
    return 0
